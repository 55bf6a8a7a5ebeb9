"""Reading a source: one query over a range, conformed, and dealt to its windows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.window import EPOCH, GRID, TimeWindow
from stream_assets.errors import SourceError
from stream_assets.events.conform import conform
from stream_assets.events.dedup import deduplicate
from stream_assets.events.route import Router
from stream_assets.events.schema import EVENT_TIME, REJECTED
from stream_assets.pipeline.asking import source_errors
from stream_assets.pipeline.content import WindowContent
from stream_assets.pipeline.site import Site
from stream_assets.sources.protocol import ORIGIN_KEY, PLACE_KEY


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
        self._source = site.sources[stream.name]
        self._router = Router(span, spill_dir=site.lake.staging(), schema=self._schema_of_nothing())

    def __enter__(self) -> Read:
        try:
            with self._site.reading(self._stream.name, is_live=self._is_live):
                for batch in self._batches():
                    self._take(batch)
        except BaseException:
            self._router.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._router.close()

    def _schema_of_nothing(self) -> pa.Schema | None:
        """Return the columns of an empty answer, where the source knows them."""
        with source_errors(self._stream.name, self.span):
            schema = self._source.schema(now=self.at)
        if schema is None:
            return None
        try:
            return conform(schema.empty_table(), self._source.names, "", self.at).table.schema
        except SourceError:
            return None  # the windows that have rows of such columns will say what is wrong with them

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with source_errors(self._stream.name, self.span):
            yield from self._source.read(self.span, now=self.at, state=self._site.source_state(self._stream.name))

    def _take(self, batch: pa.RecordBatch) -> None:
        metadata = batch.schema.metadata or {}
        origin = metadata.get(ORIGIN_KEY, b"").decode() or f"the source of {self._stream.name!r}"
        conformed = conform(batch, self._source.names, origin, self.at)
        try:
            self._router.add(conformed.table)
        except SourceError as error:
            raise SourceError(f"{origin}: {error}") from error
        if conformed.rejected.num_rows:
            self._reject(conformed.rejected, metadata.get(PLACE_KEY))

    def _reject(self, rows: pa.Table, place: bytes | None) -> None:
        """Count each rejected row in one window: its own, else that of the rows around it, else the first."""
        known = datetime.fromisoformat(place.decode()) if place else self.span.start
        micros: Any = rows.column(EVENT_TIME).cast(pa.int64())
        times = micros.fill_null(_micros(known)).to_numpy()
        inside = (times >= _micros(self.span.start)) & (times < _micros(self.span.end))
        numbers = np.where(inside, times, _micros(known)) // _micros(EPOCH + GRID)
        for number in np.unique(numbers):
            start = EPOCH + int(number) * GRID
            self._rejected.setdefault(start, []).append(rows.filter(pa.array(numbers == number)))

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


def _micros(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(microseconds=1)
