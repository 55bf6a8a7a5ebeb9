"""A source in memory that a test moves about: regular events by arithmetic, and whatever the test adds or breaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import EPOCH, GRID, TimeWindow, floor_to_grid
from stream_assets.errors import SourceError, SourceUnavailable
from stream_assets.events.conform import Names
from stream_assets.sources.protocol import Arrivals, SourceState

_INSTANT = pa.timestamp("us", tz="UTC")
COLUMNS = pa.schema(
    [
        ("event_id", pa.string()),
        ("event_time", _INSTANT),
        ("arrival_time", _INSTANT),
        ("country", pa.string()),
        ("amount", pa.float64()),
    ]
)
_COUNTRIES = ("DE", "KR", "US")
_SECOND = timedelta(seconds=1)


@dataclass
class Shop:
    """One event every `every`, each within ten seconds of its time; one in seventeen is given twice, corrected.

    Amounts are whole quarters, so sums of them are exact in any order.

    Attributes:
        quiet: UTC hours without events, like `(2, 4)`.
        lag: how far the watermark is behind the clock beyond the settling time.
        reads: every range that was asked for, oldest first.
        is_down: whether reads and watermarks raise a transient error.
        broken: event time that cannot be read, a terminal error.
        expired_before: events before it are gone.
    """

    name: str = "e"
    every: timedelta = timedelta(minutes=1)
    settling: timedelta = timedelta(seconds=30)
    quiet: tuple[int, int] | None = None
    lag: timedelta = timedelta(0)
    reads: list[TimeWindow] = field(default_factory=list[TimeWindow])
    is_down: bool = False
    broken: Intervals = Intervals()
    expired_before: datetime = EPOCH
    _added: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _left: list[tuple[datetime, datetime]] = field(default_factory=list[tuple[datetime, datetime]])
    _mended: list[TimeWindow] = field(default_factory=list[TimeWindow])

    # What a test does to it.

    def add(
        self, at: datetime, arrives: datetime, *, amount: float = 1000.0, id: str | None = None, country: str = "DE"
    ) -> None:
        """Let one more event have happened at `at`, to be seen from `arrives` on."""
        id = id or f"{self.name}-added-{len(self._added)}"
        self._added.append(
            {"event_id": id, "event_time": at, "arrival_time": arrives, "country": country, "amount": amount}
        )

    def move(self, id: str, to: datetime, *, at: datetime) -> None:
        """Correct the time of an added event: the source names the window that it leaves and the one it enters."""
        row = next(r for r in self._added if r["event_id"] == id)
        self._left.append((row["event_time"], at))
        row |= {"event_time": to, "arrival_time": at}

    def break_(self, start: datetime, end: datetime | None = None) -> None:
        """Make one window, or a range, unreadable."""
        self.broken |= Intervals.of(TimeWindow(start, end or start + GRID))

    def mend(self) -> None:
        """Make everything readable again; the next look at arrivals says so, as `FileEvents` does."""
        self._mended += self.broken.spans
        self.broken = Intervals()

    # The source's protocol.

    @property
    def names(self) -> Names:
        return Names()

    def watermark(self, now: datetime) -> datetime:
        if self.is_down:
            raise SourceUnavailable("the shop does not answer")
        return now - self.settling - self.lag

    def read(self, window: TimeWindow, *, now: datetime, state: SourceState | None = None) -> Iterator[pa.RecordBatch]:
        self.reads.append(window)
        if self.is_down:
            raise SourceUnavailable("the shop does not answer")
        if self.broken.clip(window):
            raise SourceError(f"the shop's book cannot be read in {self.broken}: mend it")
        rows = [r for r in self.events(window) if r["arrival_time"] <= now and r["event_time"] >= self.expired_before]
        yield pa.RecordBatch.from_pylist(rows, schema=COLUMNS)

    def schema(self, *, now: datetime) -> pa.Schema | None:
        return COLUMNS

    def arrivals(self, cursor: str | None, *, now: datetime, state: SourceState | None = None) -> Arrivals:
        if self.is_down:
            raise SourceUnavailable("the shop does not answer")
        since = datetime.fromisoformat(cursor) if cursor else EPOCH
        seen = [r["event_time"] for r in self._added if since < r["arrival_time"] <= now]
        seen += [left for left, at in self._left if since < at <= now]
        windows = Intervals.union_of(TimeWindow(t, t + GRID) for t in map(floor_to_grid, seen))
        mended, self._mended = tuple(self._mended), []
        return Arrivals(windows.spans, now.isoformat(), now, mended)

    def describe(self) -> str:
        return f"the shop {self.name!r}"

    # What is true.

    def events(self, window: TimeWindow) -> list[dict[str, Any]]:
        """Return everything that ever happened in `window`, copies too, whenever it arrives."""
        first = -((EPOCH - window.start) // self.every)
        last = -((EPOCH - window.end) // self.every)
        rows = [row for n in range(first, last) for row in self._event(n)]
        return rows + [r for r in self._added if r["event_time"] in window]

    def _event(self, n: int) -> list[dict[str, Any]]:
        at = EPOCH + n * self.every
        if self.quiet and self.quiet[0] <= at.hour < self.quiet[1]:
            return []
        row = {
            "event_id": f"{self.name}{n}",
            "event_time": at,
            "arrival_time": at + (n * 7 % 10) * _SECOND,
            "country": _COUNTRIES[n % 3],
            "amount": n % 100 / 4,
        }
        if n % 17:
            return [row]
        return [row, {**row, "arrival_time": row["arrival_time"] + 3 * _SECOND, "amount": row["amount"] + 1}]
