"""From a source to sealed windows and days: read in one query, published window by window, compacted by the day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial

import pyarrow as pa

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Accepted, Receipt
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.errors import SourceError, SourceIncomplete, StreamAssetsError, TransientError
from stream_assets.events.schema import ARRIVAL_TIME
from stream_assets.lake.ledger import Current
from stream_assets.lake.publish import Publisher
from stream_assets.pipeline.arrived import came_when_read, carried
from stream_assets.pipeline.content import (
    DaySummary,
    WindowContent,
    accepted,
    bounds,
    counts_of,
    delivered,
    has_events_of,
    latency_of,
    lateness_of,
    of_day,
)
from stream_assets.pipeline.halves import halves_of, halves_of_days, halves_of_windows
from stream_assets.pipeline.learning import Learning
from stream_assets.pipeline.moves import Moves
from stream_assets.pipeline.outcome import Outcome, Progress, State
from stream_assets.pipeline.reading import Read, given, reading_of
from stream_assets.pipeline.running import Running
from stream_assets.pipeline.site import PARTS, Site

WINDOWS_A_COMMIT = 48
"""Windows published in one ledger transaction: measured, one sync for many files costs least."""


class Ingest:
    """Fills the windows and the days of one stream."""

    def __init__(self, site: Site, stream: StreamSpec, running: Running, progress: Progress) -> None:
        self._site = site
        self._stream = stream
        self._running = running
        self._progress = progress
        # What copies from the lake mends nothing that is not in this list.
        with site.ledger.transaction():
            self._looked_at = site.ledger.mark()
            self._reopened = site.ledger.reopened().get(stream.name, ())
        self._made: dict[TimeWindow, Outcome] = {}
        self._halves_of_days = partial(halves_of_days, site.lake.calendar)
        self._asked = Intervals()
        self._moves = Moves(site, stream, self.reopened)
        self._learning = Learning(site, stream)

    @property
    def reopened(self) -> Intervals:
        """Event time that the source has named as touched, and that nothing has read since."""
        return Intervals.union_of(r.span for r in self._reopened)

    # Windows of the open day.

    def windows(self, spans: Intervals) -> list[Outcome]:
        """Read and publish every window in `spans`, with one source query for each unbroken run of them.

        A failure of a part of a range halves it until the bad window stands alone; the others are published.
        """
        self._asked = spans
        made: dict[TimeWindow, Outcome] = {}  # what moves took along is told of more than once
        for span in spans:
            outcomes = self._halving(span, self._stream.name, self._publish_windows, halves_of_windows)
            made |= {o.span: o for o in outcomes}
        return list(made.values())

    def _publish_windows(self, span: TimeWindow) -> list[Outcome]:
        with self._site.lake.publisher() as publisher:
            outcomes = self._stage_windows(publisher, span, in_lots=True)
            outcomes += self._commit(publisher)
        return sorted((o for o in outcomes if o.table == self._stream.name), key=lambda o: o.span)

    def _stage_windows(self, publisher: Publisher, span: TimeWindow, *, in_lots: bool) -> list[Outcome]:
        """Stage the windows of `span`, and those that events of theirs have moved to or from; commit in lots until one has."""
        outcomes: list[Outcome] = []
        moved = Intervals()
        # Before the source is read: who publishes meanwhile may have seen more than this reader.
        known = self._known(self._stream.name, span)
        with Read(self._site, self._stream, span, is_live=self._running.is_planned) as read:
            self._learning.begin(read.known)
            for content in self._learning.noting(read.windows()):
                current = known.get(content.window.start)
                if publisher.holds(self._stream.name, content.window):
                    continue
                if current and self._is_equal(current, content):
                    outcomes.append(self._unchanged(current, read.mark))
                    continue
                if not current or not has_events_of(current, content):
                    moved |= self._moved(publisher, content, self._asked, is_there=bool(current))
                self._stage_window(publisher, content, current, read.schema, read.mark)
                if in_lots and not moved and len(publisher) >= WINDOWS_A_COMMIT:
                    outcomes += self._commit(publisher)
        self._stage_moved(publisher, moved)
        return outcomes

    def _stage_moved(self, publisher: Publisher, moved: Intervals) -> None:
        """Stage the other ends of moves; a day that is staged already, with more of its windows read again."""
        moved -= publisher.mends(self._stream.daily)
        days = self._site.ledger.coverage(self._stream.daily)
        try:
            for day in dict.fromkeys(d for span in moved & days for d in self._site.lake.calendar.days(span)):
                staged = publisher.mends(self._stream.daily).clip(day)
                if moved.clip(day) - staged:
                    publisher.drop(day, self._stream.daily, self._stream.name)
                    self._stage_heal(publisher, day, staged | moved.clip(day), is_along=True)
            for window in (w for span in moved - days for w in span.windows()):
                if not publisher.holds(self._stream.name, window):
                    self._stage_windows(publisher, window, in_lots=False)
        except SourceError as error:
            # It is not the fault of this end, which is tried again until the other one can be had.
            raise SourceIncomplete(f"events have moved, and where else they are is not to be had: {error}") from error

    def _stage_window(
        self, publisher: Publisher, content: WindowContent, current: Current | None, schema: pa.Schema, read_at: int
    ) -> None:  # fmt: skip
        """Write one window's own file into staging."""
        self._learning.learn(content)
        first, last = bounds(content.table)
        now = self._site.clock.now()
        lateness = lateness_of(content.table, content.window)
        if current and ARRIVAL_TIME not in content.table.column_names:
            lateness += carried([current]) + came_when_read(self._site, self._stream, content)
        receipt = Receipt(
            self._stream.name, content.window, (current.revision if current else 0) + 1, content.table.num_rows,
            content.digest, Intervals.of(content.window), now, content.duplicates, content.rejected,
            content.rows_read, min_event_time=first, max_event_time=last, latency=latency_of(content.table, now),
            lateness=lateness, reason=self._why(content.window, current), run_id=self._running.run_id,
            discarded=content.discarded, accepted=(Accepted(content.window, content.accepted),) if content.accepted else (),
        )  # fmt: skip
        is_same = current is not None and self._has(current, content)
        publisher.stage(
            "5 min", schema, [content.table], lambda: receipt,
            touched=lambda said: Intervals() if is_same else said.covered, read_at=read_at,
        )  # fmt: skip

    def _moved(self, publisher: Publisher, content: WindowContent, filled: Intervals, *, is_there: bool) -> Intervals:
        """Return the other ends of moves; what is staged is as good as in the lake, and so is what this work fills."""
        filled |= publisher.spans(self._stream.name, self._stream.daily)
        return self._moves.of(content, filled, is_there=is_there, accepts_loss=self._running.accepts_loss)

    def _why(self, span: TimeWindow, current: Current | None) -> str:
        """Return why a partition is made: it was reopened, or what is said of the whole run."""
        reasons = (r.reason for r in self._reopened if r.span.overlaps(span)) if current else iter(())
        return next(reasons, self._running.reason)

    def _is_equal(self, current: Current, content: WindowContent) -> bool:
        """Whether nothing would change, not even how many rows are said to be rejected."""
        return self._has(current, content) and current.receipt.rejected == content.rejected

    def _has(self, current: Current, content: WindowContent) -> bool:
        return has_events_of(current, content) and self._running.trusts(self._site.lake, current)

    def _unchanged(self, current: Current, read_at: int, mends: Intervals | None = None) -> Outcome:
        with self._site.ledger.transaction():
            self._site.ledger.delivered(current, current.inputs_seq, current.code, self._site.clock.now())
            for span in mends or Intervals.of(current.span):
                self._site.ledger.settle(current.table, span, read_at)
            self._learning.keep_rejected(current.receipt)
        return self._done(Outcome(current.table, current.span, "unchanged", current.receipt))

    def _commit(self, publisher: Publisher, state: State = "published") -> list[Outcome]:
        receipts = self._committed(publisher)
        for receipt in receipts:
            self._learning.keep_rejected(receipt)
        return [self._done(Outcome(r.table, r.span, state, r)) for r in receipts]

    def _committed(self, publisher: Publisher) -> list[Receipt]:
        published = publisher.spans(self._stream.name, self._stream.daily)
        return publisher.commit(lambda: self._learning.record(published))

    def _done(self, outcome: Outcome) -> Outcome:
        """Tell of an outcome, once; what a second try finds unchanged was published by the first one."""
        known = self._made.get(outcome.span)
        if known and known.is_good and known.table == outcome.table:
            return known
        self._made[outcome.span] = outcome
        self._progress(outcome)
        return outcome

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
                outcomes += self._publish_day(day, read.schema, in_day, known.get(day.start), read.mark)
        return outcomes

    def _known(self, table: str, span: TimeWindow) -> dict[datetime, Current]:
        return {c.span.start: c for c in self._site.ledger.current(table, span)}

    def _compact(self, day: TimeWindow) -> list[Outcome]:
        lacking = Intervals.of(day) - self._site.ledger.coverage(self._stream.name)
        for outcome in self.windows(lacking | self.reopened.clip(day)):
            if outcome.cause:
                raise outcome.cause(outcome.error)
        windows = self._site.ledger.current(self._stream.name, day)
        schema = self._site.lake.schema_of(windows)
        contents = self._copied(windows, schema)
        known = self._known(self._stream.daily, day).get(day.start)
        return self._publish_day(day, schema, contents, known, self._looked_at)

    def _copied(self, windows: Iterable[Current], schema: pa.Schema) -> Iterator[WindowContent]:
        """Yield windows as their own files have them."""
        for c in windows:
            rows, said = self._site.lake.rows_of(c, schema), c.receipt
            yield WindowContent(
                c.span, rows, c.digest, said.duplicates, said.rejected, said.rows_read, said.discarded,
                accepted=accepted(said, c.span),
            )  # fmt: skip

    def _publish_day(
        self, day: TimeWindow, schema: pa.Schema, contents: Iterator[WindowContent], known: Current | None, read_at: int
    ) -> list[Outcome]:  # fmt: skip
        with self._site.lake.publisher() as publisher:
            same = self._stage_day(publisher, day, schema, contents, known, read_at)
            made = self._commit(publisher)
        return same or [o for o in made if (o.table, o.span) == (self._stream.daily, day)]

    def _stage_day(
        self, publisher: Publisher, day: TimeWindow, schema: pa.Schema, contents: Iterator[WindowContent], known: Current | None,
        read_at: int, mends: Intervals | None = None, *, is_along: bool = False,
    ) -> list[Outcome]:  # fmt: skip
        """Stage one day from its windows, in order, holding one in memory at a time; returns what is unchanged.

        A window's own file, while it is kept, is republished in the same transaction where the source now says other.
        """
        own = self._known(self._stream.name, day)
        before = delivered(known, own)
        summary, moved = DaySummary(), Intervals()
        now = self._site.clock.now()
        is_arrival_known = ARRIVAL_TIME in schema.names
        if not is_arrival_known:
            summary.lateness = carried([known] if known else own.values())

        def tables() -> Iterator[pa.Table]:
            nonlocal moved
            for content in contents:
                there = before.get(content.window.start)
                if there != (content.table.num_rows, content.digest):
                    moved |= self._moved(publisher, content, Intervals.of(day), is_there=bool(there))
                    if there and not is_arrival_known:
                        summary.lateness += came_when_read(self._site, self._stream, content)
                copy = own.get(content.window.start)
                if content.is_fresh and copy and not self._is_equal(copy, content):
                    self._stage_window(publisher, content, copy, schema, read_at)
                summary.add(content, now)
                self._learning.learn(content)
                yield content.table

        def receipt() -> Receipt:
            return Receipt(
                self._stream.daily, day, (known.revision if known else 0) + 1, summary.rows,
                Digest.total(f.digest for f in summary.facts), Intervals.of(day), self._site.clock.now(),
                summary.duplicates, summary.rejected, summary.rows_read, tuple(summary.facts), summary.first, summary.last,
                summary.latency, summary.lateness, reason=self._why(day, known), run_id=self._running.run_id,
                discarded=summary.discarded, accepted=tuple(summary.accepted),
            )  # fmt: skip

        def touched(said: Receipt) -> Intervals:
            same = {} if self._running.is_mending else before  # who has read a damaged file reads it again
            return Intervals.union_of(f.window for f in said.windows if same.get(f.start) != (f.rows, f.digest))

        said = publisher.stage("day", schema, tables(), receipt, touched=touched, read_at=read_at, mends=mends)
        is_same = known and counts_of(known.receipt) == counts_of(said)
        if known and is_same and self._running.trusts(self._site.lake, known):
            publisher.drop(day, self._stream.daily)
            if is_along:
                return []
            self._committed(publisher)
            return [self._unchanged(known, read_at, mends)]
        self._stage_moved(publisher, moved)
        return []

    def heal(self, day: TimeWindow, spans: Intervals) -> list[Outcome]:
        """Republish a sealed day with the windows in `spans` read again and the rest copied from its file.

        A window that cannot be had, or lacks events that it had, stands alone after halving: it stays as it was, the
        others are healed, and the day counts as failed.
        """
        errors: list[StreamAssetsError] = []
        outcomes = self._healed(day, spans, errors)
        if not errors:
            return outcomes
        self._made.pop(day, None)
        return self._failed(day, self._stream.daily, errors[0])

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
        with self._site.lake.publisher() as publisher:
            same = self._stage_heal(publisher, day, spans)
            made = self._commit(publisher)
        return same or [o for o in made if (o.table, o.span) == (self._stream.daily, day)]

    def _stage_heal(
        self, publisher: Publisher, day: TimeWindow, spans: Intervals, *, is_along: bool = False
    ) -> list[Outcome]:
        known = self._known(self._stream.daily, day)[day.start]
        # A crash may have left a copy that is newer than its day.
        has = delivered(known, {})
        own = self._known(self._stream.name, day)
        spans |= Intervals.union_of(c.span for start, c in own.items() if has[start] != (c.rows, c.digest))
        if not spans:
            return [self._unchanged(known, self._looked_at)]
        # What is taken along must not fail for what lies between.
        with reading_of(self._site, self._stream, spans, is_apart=is_along) as reads:
            self._learning.begin(reads[0].known)
            schema = self._site.lake.unified([self._site.lake.schema_of([known]), *(read.schema for read in reads)])
            again = (content for read in reads for content in read.windows() if spans.covers(content.window))
            mixed = self._mixed(known, self._learning.noting(again))
            return self._stage_day(publisher, day, schema, mixed, known, self._looked_at, spans, is_along=is_along)

    def _mixed(self, day: Current, again: Iterator[WindowContent]) -> Iterator[WindowContent]:
        """Yield the windows of a day: those that were read again, in order, as they are now, the others as its file has them."""
        fresh = next(again, None)
        for fact, rows in self._site.lake.windows_of_day(day):
            if fresh and fresh.window.start == fact.start:
                yield fresh
                fresh = next(again, None)
            else:
                yield of_day(day.receipt, fact, rows)

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
