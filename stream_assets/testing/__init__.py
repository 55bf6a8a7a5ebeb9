"""For tests, ours and those of projects: a settable clock, and the suites that every source and lake store must pass."""

from stream_assets.testing.clock import SettableClock

__all__ = ["SettableClock"]
