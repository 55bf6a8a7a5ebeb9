# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""What a consumer reads: events of a stream cut to its partition, or the rows of another consumer."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_assets.core.declaration import Consumer
from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import WindowFact
from stream_assets.core.window import EPOCH, GRID, TimeWindow
from stream_assets.errors import Conflict
from stream_assets.events.buffers import numbers_of
from stream_assets.events.schema import EVENT_TIME
from stream_assets.lake.part import LakeFile
from stream_assets.lake.read import Opened
from stream_assets.lake.relation import condition, quoted
from stream_assets.pipeline.forms import connect, to_form
from stream_assets.pipeline.site import Site

if TYPE_CHECKING:
    import duckdb

_MICROSECOND = timedelta(microseconds=1)


class Inputs:
    """Reads the events of neighbouring partitions once, and cuts them for each.

    Args:
        hull: event time from the first partition's lookback to the last one's end.

    Attributes:
        mark: the ledger's, when nothing had been read yet.
        seq: the ledger's sequence number at that moment.
        readable: what of each input can be read, as it was no earlier: what comes later is told by what it changes.
        files: what each input consisted of then.
    """

    def __init__(self, site: Site, consumer: Consumer, hull: TimeWindow) -> None:
        self._site = site
        self._consumer = consumer
        self._hull = hull
        self._streams: dict[str, tuple[pa.Table, npt.NDArray[np.int64]]] = {}
        self._opened: dict[str, Opened] = {name: {} for name in consumer.inputs}
        self.mark = site.ledger.reopened.mark()
        self.seq = site.ledger.seq()
        self.readable = {name: self._delivered(name) for name in consumer.inputs}
        self.files = {name: site.lake.files(name, hull) for name in consumer.inputs}
        self._looked_at = -1
        self.refuse_removed()

    def refuse_removed(self) -> None:
        """Refuse what has been read where less of it may have been there than `readable` says; cheap where nothing happened.

        Who removes waits for readers, but not for one that is held up for longer than its lease lasts. The files that
        went are not missed by whoever reads: they look as if they had never been there.

        Raises:
            Conflict: transient; something has been removed since.
        """
        if (seq := self._site.ledger.seq()) == self._looked_at:
            return
        for name, there in self.readable.items():
            if went := (there - self._delivered(name)).clip(self._hull):
                raise Conflict(f"{name} {went} was removed while it was about to be read: the work is planned again")
        self._looked_at = seq

    def _delivered(self, name: str) -> Intervals:
        declared, ledger = self._site.declarations, self._site.ledger
        days = ledger.coverage(declared.stream(name).daily) if declared.is_stream(name) else Intervals()
        return ledger.coverage(name) | days

    def argument(self, name: str, span: TimeWindow, wanted: Intervals) -> Any:
        """Return the rows of input `name` inside `span` in the form that the consumer wants, of them those in `wanted`.

        The partitions of a consumer of day grain are given whole. What arrives as a DuckDB relation at day grain is
        lazy: it may be bigger than memory.

        Raises:
            LakeError: terminal; a column that is not there.
        """
        form = self._consumer.forms[name]
        is_stream = self._site.declarations.is_stream(name)
        if is_stream and form == "duckdb" and self._consumer.grain == "day":
            relation = self._relation(name, wanted)
            if relation is not None:
                return relation
        table = self._events(name, wanted) if is_stream else self._rows(name, span, wanted)
        return to_form(table, form, self._site.lake.layout.staging)

    def _events(self, name: str, wanted: Intervals) -> pa.Table:
        """Return the events in `wanted`; a whole day needs no event times to be cut by."""
        if self._consumer.grain != "day" or len(wanted.spans) != 1:
            return self._cut(name, wanted)
        columns, lake = self._consumer.reads.get(name), self._site.lake
        table = lake.read(name, wanted.spans[0], columns, files=self.files[name])
        return table if table.column_names else lake.empty(name, columns, wanted.spans[0])

    def _rows(self, name: str, span: TimeWindow, wanted: Intervals) -> pa.Table:
        columns = self._consumer.reads.get(name)
        grain = self._site.declarations.tables[name].grain
        keys = grain != self._consumer.grain or bool(self._consumer.lookback)
        spans = wanted if grain == "5 min" else Intervals.of(span)
        lake, files, opened = self._site.lake, self.files[name], self._opened[name]
        tables = [lake.read(name, s, columns, keys=keys, files=files, opened=opened) for s in spans]
        return pa.concat_tables([t for t in tables if t.column_names] or tables[:1], promote_options="permissive")

    def _relation(self, name: str, wanted: Intervals) -> duckdb.DuckDBPyRelation | None:
        """Return the events in `wanted` lazily; None where there is none, or no file of them."""
        hull, lake = wanted.hull, self._site.lake
        columns = self._consumer.reads.get(name)
        if hull is None:
            return None
        is_one = len(wanted.spans) == 1
        asked = columns if is_one or columns is None else list(dict.fromkeys([*columns, EVENT_TIME]))
        relation = lake.relation(connect(lake.layout.staging), name, hull, asked, files=self.files[name])
        if relation is None or is_one:
            return relation
        relation = relation.filter(condition(wanted))
        return relation if columns is None else relation.select(*(quoted(c) for c in columns))

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
        table = self._site.lake.read(name, self._hull, asked, files=self.files[name])
        if not table.column_names:
            table = self._site.lake.empty(name, asked, self._hull)
        times: Any = numbers_of(table.column(EVENT_TIME).cast(pa.int64()), np.int64)
        return (table if columns is None else table.select(list(columns))), times


def fingerprint(files: Iterable[LakeFile], read: TimeWindow, wanted: Intervals) -> Digest:
    """Return the sum of the digests of what was read of one input: `wanted` inside `read`."""
    total = Digest()
    for current in (f.current for f in files if f.current.span.overlaps(read)):
        if wanted.covers(current.span):
            total += current.digest
        elif facts := current.receipt.windows:
            near = facts[bisect_right(facts, read.start - GRID, key=_start) : bisect_left(facts, read.end, key=_start)]
            total += Digest.total(f.digest for f in near if wanted.covers(f.window))
        elif wanted.clip(current.span):
            total += current.digest
    return total


def _start(fact: WindowFact) -> datetime:
    return fact.start


def _micros(instant: datetime) -> int:
    return (instant - EPOCH) // _MICROSECOND
