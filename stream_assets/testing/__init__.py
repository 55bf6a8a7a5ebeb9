"""For tests, ours and those of projects: a settable clock, and the suite that every source must pass."""

from stream_assets.core.clock import SettableClock

__all__ = ["SettableClock"]
