# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""A file and what is wanted of it: by the receipt of a day's file it is known which rows the wanted windows are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.events.schema import EVENT_TIME, empty
from stream_assets.lake.ledger import Current


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One file of a table, and the part of it that was asked for.

    Attributes:
        wanted: event time that is to be read from it; all of it where that is the whole partition.
        is_cut: whether a part of it can be wanted: its rows have event times.
    """

    current: Current
    path: Path
    wanted: Intervals
    is_cut: bool

    @property
    def is_whole(self) -> bool:
        """Whether every row of the file is wanted."""
        return self.wanted.covers(self.current.span)

    def inside(self, span: TimeWindow) -> LakeFile:
        """Return what of it is wanted in a part of the event time that was asked for."""
        return replace(self, wanted=self.wanted.clip(span)) if self.is_cut else self


def rows_inside(file: pq.ParquetFile, current: Current, wanted: Intervals, columns: list[str]) -> pa.Table:
    """Return the rows inside `wanted`, in order; only the row groups that can hold them are read."""
    extra = [EVENT_TIME] if EVENT_TIME not in columns else []
    tables: list[pa.Table] = []
    for first, last in _row_ranges(current, wanted, file.metadata.num_rows):
        groups, skipped = _groups(file, first, last)
        rows = file.read_row_groups(groups, [*columns, *extra], use_threads=False) if groups else None
        if rows is not None:
            tables.append(rows.slice(first - skipped, last - first))
    rows = pa.concat_tables(tables) if tables else empty(file.schema_arrow).select([*columns, *extra])
    times: Any = rows.column(EVENT_TIME)
    inside = (pc.and_(pc.greater_equal(times, pa.scalar(s.start)), pc.less(times, pa.scalar(s.end))) for s in wanted)
    return rows.filter(reduce(pc.or_, inside)).select(columns)


def _row_ranges(current: Current, wanted: Intervals, rows: int) -> list[tuple[int, int]]:
    """Return from a day's receipt which rows the wanted windows are, merged; all rows where it does not say."""
    facts = current.receipt.windows
    before = [0, *accumulate(f.rows for f in facts)]
    if before[-1] != rows:
        return [(0, rows)]
    starts = [f.start for f in facts]
    found: list[tuple[int, int]] = []
    for span in wanted:
        first = before[bisect_right(starts, span.start - GRID)]
        last = before[bisect_left(starts, span.end)]
        if found and first <= found[-1][1]:
            first = found.pop()[0]
        if first < last:
            found.append((first, last))
    return found


def _groups(file: pq.ParquetFile, first: int, last: int) -> tuple[list[int], int]:
    """Return the row groups that hold rows `first` to `last`, and how many rows lie before the first of them."""
    found: list[int] = []
    start = skipped = 0
    for index in range(file.num_row_groups):
        stop = start + file.metadata.row_group(index).num_rows
        if start < last and stop > first:
            skipped = skipped if found else start
            found.append(index)
        start = stop
    return found, skipped
