"""From a source to sealed windows and days: read in one query, published window by window, compacted by the day."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.errors import StreamAssetsError, TransientError
from stream_assets.lake.ledger import Current
from stream_assets.lake.publish import Publisher
from stream_assets.pipeline.ahead import ahead
from stream_assets.pipeline.content import WindowContent, accepted
from stream_assets.pipeline.halves import halves_of, halves_of_windows
from stream_assets.pipeline.outcome import Outcome
from stream_assets.pipeline.reading import Read, given
from stream_assets.pipeline.refusals import Refusals
from stream_assets.pipeline.site import PARTS
from stream_assets.pipeline.staging import Staging


class Ingest(Staging):
    """Fills the windows and the days of one stream."""

    # Windows of the open day.

    def windows(self, spans: Intervals) -> list[Outcome]:
        """Read and publish every window in `spans`, with one source query for each unbroken run of them.

        A failure of a part of a range halves it until the bad window stands alone; the others are published. A window of
        which events would go stays as it was, and needs no halving.
        """
        self._asked, self._refusals = spans, Refusals()
        made: dict[TimeWindow, Outcome] = {}  # what moves took along is told of more than once
        for span in spans:
            outcomes = self._halving(span, self._stream.name, self._publish_windows, halves_of_windows)
            made |= {o.span: o for o in outcomes}
        return list(made.values())

    def _publish_windows(self, span: TimeWindow) -> list[Outcome]:
        outcomes = self._without_refused(lambda publisher: self._stage_windows(publisher, span, in_lots=True))
        made = sorted((o for o in outcomes if o.table == self._stream.name), key=lambda o: o.span)
        refused = self._refusals.windows(span)
        return made + [o for w in refused for o in self._failed(w, self._stream.name, self._refusals.error(w))]

    def _without_refused(self, stage: Callable[[Publisher], list[Outcome]]) -> list[Outcome]:
        """Stage and publish; where something was staged that turned out to be refused, all of it again without that."""
        while True:
            self._learning.forget()
            with self._site.lake.publisher() as publisher:
                outcomes = stage(publisher)
                if not self._is_refused(publisher):
                    return outcomes + self._commit(publisher)

    # Closed days.

    def days(self, days: list[TimeWindow], *, read_again: bool = False) -> list[Outcome]:
        """Seal closed days: compacted where all their windows are sealed, else read whole, one query a run of days.

        Args:
            days: closed days, oldest first.
            read_again: whether to ask the source in any case.
        """
        outcomes: list[Outcome] = []
        to_read: list[TimeWindow] = []
        sealed = self._site.ledger.coverage(self._stream.name)
        gaps = Intervals.union_of(gap.span for name, gap in self._site.ledger.accepted() if name == self._stream.name)
        for day in days:
            # What was given up of a day is not asked for again with the rest of it.
            is_there = gaps.clip(day) or (sealed.covers(day) and not self.reopened.clip(day))
            if is_there and not read_again:
                outcomes += self._halving(day, self._stream.daily, self._compact, self._halves_of_days)
            else:
                to_read.append(day)
        for span in Intervals.of(*to_read):
            outcomes += self._halving(span, self._stream.daily, self._publish_days, self._halves_of_days)
        return sorted(outcomes, key=lambda o: o.span)

    def _publish_days(self, span: TimeWindow) -> list[Outcome]:
        outcomes: list[Outcome] = []
        known = self._known(self._stream.daily, span)
        with Read(self._site, self._stream, span) as read:
            self._learning.begin(read.known)
            contents = self._learning.noting(read.windows())
            for day in self._site.lake.calendar.days(span):
                count = day.duration // GRID
                in_day = (next(contents) for _ in range(count))
                outcomes += self._publish_day(day, read.schema, in_day, known.get(day.start), self._looked_at)
        return outcomes

    def _compact(self, day: TimeWindow) -> list[Outcome]:
        lacking = Intervals.of(day) - self._site.ledger.coverage(self._stream.name)
        for outcome in self.windows(lacking | self.reopened.clip(day)):
            if outcome.cause:
                raise outcome.cause(outcome.error)
        windows = self._site.ledger.current(self._stream.name, day)
        schema = self._site.lake.schema_of(windows)
        known = self._known(self._stream.daily, day).get(day.start)
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as beside:
            contents = ahead(self._copied(windows, schema), beside)
            return self._publish_day(day, schema, contents, known, self._looked_at)

    def _publish_day(
        self, day: TimeWindow, schema: pa.Schema, contents: Iterator[WindowContent], known: Current | None, read_at: int
    ) -> list[Outcome]:  # fmt: skip
        self._refusals = Refusals()  # what was refused of single windows is left out already
        with self._site.lake.publisher() as publisher:
            same = self._stage_day(publisher, day, schema, contents, known, read_at)
            if self._is_refused(publisher):
                raise self._refusals.error(day)
            made = self._commit(publisher)
        return same or [o for o in made if (o.table, o.span) == (self._stream.daily, day)]

    def heal(self, day: TimeWindow, spans: Intervals) -> list[Outcome]:
        """Republish a sealed day with the windows in `spans` read again and the rest copied from its file.

        A window that cannot be had, or lacks events that it had, stays as it was, the others are healed, and the day
        counts as failed.
        """
        self._refusals = Refusals()
        errors: list[StreamAssetsError] = []
        outcomes = self._healed(day, spans, errors)
        if self._refusals.windows(day):
            errors.append(self._refusals.error(day))
        if not errors:
            return outcomes
        self._made.pop(day, None)
        # What only waits is not to be paused with what does not.
        first = next((error for error in errors if isinstance(error, TransientError)), errors[0])
        return self._failed(day, self._stream.daily, first)

    def _healed(self, day: TimeWindow, spans: Intervals, errors: list[StreamAssetsError]) -> list[Outcome]:
        try:
            return self._site.planned_again(
                self._stream.daily, day, self._learning.anew(lambda: self._heal(day, spans))
            )
        except PARTS as error:
            halves = halves_of(spans)
            if not halves:
                kept = self._given_up(self._stream.daily, spans.spans[0]) if spans else []
                if not kept:
                    errors.append(error)
                return kept
        except TransientError as error:
            errors.append(error)
            return []
        return [outcome for half in halves for outcome in self._healed(day, half, errors)][-1:]

    def _heal(self, day: TimeWindow, spans: Intervals) -> list[Outcome]:
        self._made.pop(day, None)
        if not self._known(self._stream.daily, day):
            return self._publish_days(day)
        made = self._without_refused(lambda publisher: self._stage_heal(publisher, day, spans))
        return [o for o in made if (o.table, o.span) == (self._stream.daily, day)]

    # Failures.

    def _halving(
        self,
        span: TimeWindow,
        table: str,
        publish: Callable[[TimeWindow], list[Outcome]],
        halves: Callable[[TimeWindow], tuple[TimeWindow, TimeWindow] | None],
    ) -> list[Outcome]:
        try:
            return self._site.planned_again(table, span, self._learning.anew(lambda: publish(span)))
        except PARTS as error:
            parts = halves(span)
            if parts is None:
                kept = self._given_up(table, span) if table == self._stream.name else []
                return kept or self._failed(span, table, error)
        except TransientError as error:
            return self._failed(span, table, error)
        return [outcome for part in parts for outcome in self._halving(part, table, publish, halves)]

    def _given_up(self, table: str, window: TimeWindow) -> list[Outcome]:
        """Leave a window as it is that somebody accepted as a gap, while its source refuses it still; empty for any other."""
        for current in self._site.ledger.current(table, window):
            if accepted(current.receipt, window) and not given(self._site, self._stream, window):
                return [self._unchanged(current, self._looked_at, Intervals.of(window))]
        return []

    def _failed(self, span: TimeWindow, table: str, error: StreamAssetsError) -> list[Outcome]:
        grain = "5 min" if table == self._stream.name else "day"
        return [
            self._done(Outcome(table, partition, "failed", None, str(error), type(error)))
            for partition in self._site.lake.calendar.partitions(span, grain)
        ]
