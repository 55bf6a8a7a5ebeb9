"""The only place that reads the clock. Everything else is handed a `Clock` or an instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

from stream_assets.core.window import utc
from stream_assets.errors import UsageError


class Clock(Protocol):
    """Tells the present instant."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        return datetime.now(UTC)


class SettableClock:
    """Stands still until it is told otherwise. A `core.clock.Clock`."""

    def __init__(self, now: datetime) -> None:
        self._now = utc(now)

    def now(self) -> datetime:
        """Return the instant it was set to, aware, in UTC."""
        return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move forward and return the new instant.

        Raises:
            UsageError: terminal; `by` is negative. `set` moves a clock back.
        """
        if by < timedelta(0):
            raise UsageError(f"a clock advances forwards, not by {by}: use set() to move it back")
        self._now += by
        return self._now

    def set(self, now: datetime) -> datetime:
        """Jump to `now`, also backwards, and return it."""
        self._now = utc(now)
        return self._now
