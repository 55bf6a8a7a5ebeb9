"""What an operator decides on the record: that a gap stays empty, or that something is made again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from stream_assets.core.declaration import StreamSpec, Table
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, TimeWindow, floor_to_grid
from stream_assets.errors import (
    ConsumerError,
    LakeError,
    MoveIncomplete,
    NotReady,
    SourceError,
    SourceIncomplete,
    SourceUnavailable,
    StreamAssetsError,
    TransientError,
    UsageError,
)
from stream_assets.events.dedup import deduplicate
from stream_assets.events.released import with_released
from stream_assets.events.schema import EMPTY, align, empty, unify
from stream_assets.pipeline.consume import Consume
from stream_assets.pipeline.content import WindowContent
from stream_assets.pipeline.ingest import Ingest
from stream_assets.pipeline.observe import ledger_state
from stream_assets.pipeline.outcome import Outcome, Progress, Report, silent
from stream_assets.pipeline.pipeline import Pipeline
from stream_assets.pipeline.reading import Read, given
from stream_assets.pipeline.running import Running
from stream_assets.pipeline.site import Site

MOST_NAME, MOST_REASON = 100, 500

Causes = tuple[type[StreamAssetsError], ...]
GAPS: Causes = (SourceError, SourceIncomplete, ConsumerError)
"""What can be a gap: that the source, or the consumer itself, refuses. What fails on anything else is tried again."""


def accept_gap(
    pipeline: Pipeline,
    table: str,
    span: TimeWindow,
    by: str,
    reason: str,
    *,
    source_is_gone: bool = False,
    progress: Progress = silent,
) -> Report:
    """Accept that data of `table` in `span` is gone for good: what there is, is published, and the rest sealed as empty.

    First everything is made that can be. Then a window that its source does not give is sealed without events; a day is
    made of its sealed windows, of what its source gives, and of nothing; a consumer's partition that fails is published
    without rows, and one that has been lost after some of its inputs went. A partition that is there stays as it is, and what was reopened of it is settled. The receipts say by
    whom and why (`accepted`), and a late arrival reopens each like any other. What waits for its inputs, has not settled,
    or fails in passing (a source that does not answer, a full disk), is no gap and is reported as failed.

    Args:
        pipeline: of the project.
        table: a stream, its days, or a consumer.
        span: half-open; whole partitions.
        by: who accepts it.
        reason: why.
        source_is_gone: whether a source that does not answer has been taken out of service: what it would have said is
            a gap too, and the range counts as settled. Of no effect while it answers.
        progress: told of each partition.

    Raises:
        UsageError: terminal; a name or reason that cannot be kept, or a range that cannot be filled.
    """
    said = f"gap accepted by {_text(by, 'name', MOST_NAME)}: {_text(reason, 'reason', MOST_REASON)}"
    ledger, stream = pipeline.lake.ledger, pipeline.table(table).stream
    if source_is_gone and stream is None:
        raise UsageError(f"{table!r} has no source of its own: say --source-is-gone of a stream, or of its days")
    pipeline.lake.refuse_copy()
    is_gone = source_is_gone and stream is not None and stream.name in pipeline.observe()
    if is_gone and stream:
        _settle(pipeline, stream, span)
    with pipeline.running(table, span, reason=said) as running:
        # What is named from here on has not been read by anybody yet, and is no part of what is accepted.
        mark, seq = ledger.reopened.mark(), ledger.seq()
        target = pipeline.table(table)
        # What is made of events that are not kept any more cannot be tried.
        first = max(span.start, min(span.end, pipeline.rule().first(target))) if target.consumer else span.start
        old, rest = TimeWindow(span.start, first), TimeWindow(first, span.end)
        report = pipeline.fill(table, rest, running, progress=progress) if rest else Report(table, ())
        accepting = _Accepting(pipeline, target, running, said, mark, seq, is_gone=is_gone)
        outcomes = [accepting.accept_old(p) for p in pipeline.calendar.partitions(old, target.grain)]
        outcomes += [o if o.is_good else accepting.accept(o) for o in report.outcomes]
    return Report(table, tuple(outcomes))


def reopen(pipeline: Pipeline, table: str, span: TimeWindow, reason: str, by: str = "") -> Intervals:
    """Record that what is sealed of `table` in `span` is no longer right, and return it: the planner has it made again.

    What was paused there after failures goes on. What comes out equal changes nothing.

    Raises:
        UsageError: terminal; a name or reason that cannot be kept, or a range that cannot be made again.
    """
    said = f"reopened by {_text(by, 'name', MOST_NAME)}: " if by else "reopened: "
    said += _text(reason, "reason", MOST_REASON)
    target, ledger, now = pipeline.table(table), pipeline.lake.ledger, pipeline.clock.now()
    pipeline.lake.refuse_copy()
    pipeline.refuse_before_first(target, span.start)
    pipeline.refuse_gone(target, span.start, pipeline.rule())
    names = [target.stream.name, target.stream.daily] if target.stream else [table]
    with ledger.transaction():
        there = Intervals.union_of(s for name in names for s in ledger.coverage(name)).clip(span)
        ledger.reopened.add(names[0], there, said, now, now)
        for name in names:
            ledger.work.clear_failures(name, span)
    return there


def _settle(pipeline: Pipeline, stream: StreamSpec, span: TimeWindow) -> None:
    """Let a range count as settled, as nobody else can say any more that its events are complete.

    Raises:
        UsageError: terminal; it begins later than what is settled, so that what lies between would count as complete, too.
    """
    sources, calendar = pipeline.lake.ledger.sources, pipeline.calendar
    settled = sources.watermarks().get(stream.name, pipeline.lake.start)
    if span.start > settled:
        raise UsageError(
            f"{stream.name!r} is settled up to {settled:%Y-%m-%dT%H:%M:%SZ} only, and its source cannot say more: accept the "
            f"gap from the window or day around {calendar.key(TimeWindow(floor_to_grid(settled), floor_to_grid(settled) + GRID), '5 min')} on"
        )
    sources.advance(stream.name, min(span.end, pipeline.clock.now()))


def _text(given: str, what: str, most: int) -> str:
    """Return what somebody wrote, which is kept for ever and shown to everybody."""
    written = given.strip()
    if not written or len(written) > most or not written.isprintable():
        raise UsageError(f"the {what} must be one line of 1 to {most} printable characters, not {given[:most]!r}")
    return written


def is_gap(cause: type[StreamAssetsError], gaps: Causes) -> bool:
    """Whether what failed for that cause can be accepted: events that have moved are not gone, they wait."""
    return issubclass(cause, gaps) and not issubclass(cause, MoveIncomplete)


class _Accepting:
    """Settles what could not be made."""

    def __init__(
        self, pipeline: Pipeline, target: Table, running: Running, said: str, mark: int, seq: int, *, is_gone: bool
    ) -> None:
        self._pipeline = pipeline
        self._target = target
        self._said = said
        self._mark = mark
        self._seq = seq
        site = pipeline.site
        self._gaps: Causes = (*GAPS, SourceUnavailable) if is_gone else GAPS
        self._ingest = _Gaps(site, target.stream, running, self._gaps) if target.stream else None
        state = ledger_state(site)
        self._consume = Consume(site, target.consumer, state, running, silent) if target.consumer else None

    def accept(self, failed: Outcome) -> Outcome:
        """Return what became of a partition that failed."""
        if failed.cause is None or not is_gap(failed.cause, self._gaps):
            return failed
        try:
            kept = self._keep(failed)
            if kept:
                return kept
            if self._consume:
                return self._consume.accept_gap(failed.span, self._said)
            assert self._ingest is not None
            if self._target.is_days_of_stream:
                return self._ingest.accept_day(failed.span, self._said)
            return self._ingest.accept_window(failed.span, self._said) or failed
        except (NotReady, LakeError, ConsumerError, SourceError, TransientError) as error:
            return replace(failed, error=str(error), cause=type(error))

    def accept_old(self, partition: TimeWindow) -> Outcome:
        """Return what became of a consumer's partition of whose inputs some are not kept: without rows, if it is lost."""
        assert self._consume is not None
        lake, name = self._pipeline.lake, self._target.name
        current = next(iter(lake.ledger.current(name, partition)), None)
        if current is not None and lake.is_whole(current):
            return Outcome(name, partition, "unchanged", current.receipt)
        try:
            return self._consume.accept_gap(partition, self._said, current, is_lost=True)
        except (UsageError, LakeError, TransientError) as error:
            return Outcome(name, partition, "failed", None, str(error), type(error))

    def _keep(self, failed: Outcome) -> Outcome | None:
        """Let a partition that is there stay as it is, and settle what was reopened of it; None for one that is not."""
        ledger, now, span = self._pipeline.lake.ledger, self._pipeline.clock.now(), failed.span
        stream = self._target.stream
        if self._ingest and self._target.is_days_of_stream and ledger.current(self._target.name, span):
            # Read by hand the whole day has failed; window by window, only those stay that cannot be had.
            for outcome in self._ingest.heal(span, self._ingest.reopened.clip(span)):
                if outcome.cause and not is_gap(outcome.cause, self._gaps):
                    return outcome
        with ledger.transaction():
            days = ledger.current(stream.daily, span) if stream else []
            current = next(iter(days or ledger.current(self._target.name, span)), None)
            if current is None:
                return None
            code = self._target.consumer.code if self._target.consumer else current.code
            ledger.delivered(current, self._seq if code else current.inputs_seq, code, now, self._said)
            for name in {current.table, self._target.name}:
                ledger.settle(name, span, self._mark)
        state = "unchanged" if current.table == self._target.name else "delivered by the day"
        return Outcome(self._target.name, span, state, current.receipt if state == "unchanged" else None)


class _Gaps(Ingest):
    """Seals windows and days of which the source gives nothing."""

    def __init__(self, site: Site, stream: StreamSpec, running: Running, gaps: Causes) -> None:
        super().__init__(site, stream, running, silent)
        self._accepted = gaps

    def accept_window(self, window: TimeWindow, said: str) -> Outcome | None:
        """Seal a window that has no file as empty; None where its source gives it by now."""
        if self._given(window):
            return None
        schema = unify([self._last_schema(), *(r.schema for r in self._released(window))])
        with self._site.lake.publisher() as publisher:
            self._stage_window(publisher, self._nothing(window, schema, said), None, schema, self._looked_at)
            return self._commit(publisher)[0]

    def accept_day(self, day: TimeWindow, said: str) -> Outcome:
        """Seal a day of its sealed windows, else of what its source gives, else of nothing."""
        # Late events come first into the windows that are there; one that cannot be had stays as it is.
        for outcome in self.windows(self.reopened.clip(day) & self._site.ledger.coverage(self._stream.name)):
            if outcome.cause and not is_gap(outcome.cause, self._accepted):
                raise outcome.cause(outcome.error)
        own = list(self._known(self._stream.name, day).values())
        sealed = Intervals.of(*(c.span for c in own))
        found = [part for span in Intervals.of(day) - sealed for part in self._given(span)]
        readable = Intervals.of(*(span for span, _ in found))
        schemas = [*([self._site.lake.schema_of(own)] if own else []), *(schema for _, schema in found)]
        schemas += [r.schema for r in self._released(day)]
        schema = self._site.lake.unified(schemas or [self._last_schema()])

        def contents() -> Iterator[WindowContent]:
            ours, theirs = self._copied(own, schema), self._read(span for span, _ in found)
            for window in day.windows():
                if sealed.covers(window):
                    yield next(ours)
                elif readable.covers(window):
                    yield next(theirs)
                else:
                    yield self._nothing(window, schema, said)

        return self._publish_day(day, schema, contents(), None, self._looked_at)[0]

    def _read(self, spans: Iterator[TimeWindow]) -> Iterator[WindowContent]:
        for span in spans:
            with Read(self._site, self._stream, span) as read:
                self._learning.begin(read.known)
                yield from read.windows()

    def _given(self, span: TimeWindow) -> list[tuple[TimeWindow, pa.Schema]]:
        return [] if SourceUnavailable in self._accepted else given(self._site, self._stream, span)

    def _last_schema(self) -> pa.Schema:
        stream: StreamSpec = self._stream
        lake = self._site.lake
        return lake.last_schema(stream.name) or lake.last_schema(stream.daily) or EMPTY

    def _released(self, span: TimeWindow) -> list[pa.Table]:
        return [events for _, events in self._site.lake.released.events(self._stream.name, span)]

    def _nothing(self, window: TimeWindow, schema: pa.Schema, said: str) -> WindowContent:
        """Return a window of which the source gives nothing: what was released of it is there all the same."""
        released = with_released(empty(schema), [align(r, schema) for r in self._released(window)])
        kept = deduplicate(released)
        return WindowContent(window, kept.table, kept.digest, kept.duplicates, 0, released.num_rows, accepted=said)
