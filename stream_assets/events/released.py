# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Events that were rejected rows once, beside those that a source gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.core.window import EPOCH, GRID, TimeWindow
from stream_assets.events.hashing import hash_rows
from stream_assets.events.schema import ARRIVAL_TIME, EVENT_ID, EVENT_TIME

_STEP = GRID // timedelta(microseconds=1)


def with_released(events: pa.Table, released: Sequence[pa.Table]) -> pa.Table:
    """Return the events of one window with those of `released` (of the same columns) that stand in for it.

    Where `events` has the id itself a released one stays only if it arrived later: a correction in the source is newer
    than what it once gave.
    """
    if not released:
        return events
    more = pa.concat_tables(released)
    ids: Any = more.column(EVENT_ID)
    there = events.filter(pc.is_in(events.column(EVENT_ID), value_set=ids.combine_chunks()))
    if there.num_rows:
        latest: dict[Any, int] = {}
        for id, arrival in zip(there.column(EVENT_ID).to_pylist(), _arrivals(there), strict=True):
            latest[id] = max(latest.get(id, arrival), arrival)
        later = [a > latest.get(i, a - 1) for i, a in zip(ids.to_pylist(), _arrivals(more), strict=True)]
        more = more.filter(pa.array(later, pa.bool_()))
    return pa.concat_tables([events, more])


def without(events: pa.Table, gone: pa.Table) -> pa.Table:
    """Return the events of one window without those that are in `gone` too, cell for cell in the columns of both."""
    both = [name for name in events.column_names if name in gone.column_names]
    rows = set(zip(*(words.tolist() for words in hash_rows(gone.select(both))), strict=True))
    there = zip(*(words.tolist() for words in hash_rows(events.select(both))), strict=True)
    return events.filter(pa.array([row not in rows for row in there], pa.bool_()))


def by_window(events: pa.Table) -> Iterator[tuple[TimeWindow, pa.Table]]:
    """Yield the windows that `events` lie in, oldest first, and the events of each."""
    numbers = events.column(EVENT_TIME).cast(pa.int64()).to_numpy() // _STEP
    for number in np.unique(numbers):
        start = EPOCH + int(number) * GRID
        yield TimeWindow(start, start + GRID), events.filter(pa.array(numbers == number))


def _arrivals(events: pa.Table) -> list[int]:
    """Return when each arrived, in microseconds; what has no arrival is the oldest."""
    if ARRIVAL_TIME not in events.column_names:
        return [-1] * events.num_rows
    micros: Any = events.column(ARRIVAL_TIME).cast(pa.int64())
    return micros.fill_null(-1).to_pylist()
