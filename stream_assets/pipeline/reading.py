"""Reading a source: one query over a range, conformed, and dealt to its windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime

import pyarrow as pa

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.window import TimeWindow
from stream_assets.errors import SourceError
from stream_assets.events.conform import conform
from stream_assets.events.dedup import deduplicate
from stream_assets.events.route import Router
from stream_assets.events.schema import INSTANT, REJECTED
from stream_assets.pipeline.asking import source_errors
from stream_assets.pipeline.content import WindowContent
from stream_assets.pipeline.site import Site
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
        self.mark = site.ledger.mark()
        self._source = site.sources[stream.name]
        nothing = self._schema_of_nothing()
        self._open = ExitStack()
        scratch = self._open.enter_context(site.lake.scratch())
        self._events = self._open.enter_context(Router(span, spill_dir=scratch, schema=nothing))
        self._rejected = self._open.enter_context(
            Router(span, spill_dir=scratch, budget_bytes=REJECTED_BYTES, schema=REJECTED)
        )

    def __enter__(self) -> Read:
        try:
            with self._site.reading(self._stream.name, is_live=self._is_live):
                for batch in self._batches():
                    self._take(batch)
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
            return conform(schema.empty_table(), self._source.names, "", self.at).table.schema
        except SourceError:
            return None  # the windows that have rows of such columns will say what is wrong with them

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with source_errors(self._stream.name, self._source, self.span):
            yield from self._source.read(self.span, now=self.at, state=self._site.source_state(self._stream.name))

    def _take(self, batch: pa.RecordBatch) -> None:
        metadata = batch.schema.metadata or {}
        origin = metadata.get(ORIGIN_KEY, b"").decode() or f"the source of {self._stream.name!r}"
        conformed = conform(batch, self._source.names, origin, self.at)
        try:
            self._events.add(conformed.table)
        except SourceError as error:
            raise SourceError(f"{origin}: {error}") from error
        # Each is counted in one window: its own, else that of the rows around it, else the first.
        around = conformed.around.fill_null(pa.scalar(self.span.start, INSTANT))
        self._rejected.add(conformed.rejected, otherwise=around)

    @property
    def schema(self) -> pa.Schema:
        """Columns of every window."""
        return self._events.schema

    def windows(self) -> Iterator[WindowContent]:
        """Yield every window of the range, oldest first; rejected rows are kept beside the lake's tables, if asked."""
        for (window, table), (_, rejected) in zip(self._events.windows(), self._rejected.windows(), strict=True):
            kept = deduplicate(table)
            if self._keeps_rejected:
                self._site.lake.keep_rejected(self._stream.name, window, rejected)
            lost = rejected.num_rows
            yield WindowContent(
                window, kept.table, kept.digest, kept.duplicates, lost, table.num_rows + lost, is_fresh=True
            )


def _as_of(site: Site, stream: StreamSpec) -> datetime:
    """Return the instant whose events are read: a clock that was set back takes back nothing that the source has shown."""
    now = site.clock.now()
    watermark = site.ledger.sources.watermarks().get(stream.name, now)
    return now if now >= watermark else watermark + stream.settling
