"""Durations as people write them, and the promise that a freshness makes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from stream_assets.errors import DeclarationError

_UNITS = {
    "s": timedelta(seconds=1), "sec": timedelta(seconds=1), "second": timedelta(seconds=1),
    "min": timedelta(minutes=1), "minute": timedelta(minutes=1),
    "h": timedelta(hours=1), "hour": timedelta(hours=1),
    "day": timedelta(days=1), "d": timedelta(days=1),
    "week": timedelta(weeks=1),
}  # fmt: skip


LONGEST = timedelta(days=36_500)
"""A hundred years: instants so far away from each other can still be computed with."""


def parse_duration(text: str, *, what: str = "duration") -> timedelta:
    """Read a positive duration such as `5 min`, `1 hour`, `30s` or `7 days`.

    Raises:
        DeclarationError: terminal; the text is no such duration. `what` names it in the message.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+?)s?\s*", str(text), re.IGNORECASE)
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise DeclarationError(
            f"{what} {text!r} is not understood: write a number and s, min, hour, day or week, like '5 min'"
        )
    try:
        duration = float(match[1]) * unit
    except OverflowError:
        duration = timedelta.max
    if duration > LONGEST:
        raise DeclarationError(f"{what} {text!r} is too long: at most {words(LONGEST)}")
    if duration <= timedelta(0):
        raise DeclarationError(f"{what} {text!r} must be more than zero")
    return duration


def words(duration: timedelta) -> str:
    """Say a duration in its largest whole unit: `5 min`, `1 hour`, `7 days`, `90 s`."""
    seconds = duration.total_seconds()
    for size, one, many in ((86400, "day", "days"), (3600, "hour", "hours"), (60, "min", "min")):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {one if count == 1 else many}"
    return f"{seconds:.15g} s"


def compact(duration: timedelta) -> str:
    """Say how long something lasted, to two units: `3 h 20 min`, `7 min 30 s`."""
    seconds = int(abs(duration.total_seconds()))
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    shown = [f"{count} {unit}" for count, unit in parts if count][:2] or ["0 s"]
    return ("-" if duration < timedelta(0) else "") + " ".join(shown)


@dataclass(frozen=True, slots=True)
class Promise:
    """How old a consumer's data may be: what it declared, and the time allowed for settling, queueing and running."""

    freshness: timedelta
    grace: timedelta

    @property
    def limit(self) -> timedelta:
        """The greatest lag that keeps the promise, inclusive."""
        return self.freshness + self.grace

    def kept(self, lag: timedelta) -> bool:
        """Whether `lag` (now - complete_through) keeps the promise."""
        return lag <= self.limit

    def __str__(self) -> str:
        units = (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1))
        fits = (u for u in units if u <= self.freshness and not self.freshness % u and not self.grace * 10 % u)
        unit = next(fits, timedelta(seconds=1))
        name = {86400: "days", 3600: "hours", 60: "min", 1: "s"}[int(unit.total_seconds())]
        return f"data at most {self.limit / unit:g} {name} old ({self.freshness / unit:g} + {self.grace / unit:g})"
