"""Publishes what the lake has of windows again, with the released events that stand in for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pyarrow as pa

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Receipt, WindowFact
from stream_assets.core.window import TimeWindow
from stream_assets.events.dedup import deduplicate
from stream_assets.events.drift import Drift
from stream_assets.events.released import with_released, without
from stream_assets.events.schema import align, unify
from stream_assets.lake.publish import Publisher
from stream_assets.pipeline.content import WindowContent, of_day
from stream_assets.pipeline.ingest import Ingest
from stream_assets.pipeline.learning import Learning
from stream_assets.pipeline.outcome import Outcome, silent
from stream_assets.pipeline.running import Running
from stream_assets.pipeline.site import Site


class Readmit(Ingest):
    """Fills windows from the lake and from what was released. The source is not asked, so nothing reopened is mended.

    Args:
        rejected: how many rejected rows are left of a window, where that is another number than before.
        together: called inside of the transaction that publishes; what it raises stops that.
    """

    def __init__(
        self,
        site: Site,
        stream: StreamSpec,
        running: Running,
        rejected: Mapping[TimeWindow, int],
        together: Callable[[], None],
    ) -> None:
        super().__init__(site, stream, running, silent)
        self._learning = _Columns(site, stream, together)
        self._rejected = rejected

    def windows_from_lake(self, windows: Intervals) -> list[Outcome]:
        """Publish those of `windows` that are sealed, those of a sealed day together with the whole day, in one commit.

        Raises:
            Conflict: transient; another writer was faster.
        """
        days = windows & self._site.ledger.coverage(self._stream.daily)
        with self._site.lake.publisher() as publisher:
            for span in windows - days:
                self._stage_apart(publisher, span)
            for day in dict.fromkeys(d for span in days for d in self._site.lake.calendar.days(span)):
                self._stage_in_day(publisher, day, days.clip(day))
            return self._commit(publisher)

    def _stage_apart(self, publisher: Publisher, span: TimeWindow) -> None:
        for current in self._site.ledger.current(self._stream.name, span):
            said = current.receipt
            fact = WindowFact(
                current.span.start, said.rows, said.digest, said.duplicates, said.rejected, said.discarded
            )
            released = _Released(self._site, self._stream, current.span, self._site.lake.schema_of([current]))
            content = self._content(said, fact, self._site.lake.rows_of(current, released.schema), released)
            if not self._is_equal(current, content):
                self._stage_window(publisher, content, current, released.schema, 0)

    def _stage_in_day(self, publisher: Publisher, day: TimeWindow, again: Intervals) -> None:
        known = self._known(self._stream.daily, day)[day.start]
        released = _Released(self._site, self._stream, day, self._site.lake.schema_of([known]))

        def contents() -> Iterator[WindowContent]:
            for fact, rows in self._site.lake.windows_of_day(known):
                if again.covers(fact.window):
                    yield self._content(known.receipt, fact, align(rows, released.schema), released)
                else:
                    yield of_day(known.receipt, fact, rows)

        self._stage_day(publisher, day, released.schema, contents(), known, 0, again, is_along=True)

    def _content(self, said: Receipt, fact: WindowFact, rows: pa.Table, released: _Released) -> WindowContent:
        copied = of_day(said, fact, rows)
        kept = deduplicate(released.put_in(rows, fact.window))
        rejected, duplicates = self._rejected.get(fact.window, fact.rejected), fact.duplicates + kept.duplicates
        return replace(
            copied, table=kept.table, digest=kept.digest, duplicates=duplicates, rejected=rejected,
            rows_read=kept.table.num_rows + duplicates + rejected, is_fresh=True,
        )  # fmt: skip

    def _moved(self, *_: object, **__: object) -> Intervals:
        """All that the lake has is there again, but for what is released elsewhere now: nothing else can be lost."""
        return Intervals()


class _Columns(Learning):
    """Takes in columns alone, and goes on from those of the stream."""

    def __init__(self, site: Site, stream: StreamSpec, together: Callable[[], None]) -> None:
        super().__init__(site, stream)
        self._together = together
        self.begin(site.columns(stream.name, TimeWindow(site.lake.start, site.lake.start)))

    def record(self, published: Intervals) -> None:
        super().record(published)
        self._together()


class _Released:
    """What was released of a span, as it is to be published there, and what is to go."""

    def __init__(self, site: Site, stream: StreamSpec, span: TimeWindow, there: pa.Schema) -> None:
        drift = Drift(stream.drift, site.columns(stream.name, TimeWindow(span.start, span.start)))
        found = [(window, drift.take(events)) for window, events in site.lake.released.events(stream.name, span)]
        self.schema = drift.typed(unify([there, *(events.schema for _, events in found)]))
        self._come = {window: align(events, self.schema) for window, events in found}
        self._go = dict(site.lake.released.to_go(stream.name, span))

    def put_in(self, rows: pa.Table, window: TimeWindow) -> pa.Table:
        """Return the events of a window with those that are released there, and without those that no longer are."""
        if window in self._go:
            rows = without(rows, self._go[window])
        return with_released(rows, [self._come[window]] if window in self._come else [])
