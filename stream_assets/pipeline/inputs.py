"""What a consumer reads: events of a stream cut to its partition, or the rows of another consumer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_assets.core.declaration import Consumer
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import EPOCH, TimeWindow
from stream_assets.errors import LakeError
from stream_assets.events.schema import EMPTY, EVENT_TIME
from stream_assets.pipeline.site import Site

_MICROSECOND = timedelta(microseconds=1)


class Inputs:
    """Reads the events of neighbouring partitions once, and cuts them for each.

    Args:
        hull: event time from the first partition's lookback to the last one's end.
    """

    def __init__(self, site: Site, consumer: Consumer, hull: TimeWindow) -> None:
        self._site = site
        self._consumer = consumer
        self._hull = hull
        self._streams: dict[str, tuple[pa.Table, npt.NDArray[np.int64]]] = {}

    def read(self, name: str, span: TimeWindow, wanted: Intervals) -> pa.Table:
        """Return the rows of input `name` inside `span`, of a stream only those inside `wanted`.

        Raises:
            LakeError: terminal; a column that is not there.
        """
        columns = self._consumer.reads.get(name)
        if self._site.declarations.is_stream(name):
            return self._cut(name, wanted)
        other_grain = self._site.declarations.tables[name].grain != self._consumer.grain
        return self._site.lake.read(name, span, columns, keys=other_grain or bool(self._consumer.lookback))

    def _cut(self, name: str, wanted: Intervals) -> pa.Table:
        if name not in self._streams:
            self._streams[name] = self._load(name)
        table, times = self._streams[name]
        edges = [(_micros(s.start), _micros(s.end)) for s in wanted]
        pieces = [
            table.slice(start, stop - start)
            for start, stop in ((int(np.searchsorted(times, a)), int(np.searchsorted(times, b))) for a, b in edges)
            if stop > start
        ]
        return pa.concat_tables(pieces) if pieces else table.slice(0, 0)

    def _load(self, name: str) -> tuple[pa.Table, npt.NDArray[np.int64]]:
        """Return the events of the hull in the columns that are read, and their times, which ascend."""
        columns = self._consumer.reads.get(name)
        asked = None if columns is None else list(dict.fromkeys([*columns, EVENT_TIME]))
        table = self._site.lake.read(name, self._hull, asked)
        if not table.column_names:
            empty = self._empty(name)
            self._refuse_unknown(name, columns, empty)
            table = empty if asked is None else empty.select(asked)
        times: Any = table.column(EVENT_TIME).cast(pa.int64()).to_numpy()
        return (table if columns is None else table.select(list(columns))), times

    def _empty(self, name: str) -> pa.Table:
        """Return no events, in the columns that the stream had last."""
        stream = self._site.declarations.stream(name)
        for table in (stream.name, stream.daily):
            schema = self._site.lake.last_schema(table)
            if schema is not None:
                return schema.empty_table()
        return EMPTY.empty_table()

    def _refuse_unknown(self, name: str, columns: tuple[str, ...] | None, empty: pa.Table) -> None:
        lacking = [c for c in columns or () if c not in empty.column_names]
        if lacking:
            raise LakeError(
                f"consumer {self._consumer.name!r} reads {', '.join(map(repr, lacking))} of {name!r}, which has: "
                f"{', '.join(empty.column_names)}"
            )


def _micros(instant: datetime) -> int:
    return (instant - EPOCH) // _MICROSECOND
