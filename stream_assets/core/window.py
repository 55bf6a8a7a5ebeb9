"""Windows on the 5-minute grid, and the local days that they make up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from stream_assets.errors import DeclarationError, UsageError

GRID = timedelta(minutes=5)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# A local midnight of 1970-01-01 may be before it, and arithmetic with days needs room at the end of time.
_FIRST, _LAST = EPOCH - timedelta(days=1), datetime(9999, 1, 1, tzinfo=UTC)

Grain = Literal["5 min", "day"]
GRAINS: tuple[Grain, ...] = ("5 min", "day")


def utc(instant: datetime) -> datetime:
    """Return the same instant in UTC.

    Raises:
        UsageError: terminal; the datetime is naive.
    """
    if instant.tzinfo is UTC:
        return instant
    if instant.tzinfo is None:
        raise UsageError(f"{instant.isoformat()} has no time zone: give one, for example {instant.isoformat()}+00:00")
    return instant.astimezone(UTC)


def floor_to_grid(instant: datetime, step: timedelta = GRID) -> datetime:
    """Return the last multiple of `step` since 1970-01-01 UTC that is <= `instant`."""
    return EPOCH + ((utc(instant) - EPOCH) // step) * step


@dataclass(frozen=True, slots=True, order=True)
class TimeWindow:
    """A half-open interval `[start, end)` of event time, in UTC.

    A *window* in the sense of the design has both ends on the 5-minute grid and is 5 minutes long; a range of
    windows, a day, or any other span is a `TimeWindow` too.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", utc(self.start))
        object.__setattr__(self, "end", utc(self.end))
        if self.end < self.start:
            raise UsageError(
                f"a range must not end before it starts: {self.start.isoformat()} to {self.end.isoformat()}"
            )

    @property
    def duration(self) -> timedelta:
        """Length of the interval."""
        return self.end - self.start

    @property
    def is_on_grid(self) -> bool:
        """Whether both ends are on the 5-minute grid."""
        return not (self.start - EPOCH) % GRID and not (self.end - EPOCH) % GRID

    def __bool__(self) -> bool:
        return self.start < self.end

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def covers(self, other: TimeWindow) -> bool:
        """Whether `other` lies inside this interval."""
        return self.start <= other.start and other.end <= self.end

    def overlaps(self, other: TimeWindow) -> bool:
        """Whether the two share an instant."""
        return max(self.start, other.start) < min(self.end, other.end)

    def clip(self, other: TimeWindow) -> TimeWindow:
        """Return what both share, empty at the later start where they share nothing."""
        start = max(self.start, other.start)
        return TimeWindow(start, max(start, min(self.end, other.end)))

    def windows(self) -> Iterator[TimeWindow]:
        """Yield the 5-minute windows inside, oldest first; both ends must be on the grid."""
        start = self.start
        while start < self.end:
            yield TimeWindow(start, start + GRID)
            start += GRID

    def __str__(self) -> str:
        return f"[{self.start:%Y-%m-%dT%H:%MZ}, {self.end:%Y-%m-%dT%H:%MZ})"


@dataclass(frozen=True, slots=True)
class Calendar:
    """The local days of one time zone, and the keys of both grains.

    A day reaches from local midnight to local midnight: usually 288 windows, 276 to 300 where clocks change.
    Keys: a day is `2026-03-01`, a window its local start with the UTC offset, `2026-03-01T00:05+0100`. Window keys
    are unique, but not in time order as text.
    """

    zone: str = "UTC"

    def __post_init__(self) -> None:
        _zone(self.zone)

    def midnight(self, day: date) -> datetime:
        """Return the instant at which the local `day` begins, in UTC."""
        return _midnight(self.zone, day)

    def day_of(self, instant: datetime) -> date:
        """Return the local day that holds `instant`."""
        return utc(instant).astimezone(_zone(self.zone)).date()

    def day(self, day: date) -> TimeWindow:
        """Return the local `day` as an interval."""
        return TimeWindow(self.midnight(day), self.midnight(day + timedelta(days=1)))

    def day_around(self, instant: datetime) -> TimeWindow:
        """Return the local day that holds `instant`, as an interval."""
        return self.day(self.day_of(instant))

    def days(self, span: TimeWindow) -> list[TimeWindow]:
        """Return the local days that share an instant with `span`, oldest first."""
        if not span:
            return []
        first, last = self.day_of(span.start), self.day_of(span.end - timedelta(microseconds=1))
        return [self.day(first + timedelta(days=n)) for n in range((last - first).days + 1)]

    def whole_days(self, span: TimeWindow) -> TimeWindow:
        """Return the local days that share an instant with `span`, as one interval; `span` itself where it is empty."""
        if not span:
            return span
        return TimeWindow(self.day_around(span.start).start, self.day_around(span.end - timedelta(microseconds=1)).end)

    def partitions(self, span: TimeWindow, grain: Grain) -> list[TimeWindow]:
        """Return the partitions of `grain` that share an instant with `span`, oldest first."""
        if grain == "day":
            return self.days(span)
        start = floor_to_grid(span.start)
        end = floor_to_grid(span.end + GRID - timedelta(microseconds=1))
        return list(TimeWindow(start, end).windows()) if span else []

    def key(self, partition: TimeWindow, grain: Grain) -> str:
        """Return the key of the partition that starts where `partition` starts."""
        local = partition.start.astimezone(_zone(self.zone))
        return f"{local:%Y-%m-%d}" if grain == "day" else f"{local:%Y-%m-%dT%H:%M%z}"

    def parse_key(self, key: str, grain: Grain) -> TimeWindow:
        """Return the partition that `key` names.

        Raises:
            UsageError: terminal; the text is no key of this grain and zone.
        """
        try:
            if grain == "day":
                if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", key):
                    raise ValueError(key)
                return self.day(date.fromisoformat(key))
            start = datetime.strptime(key, "%Y-%m-%dT%H:%M%z")
            window = TimeWindow(start, start + GRID)
            if not window.is_on_grid or self.key(window, "5 min") != key:
                raise ValueError(key)
            return window
        except (ValueError, OverflowError):
            example = self.key(self.day(date(2026, 3, 1)), grain)
            raise UsageError(
                f"{key!r} is no partition key of grain {grain!r} in {self.zone}: write it like {example!r}"
            ) from None

    def instant(self, text: str) -> datetime:
        """Read an instant as people write it: a day is its local midnight, a local time takes the lake's zone.

        Raises:
            UsageError: terminal; the text is neither, or of a year before 1970 or after 9998.
        """
        try:
            if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
                instant = self.midnight(date.fromisoformat(text))
            else:
                written = datetime.fromisoformat(text)
                instant = utc(written if written.tzinfo else written.replace(tzinfo=_zone(self.zone)))
        except (ValueError, OverflowError):
            raise UsageError(
                f"{text!r} is no instant: write 2026-03-01, 2026-03-01T00:05 or 2026-03-01T00:05+01:00"
            ) from None
        if not _FIRST <= instant < _LAST:
            raise UsageError(f"{text!r} is before 1970 or after 9998, where no events can be")
        return instant


@lru_cache(maxsize=16)
def _zone(name: str) -> ZoneInfo:
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DeclarationError(f"unknown time zone {name!r}: use an IANA name such as 'Europe/Berlin'") from None
    _refuse_repeated_midnight(name, zone)
    return zone


def _refuse_repeated_midnight(name: str, zone: ZoneInfo) -> None:
    """A clock that goes back across midnight puts one window into two local days (America/Havana does)."""
    day = date(2015, 1, 1)
    while day < date(2040, 1, 1):
        midnight = datetime.combine(day, time(), tzinfo=zone)
        if (
            midnight.utcoffset() != midnight.replace(fold=1).utcoffset()
            and midnight.astimezone(UTC).astimezone(zone) == midnight
        ):
            raise DeclarationError(
                f"the clock of {name!r} repeats midnight (on {day}), so a local day would not be one interval: use another zone, such as UTC"
            )
        day += timedelta(days=1)


@lru_cache(maxsize=4096)
def _midnight(name: str, day: date) -> datetime:
    zone = _zone(name)
    start = datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
    # Where clocks jump over midnight (Cairo, Beirut) the day starts at the first instant that carries its date.
    while start.astimezone(zone).date() < day:
        start += GRID
    while (start - GRID).astimezone(zone).date() >= day:
        start -= GRID
    if (start - EPOCH) % GRID:
        raise UsageError(f"midnight of {day} in {name!r} is not on the 5-minute grid: such old days cannot be kept")
    return start
