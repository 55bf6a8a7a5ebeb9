# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Events that were rejected rows once, beside those that a source gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.events.schema import ARRIVAL_TIME, EVENT_ID


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


def _arrivals(events: pa.Table) -> list[int]:
    """Return when each arrived, in microseconds; what has no arrival is the oldest."""
    if ARRIVAL_TIME not in events.column_names:
        return [-1] * events.num_rows
    micros: Any = events.column(ARRIVAL_TIME).cast(pa.int64())
    return micros.fill_null(-1).to_pylist()
