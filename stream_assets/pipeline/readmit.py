"""Publishes what the lake has of windows again, with the released events that stand in for them."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import WindowFact
from stream_assets.core.window import TimeWindow
from stream_assets.events.dedup import deduplicate
from stream_assets.events.drift import Drift
from stream_assets.events.released import with_released
from stream_assets.events.schema import align, unify
from stream_assets.lake.publish import Publisher
from stream_assets.pipeline.content import WindowContent, of_day
from stream_assets.pipeline.ingest import WINDOWS_A_COMMIT, Ingest
from stream_assets.pipeline.learning import Learning
from stream_assets.pipeline.outcome import Outcome


class Readmit(Ingest):
    """Fills windows from the lake and from what was released. The source is not asked, so nothing reopened is mended."""

    def windows_from_lake(self, windows: list[TimeWindow], rejected: Mapping[TimeWindow, int]) -> list[Outcome]:
        """Publish those of `windows` that are sealed, those of a sealed day together with the whole day.

        Args:
            windows: those that have released events, or that have fewer rejected rows; oldest first.
            rejected: how many rejected rows are left of a window.

        Raises:
            Conflict: transient; other writers were faster three times in a row.
        """
        site = self._site
        self._learning = _Columns(site, self._stream)
        anew = self._learning.anew
        in_days = Intervals.of(*windows) & site.ledger.coverage(self._stream.daily)
        apart = [w for w in windows if not in_days.covers(w)]
        outcomes: list[Outcome] = []
        if apart:
            hull = TimeWindow(apart[0].start, apart[-1].end)
            outcomes += site.planned_again(self._stream.name, hull, anew(lambda: self._publish_apart(apart, rejected)))
        for day in dict.fromkeys(d for span in in_days for d in site.lake.calendar.days(span)):
            outcomes += site.planned_again(
                self._stream.daily, day, anew(lambda day=day: self._publish_in_day(day, in_days.clip(day), rejected))
            )
        return outcomes

    def _publish_apart(self, windows: list[TimeWindow], rejected: Mapping[TimeWindow, int]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        lake = self._site.lake
        with lake.publisher() as publisher:
            for current in [c for w in windows for c in self._site.ledger.current(self._stream.name, w)]:
                said = current.receipt
                fact = WindowFact(
                    current.span.start, said.rows, said.digest, said.duplicates, said.rejected, said.discarded
                )
                schema, released = self._released(current.span, lake.schema_of([current]))
                content = _content(fact, lake.rows_of(current, schema), released, rejected)
                if not self._is_equal(current, content):
                    self._stage_window(publisher, content, current, schema, 0)
                if len(publisher) >= WINDOWS_A_COMMIT:
                    outcomes += self._commit(publisher)
            return outcomes + self._commit(publisher)

    def _publish_in_day(
        self, day: TimeWindow, again: Intervals, rejected: Mapping[TimeWindow, int]
    ) -> list[Outcome]:  # fmt: skip
        known = self._known(self._stream.daily, day)[day.start]
        schema, released = self._released(day, self._site.lake.schema_of([known]))
        contents = (
            _content(fact, align(rows, schema), released, rejected)
            if again.covers(fact.window)
            else of_day(known.receipt, fact, rows)
            for fact, rows in self._site.lake.windows_of_day(known)
        )
        with self._site.lake.publisher() as publisher:
            same = self._stage_day(publisher, day, schema, contents, known, 0, again)
            made = self._commit(publisher)
        return same or [o for o in made if o.table == self._stream.daily]

    def _released(self, span: TimeWindow, there: pa.Schema) -> tuple[pa.Schema, dict[TimeWindow, list[pa.Table]]]:
        """Return the columns of `there` and of what was released in `span`, and that in them."""
        drift = Drift(self._stream.drift, self._site.columns(self._stream.name, TimeWindow(span.start, span.start)))
        found = [(w, drift.take(e)) for w, e in self._site.lake.beside.released(self._stream.name, span)]
        schema = drift.typed(unify([there, *(events.schema for _, events in found)]))
        by_window: dict[TimeWindow, list[pa.Table]] = {}
        for window, events in found:
            by_window.setdefault(window, []).append(align(events, schema))
        return schema, by_window

    def _stage_moved(self, publisher: Publisher, moved: Intervals) -> None:
        """Where else events are is what the source says, and it is not asked here."""


class _Columns(Learning):
    """Takes in columns alone, and goes on from those of the stream."""

    def forget(self) -> None:
        super().forget()
        self.begin(self._site.columns(self._stream.name, TimeWindow(self._site.lake.start, self._site.lake.start)))

    def rejected(self, content: WindowContent) -> None:
        """What is left of the rejected rows is written by who has looked at them."""


def _content(
    fact: WindowFact, rows: pa.Table, released: Mapping[TimeWindow, list[pa.Table]], rejected: Mapping[TimeWindow, int]
) -> WindowContent:
    kept = deduplicate(with_released(rows, released.get(fact.window, [])))
    left, duplicates = rejected.get(fact.window, fact.rejected), fact.duplicates + kept.duplicates
    rows_read = kept.table.num_rows + duplicates + left
    return WindowContent(
        fact.window, kept.table, kept.digest, duplicates, left, rows_read, fact.discarded, is_fresh=True
    )
