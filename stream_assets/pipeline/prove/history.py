# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""A lake as a source: its sealed events again, each to be seen from its arrival time on, so that what was late is late again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, TimeWindow, floor_to_grid
from stream_assets.events.conform import Names
from stream_assets.events.schema import ARRIVAL_TIME, EVENT_TIME, INSTANT
from stream_assets.lake.store import Lake
from stream_assets.sources.protocol import Arrivals, SourceState

WINDOWS_A_READ = 12


@dataclass(frozen=True, slots=True)
class LakeEvents:
    """The events that a lake has of one stream. Events without an arrival time are seen as soon as they have happened.

    Attributes:
        lateness: distance of the watermark behind the clock, as the stream's source has it.
        late: arrival and window of every event that arrived after its window had settled, first arrival first.
    """

    lake: Lake
    stream: str
    lateness: timedelta
    late: tuple[tuple[datetime, TimeWindow], ...] = ()

    @classmethod
    def of(cls, lake: Lake, stream: str, span: TimeWindow, lateness: timedelta) -> Self:
        """Return the events of `stream`; those of `span` come late where they did.

        Raises:
            LakeError: terminal; a file of the lake cannot be read.
        """
        late: set[tuple[datetime, TimeWindow]] = set()
        for rows in _rows(lake, stream, span, [EVENT_TIME, ARRIVAL_TIME]):
            if ARRIVAL_TIME not in rows.column_names:
                continue
            possible = rows.filter(pc.greater(pc.subtract(rows[ARRIVAL_TIME], rows[EVENT_TIME]), pa.scalar(lateness)))
            for row in possible.to_pylist():
                window = TimeWindow(floor_to_grid(row[EVENT_TIME]), floor_to_grid(row[EVENT_TIME]) + GRID)
                if row[ARRIVAL_TIME] > window.end + lateness:
                    late.add((row[ARRIVAL_TIME], window))
        return cls(lake, stream, lateness, tuple(sorted(late)))

    @property
    def names(self) -> Names:
        """The canonical names."""
        return Names()

    @property
    def settling(self) -> timedelta:
        """`lateness`."""
        return self.lateness

    def watermark(self, now: datetime) -> datetime:
        """Return `now` - `lateness`."""
        return now - self.lateness

    def read(self, window: TimeWindow, *, now: datetime, state: SourceState | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the events of `[start, end)` that had arrived by `now`, an hour at a time."""
        for rows in _rows(self.lake, self.stream, window, None):
            seen = rows
            if ARRIVAL_TIME in rows.column_names:
                later: Any = pc.greater(rows[ARRIVAL_TIME], pa.scalar(now, INSTANT))
                seen = rows.filter(pc.invert(later.fill_null(False)))
            yield from seen.to_batches()

    def schema(self, *, now: datetime) -> pa.Schema | None:
        """Return the columns that the stream had last."""
        return _schema(self.lake, self.stream, now)

    def arrivals(self, cursor: str | None, *, now: datetime, state: SourceState | None = None) -> Arrivals:
        """Name the windows of the late events that arrived in `(cursor, now]`; before the first look nothing was read."""
        since = datetime.fromisoformat(cursor) if cursor else now
        windows = Intervals.union_of(window for arrival, window in self.late if since < arrival <= now)
        return Arrivals(windows.spans, now.isoformat(), now)

    def describe(self) -> str:
        """Say which lake."""
        return f"the events of {self.stream!r} in the lake {self.lake.layout.root}"


def _schema(lake: Lake, stream: str, at: datetime) -> pa.Schema:
    return lake.empty(stream, None, TimeWindow(at, at)).schema


def _rows(lake: Lake, stream: str, span: TimeWindow, columns: list[str] | None) -> Iterator[pa.Table]:
    """Yield the rows of a stream an hour at a time; where it has not all of `columns`, with those that it has."""
    known = _schema(lake, stream, span.start).names
    asked = [c for c in columns if c in known] if columns else None
    start = span.start
    while start < span.end:
        end = min(span.end, start + GRID * WINDOWS_A_READ)
        rows = lake.read(stream, TimeWindow(start, end), asked)
        if rows.num_rows:
            yield rows
        start = end
