"""Reading a source: one query over a range, conformed, and dealt to its windows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.errors import SourceError, SourceIncomplete
from stream_assets.events.conform import conform
from stream_assets.events.dedup import deduplicate
from stream_assets.events.drift import Drift, windows_of
from stream_assets.events.instants import instant_of
from stream_assets.events.released import with_released
from stream_assets.events.route import Router
from stream_assets.events.schema import EVENT_TIME, REJECTED, align, empty, unify
from stream_assets.pipeline.ahead import ahead
from stream_assets.pipeline.asking import source_errors
from stream_assets.pipeline.content import WindowContent
from stream_assets.pipeline.halves import halves_of, halves_of_windows
from stream_assets.pipeline.site import PARTS, Site
from stream_assets.sources.protocol import ORIGIN_KEY

REJECTED_BYTES = 64 << 20
"""How much Arrow data of rejected rows is held in memory, beside the events."""


class Read:
    """One source query over a range, dealt to its windows. A context manager: it may hold spilled rows."""

    def __init__(
        self, site: Site, stream: StreamSpec, span: TimeWindow, *, keep_rejected: bool = True, is_live: bool = False
    ) -> None:
        self._site = site
        self._keeps_rejected = keep_rejected
        self._is_live = is_live
        self._stream = stream
        self.span = span
        self.at = _as_of(site, stream)
        self._source = site.sources[stream.name]
        self.known = site.columns(stream.name, span)
        self._drift = Drift(stream.drift, self.known)
        nothing = self._schema_of_nothing()
        self._released: dict[TimeWindow, list[pa.Table]] = {}
        self._open = ExitStack()
        scratch = self._open.enter_context(site.lake.scratch())
        self._events = self._open.enter_context(Router(span, spill_dir=scratch, schema=nothing))
        self._rejected = self._open.enter_context(
            Router(span, spill_dir=scratch, budget_bytes=REJECTED_BYTES, schema=REJECTED)
        )
        # Entered last: what it still does is done before the rows go.
        self._beside = self._open.enter_context(ThreadPoolExecutor(1, thread_name_prefix="read-ahead"))

    def __enter__(self) -> Read:
        try:
            with self._site.reading(self._stream.name, is_live=self._is_live):
                for batch in ahead(self._batches(), self._beside):
                    self._take(batch)
            for window, events in self._site.lake.released.events(self._stream.name, self.span):
                taken = self._taken(events, f"what was released of {self._stream.name!r}")
                self._released.setdefault(window, []).append(taken)
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _schema_of_nothing(self) -> pa.Schema | None:
        """Return the columns of an empty answer, where the source knows them."""
        with source_errors(self._stream.name, self._source, self.span):
            schema = self._source.schema(now=self.at)
        if schema is None:
            return None
        try:
            return self._drift.take(conform(empty(schema), self._source.names, "", self.at).table).schema
        except SourceError:
            return None  # the windows that have rows of such columns will say what is wrong with them

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with source_errors(self._stream.name, self._source, self.span):
            yield from self._source.read(self.span, now=self.at, state=self._site.source_state(self._stream.name))

    def _take(self, batch: pa.RecordBatch) -> None:
        metadata = batch.schema.metadata or {}
        origin = metadata.get(ORIGIN_KEY, b"").decode() or f"the source of {self._stream.name!r}"
        conformed = conform(batch, self._source.names, origin, self.at)
        self._events.add(self._taken(self._inside(conformed.table), origin))
        # Each is counted in one window: its own, else that of the rows around it, else the first.
        around = conformed.around.fill_null(instant_of(self.span.start))
        self._rejected.add(conformed.rejected, otherwise=around)

    def _taken(self, events: pa.Table, origin: str) -> pa.Table:
        try:
            return self._drift.take(events)
        except SourceError as error:
            raise SourceError(self._said(error, events, origin)) from error

    def _inside(self, table: pa.Table) -> pa.Table:
        """Return the events of the range: what else a batch has is no reason to refuse them."""
        times: Any = table.column(EVENT_TIME)
        start, end = instant_of(self.span.start), instant_of(self.span.end)
        inside = pc.and_(pc.greater_equal(times, start), pc.less(times, end))
        return table if pc.all(inside).as_py() else table.filter(inside)

    def _said(self, error: SourceError, events: pa.Table, origin: str) -> str:
        name = self._stream.name
        let_in = f"or let it in with drift='evolve' (STREAM_ASSETS_DRIFT_{name.upper()}), "
        first, last = (self._site.lake.calendar.key(w, "5 min") for w in windows_of(events))
        where = f"window {first}" if first == last else f"windows {first} to {last}"
        return (
            f"stream {name!r}, {where}, {origin}: {error}. Give the column one type throughout the source "
            f"(of CSV files, say which with types=), or the new values a new name, {let_in if self._stream.drift == 'freeze' else ''}then `stream-assets retry {name}`"
        )

    @property
    def schema(self) -> pa.Schema:
        """Columns of every window."""
        released = [events.schema for parts in self._released.values() for events in parts]
        # The declared columns of a source without events say nothing against events that were released.
        read = [self._events.schema] if self._events.rows or not released else []
        return self._drift.typed(unify([*read, *released]))

    def windows(self) -> Iterator[WindowContent]:
        """Yield every window of the range, oldest first; rejected rows are kept beside the lake's tables, if asked.

        What was kept of a window before stays until somebody says that the window is published.
        """
        return ahead(self._windows(), self._beside)

    def _windows(self) -> Iterator[WindowContent]:
        schema = self.schema
        for (window, events), (_, rejected) in zip(self._events.windows(), self._rejected.windows(), strict=True):
            table = with_released(align(events, schema), [align(r, schema) for r in self._released.get(window, ())])
            kept = deduplicate(table)
            name = None
            if self._keeps_rejected:
                name = self._site.lake.beside.write(self._stream.name, window, rejected)
            lost = rejected.num_rows
            yield WindowContent(
                window, kept.table, kept.digest, kept.duplicates, lost, table.num_rows + lost,
                self._drift.discarded[window.start], self._drift.columns.discarded, name, is_fresh=True,
            )  # fmt: skip


def given(site: Site, stream: StreamSpec, span: TimeWindow) -> list[tuple[TimeWindow, pa.Schema]]:
    """Return the parts of `span` that the source gives, with their columns; found by halving around those it refuses.

    Raises:
        SourceUnavailable: transient; it does not answer, which says nothing of what it has.
    """
    try:
        with Read(site, stream, span, keep_rejected=False) as read:
            for _ in read.windows():
                pass
            return [(span, read.schema)]
    except (SourceError, SourceIncomplete):
        return [found for half in halves_of_windows(span) or () for found in given(site, stream, half)]


@contextmanager
def reading_of(site: Site, stream: StreamSpec, spans: Intervals, *, is_apart: bool) -> Iterator[list[Read]]:
    """Read scattered windows in one query over their hull.

    Args:
        is_apart: whether to read them in as many queries as it takes, oldest first, if that one fails: what lies between
            them is not asked for.
    """
    with ExitStack() as stack:

        def reads(part: Intervals) -> list[Read]:
            assert part.hull
            try:
                return [stack.enter_context(Read(site, stream, part.hull))]
            except PARTS:
                halves = halves_of(part) if is_apart else None
                if not halves:
                    raise
            return [read for half in halves for read in reads(half)]

        yield reads(spans)


def _as_of(site: Site, stream: StreamSpec) -> datetime:
    """Return the instant whose events are read: a clock that was set back takes back nothing that the source has shown."""
    now = site.clock.now()
    return max(now, site.ledger.sources.looked_at(stream.name) or now)
