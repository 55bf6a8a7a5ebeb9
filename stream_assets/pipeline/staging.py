"""Windows and days of one stream, staged from what was read, with the other ends of moves, and committed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial

import pyarrow as pa

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Accepted, Receipt
from stream_assets.core.window import TimeWindow
from stream_assets.errors import Conflict, MoveIncomplete, SourceError, SourceIncomplete
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
from stream_assets.pipeline.halves import halves_of_days
from stream_assets.pipeline.learning import Learning
from stream_assets.pipeline.moves import Moves
from stream_assets.pipeline.observe import FROM_THE_BEGINNING
from stream_assets.pipeline.outcome import Outcome, Progress, State
from stream_assets.pipeline.reading import Read, reading_of
from stream_assets.pipeline.refusals import Refusals
from stream_assets.pipeline.running import Running
from stream_assets.pipeline.site import Site

WINDOWS_A_COMMIT = 48
"""Windows published in one ledger transaction: measured, one sync for many files costs least."""


class Staging:
    """Makes partitions of one stream; which, and what becomes of failures, others decide."""

    def __init__(self, site: Site, stream: StreamSpec, running: Running, progress: Progress) -> None:
        self._site = site
        self._stream = stream
        self._running = running
        self._progress = progress
        # What copies from the lake mends nothing that is not in this list.
        with site.ledger.transaction():
            self._looked_at = site.ledger.reopened.mark()
            self._reopened = site.ledger.reopened.all().get(stream.name, ())
        self._made: dict[TimeWindow, Outcome] = {}
        self._halves_of_days = partial(halves_of_days, site.lake.calendar)
        self._asked = Intervals()
        # What was named from the beginning (a new source, a ledger made anew) is everything, and says nothing of moves.
        lately = Intervals.union_of(r.span for r in self._reopened if r.reason != FROM_THE_BEGINNING)
        self._moves = Moves(site, stream, self.reopened, lately)
        self._learning = Learning(site, stream)
        self._refusals = Refusals()

    @property
    def reopened(self) -> Intervals:
        """Event time that the source has named as touched, and that nothing has read since."""
        return Intervals.union_of(r.span for r in self._reopened)

    # Windows of the open day.

    def _stage_windows(self, publisher: Publisher, span: TimeWindow, *, in_lots: bool) -> list[Outcome]:
        """Stage the windows of `span`, and those that events of theirs have moved to or from; commit in lots until one has."""
        outcomes: list[Outcome] = []
        moved = Intervals()
        # Before the source is read: who publishes meanwhile may have seen more than this reader.
        known = self._known(self._stream.name, span)
        refused = self._refusals.spans
        with Read(self._site, self._stream, span, is_live=self._running.is_planned) as read:
            self._learning.begin(read.known)
            for content in self._learning.noting(read.windows()):
                current = known.get(content.window.start)
                if publisher.holds(self._stream.name, content.window) or refused.covers(content.window):
                    continue
                twice = self._moves.twice(content) if current and has_events_of(current, content) else Intervals()
                self._refusals.tie(content.window, twice)
                moved |= twice
                if current and not twice and self._is_equal(current, content):
                    outcomes.append(self._unchanged(current, self._looked_at))
                    continue
                if not current or not has_events_of(current, content):
                    found = self._moved(publisher, content, self._asked, current, is_there=bool(current))
                    if found is None:
                        continue
                    moved |= found
                # What is named from here on is read again: moves know nothing of it yet.
                self._stage_window(publisher, content, current, read.schema, self._looked_at)
                if in_lots and not moved and len(publisher) >= WINDOWS_A_COMMIT:
                    outcomes += self._commit(publisher)
        self._stage_moved(publisher, moved)
        return outcomes

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

    def _stage_moved(self, publisher: Publisher, moved: Intervals) -> None:
        """Stage the other ends of moves; a day that is staged already, with more of its windows read again."""
        moved -= publisher.mends(self._stream.daily) | self._refusals.spans
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
            raise MoveIncomplete(f"events have moved, and where else they are is not to be had: {error}") from error

    def _moved(
        self, publisher: Publisher, content: WindowContent, filled: Intervals, current: Current | None, *, is_there: bool
    ) -> Intervals | None:  # fmt: skip
        """Return the other ends of moves; what is staged is as good as in the lake, and so is what this work fills.

        None where the window is refused, since events would go.
        """
        filled |= publisher.spans(self._stream.name, self._stream.daily)
        try:
            moved = self._moves.of(content, filled, is_there=is_there, accepts_loss=self._running.accepts_loss)
        except (SourceError, SourceIncomplete) as error:
            # What another writer has published since the source was read has nothing to do with the source.
            if current and self._site.ledger.revision(current.table, current.span) != current.revision:
                raise Conflict(f"{error}; but another writer has published it meanwhile: it is read again") from error
            self._refusals.add(content.window, error)
            return None
        self._refusals.tie(content.window, moved)
        return moved

    def _is_refused(self, publisher: Publisher) -> bool:
        return any(self._refusals.spans & publisher.mends(name) for name in (self._stream.name, self._stream.daily))

    # Closed days.

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
                    found = self._moved(publisher, content, Intervals.of(day), known, is_there=bool(there))
                    moved |= found or Intervals()
                    if there and not is_arrival_known:
                        summary.lateness += came_when_read(self._site, self._stream, content)
                elif content.is_fresh:
                    twice = self._moves.twice(content)
                    self._refusals.tie(content.window, twice)
                    moved |= twice
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
        if known and is_same and not moved and self._running.trusts(self._site.lake, known):
            publisher.drop(day, self._stream.daily)
            if is_along:
                return []
            self._committed(publisher)
            return [self._unchanged(known, read_at, mends)]
        self._stage_moved(publisher, moved)
        return []

    def _stage_heal(
        self, publisher: Publisher, day: TimeWindow, spans: Intervals, *, is_along: bool = False
    ) -> list[Outcome]:
        known = self._known(self._stream.daily, day)[day.start]
        # A crash may have left a copy that is newer than its day.
        has = delivered(known, {})
        own = self._known(self._stream.name, day)
        newer = Intervals.union_of(c.span for start, c in own.items() if has[start] != (c.rows, c.digest))
        if newer & self._refusals.spans:
            raise self._refusals.error(day)
        if not spans | newer:
            return [self._unchanged(known, self._looked_at)]
        spans = (spans | newer) - self._refusals.spans
        if not spans:
            return []
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

    def _copied(self, windows: Iterable[Current], schema: pa.Schema) -> Iterator[WindowContent]:
        """Yield windows as their own files have them."""
        for c in windows:
            rows, said = self._site.lake.rows_of(c, schema), c.receipt
            yield WindowContent(
                c.span, rows, c.digest, said.duplicates, said.rejected, said.rows_read, said.discarded,
                accepted=accepted(said, c.span),
            )  # fmt: skip

    # What is known, and what is made of it.

    def _known(self, table: str, span: TimeWindow) -> dict[datetime, Current]:
        return {c.span.start: c for c in self._site.ledger.current(table, span)}

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
