"""Reading a source: one query over a range, conformed, and dealt to its windows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.window import EPOCH, GRID, TimeWindow
from stream_assets.events.conform import conform
from stream_assets.events.dedup import deduplicate
from stream_assets.events.route import Router
from stream_assets.events.schema import EVENT_TIME, REJECTED
from stream_assets.pipeline.content import WindowContent
from stream_assets.pipeline.site import Site
from stream_assets.sources.protocol import PLACE_KEY, Source


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
        self.at = site.clock.now()
        self._rejected: dict[datetime, list[pa.Table]] = {}
        site.lake.layout.staging.mkdir(exist_ok=True)
        with site.asking(stream.name):
            schema = site.sources[stream.name].schema(now=self.at)
        empty = None
        if schema is not None:
            source = site.sources[stream.name]
            empty = conform(schema.empty_table(), source.names, span, self.at).table.schema
        self._router = Router(span, spill_dir=Path(site.lake.layout.staging), schema=empty)

    def __enter__(self) -> Read:
        source = self._site.sources[self._stream.name]
        try:
            with self._site.reading(self._stream.name, is_live=self._is_live):
                for batch in self._batches(source):
                    conformed = conform(batch, source.names, self.span, self.at)
                    self._router.add(conformed.table)
                    if conformed.rejected.num_rows:
                        self._reject(conformed.rejected, (batch.schema.metadata or {}).get(PLACE_KEY))
        except BaseException:
            self._router.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._router.close()

    def _batches(self, source: Source) -> Iterator[pa.RecordBatch]:
        with self._site.asking(self._stream.name):
            yield from source.read(self.span, now=self.at, state=self._site.source_state(self._stream.name))

    def _reject(self, rows: pa.Table, place: bytes | None) -> None:
        """Count each rejected row in one window: its own, else that of the rows around it, else the first."""
        known = datetime.fromisoformat(place.decode()) if place else self.span.start
        times = rows.column(EVENT_TIME).to_pylist()
        for index, time in enumerate(times):
            start = time if time is not None and time in self.span else known
            start = EPOCH + (start - EPOCH) // GRID * GRID
            self._rejected.setdefault(start, []).append(rows.slice(index, 1))

    @property
    def schema(self) -> pa.Schema:
        """Columns of every window."""
        return self._router.schema

    def windows(self) -> Iterator[WindowContent]:
        """Yield every window of the range, oldest first; rejected rows are kept beside the lake's tables, if asked."""
        for window, table in self._router.windows():
            kept = deduplicate(table)
            rejected = self._rejected.get(window.start, [])
            if self._keeps_rejected:
                self._keep_rejected(window, rejected)
            lost = sum(r.num_rows for r in rejected)
            yield WindowContent(
                window, kept.table, kept.digest, kept.duplicates, lost, table.num_rows + lost, is_fresh=True
            )

    def _keep_rejected(self, window: TimeWindow, rejected: list[pa.Table]) -> None:
        self._site.lake.keep_rejected(
            self._stream.name, window, pa.concat_tables(rejected) if rejected else REJECTED.empty_table()
        )
