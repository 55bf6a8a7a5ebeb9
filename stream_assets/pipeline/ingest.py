"""From a source to sealed windows and days: read in one query, conform, route, deduplicate, publish."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Latency, Receipt, WindowFact
from stream_assets.core.window import EPOCH, GRID, TimeWindow
from stream_assets.errors import SourceError, StreamAssetsError, TerminalError, TransientError
from stream_assets.events.conform import conform
from stream_assets.events.dedup import deduplicate
from stream_assets.events.route import Router
from stream_assets.events.schema import EVENT_TIME, REJECTED
from stream_assets.lake.ledger import Current
from stream_assets.lake.publish import Publisher
from stream_assets.pipeline.outcome import Outcome, Progress, State
from stream_assets.pipeline.site import Site
from stream_assets.sources.protocol import PLACE_KEY, Source

WINDOWS_A_COMMIT = 48
"""Windows published in one ledger transaction: measured, one sync for many files costs least."""


@dataclass(frozen=True, slots=True)
class WindowContent:
    """The events of one window as they are published, and what was left out."""

    window: TimeWindow
    table: pa.Table
    digest: Digest
    duplicates: int
    rejected: int
    rows_read: int

    @property
    def fact(self) -> WindowFact:
        """What a day's receipt says of the window."""
        return WindowFact(self.window.start, self.table.num_rows, self.digest, self.duplicates, self.rejected)


class Read:
    """One source query over a range, dealt to its windows. A context manager: it may hold spilled rows."""

    def __init__(self, site: Site, stream: StreamSpec, span: TimeWindow, *, keep_rejected: bool = True) -> None:
        self._site = site
        self._keeps_rejected = keep_rejected
        self._stream = stream
        self.span = span
        self.at = site.clock.now()
        self._rejected: dict[datetime, list[pa.Table]] = {}
        site.lake.layout.staging.mkdir(exist_ok=True)
        schema = site.sources[stream.name].schema(now=self.at)
        empty = None
        if schema is not None:
            source = site.sources[stream.name]
            empty = conform(schema.empty_table(), source.names, span, self.at).table.schema
        self._router = Router(span, spill_dir=Path(site.lake.layout.staging), schema=empty)

    def __enter__(self) -> Read:
        source = self._site.sources[self._stream.name]
        try:
            with self._site.reading(self._stream.name):
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
        """Yield what the source gives; an error that it does not call its own is one of its shape."""
        try:
            yield from source.read(self.span, now=self.at, state=self._site.source_state(self._stream.name))
        except (StreamAssetsError, GeneratorExit):
            raise
        except Exception as error:
            # Its text may hold a credential: the place and the kind have to do.
            place = traceback.extract_tb(error.__traceback__)[-1]
            raise SourceError(
                f"the source of {self._stream.name!r} raised {type(error).__name__} for {self.span} "
                f"({Path(place.filename).name}, line {place.lineno}): mend the source"
            ) from error

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
            yield WindowContent(window, kept.table, kept.digest, kept.duplicates, lost, table.num_rows + lost)

    def _keep_rejected(self, window: TimeWindow, rejected: list[pa.Table]) -> None:
        self._site.lake.keep_rejected(
            self._stream.name, window, pa.concat_tables(rejected) if rejected else REJECTED.empty_table()
        )


def latency_of(table: pa.Table, at: datetime) -> Latency | None:
    """Return how long the events of `table` waited from event time to `at`, in seconds."""
    if not table.num_rows:
        return None
    micros = table.column(EVENT_TIME).cast(pa.int64()).to_numpy()
    waited = at.timestamp() - micros / 1e6
    p50, p95, most = np.percentile(waited, [50, 95, 100])
    return Latency(round(float(p50), 3), round(float(p95), 3), round(float(most), 3))


def bounds(table: pa.Table) -> tuple[datetime | None, datetime | None]:
    """Return the first and the last event time of `table`."""
    if not table.num_rows:
        return None, None
    found: Any = pc.min_max(table.column(EVENT_TIME)).as_py()
    return found["min"], found["max"]


class Ingest:
    """Fills the windows and the days of one stream."""

    def __init__(self, site: Site, stream: StreamSpec, run_id: str, reason: str, progress: Progress) -> None:
        self._site = site
        self._stream = stream
        self._run_id = run_id
        self._reason = reason
        self._progress = progress
        self._made: dict[TimeWindow, Outcome] = {}

    # Windows of the open day.

    def windows(self, spans: Intervals) -> list[Outcome]:
        """Read and publish every window in `spans`, with one source query for each unbroken run of them.

        A terminal failure of a range halves it until the bad window stands alone; the others are published.
        """
        return [
            outcome
            for span in spans
            for outcome in self._halving(span, self._stream.name, self._publish_windows, _halves_of_windows)
        ]

    def _publish_windows(self, span: TimeWindow) -> list[Outcome]:
        outcomes: list[Outcome] = []
        with Read(self._site, self._stream, span) as read, self._site.lake.publisher() as publisher:
            known = {c.span.start: c for c in self._site.ledger.current(self._stream.name, span)}
            for content in read.windows():
                current = known.get(content.window.start)
                if current and self._is_equal(current, content):
                    outcomes.append(self._unchanged(current, read.at))
                    continue
                self.stage_window(publisher, content, current, read)
                if len(publisher) >= WINDOWS_A_COMMIT:
                    outcomes += self._commit(publisher)
            outcomes += self._commit(publisher)
        return sorted(outcomes, key=lambda o: o.span)

    def stage_window(self, publisher: Publisher, content: WindowContent, current: Current | None, read: Read) -> None:
        """Write one window's own file into staging."""
        first, last = bounds(content.table)
        now = self._site.clock.now()
        receipt = Receipt(
            self._stream.name, content.window, (current.revision if current else 0) + 1, content.table.num_rows,
            content.digest, Intervals.of(content.window), now, content.duplicates, content.rejected,
            content.rows_read, min_event_time=first, max_event_time=last, latency=latency_of(content.table, now),
            reason=self._reason, run_id=self._run_id,
        )  # fmt: skip
        publisher.stage(
            "5 min", read.schema, [content.table], lambda: receipt,
            touched=lambda said: said.covered, read_at=read.at,
        )  # fmt: skip

    def _is_equal(self, current: Current, content: WindowContent) -> bool:
        is_same = (current.digest, current.rows) == (content.digest, content.table.num_rows)
        return is_same and self._site.lake.is_whole(current)

    def _unchanged(self, current: Current, read_at: datetime) -> Outcome:
        with self._site.ledger.transaction():
            self._site.ledger.delivered(current, current.inputs_seq, current.code, self._site.clock.now())
            self._site.ledger.settle(current.table, current.span, read_at)
        return self._done(Outcome(current.table, current.span, "unchanged", current.receipt))

    def _commit(self, publisher: Publisher, state: State = "published") -> list[Outcome]:
        return [self._done(Outcome(r.table, r.span, state, r)) for r in publisher.commit()]

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
        reopened = {r.span for r in self._site.ledger.reopened().get(self._stream.name, ())}
        for day in days:
            if not read_again and sealed.covers(day) and not any(span.overlaps(day) for span in reopened):
                outcomes += self._guarded(day, self._compact)
            else:
                to_read.append(day)
        for span in Intervals.of(*to_read):
            outcomes += self._halving(span, self._stream.daily, self._publish_days, self._halves_of_days)
        return sorted(outcomes, key=lambda o: o.span)

    def _publish_days(self, span: TimeWindow) -> list[Outcome]:
        outcomes: list[Outcome] = []
        with Read(self._site, self._stream, span) as read:
            contents = read.windows()
            for day in self._site.lake.calendar.days(span):
                count = day.duration // GRID
                in_day = (next(contents) for _ in range(count))
                outcomes += self.publish_day(day, read.schema, in_day, read.at)
        return outcomes

    def _compact(self, day: TimeWindow) -> list[Outcome]:
        windows = self._site.ledger.current(self._stream.name, day)
        schema = self._site.lake.schema_of(windows)
        contents = (
            WindowContent(
                c.span,
                self._site.lake.rows_of(c, schema),
                c.digest,
                c.receipt.duplicates,
                c.receipt.rejected,
                c.receipt.rows_read,
            )
            for c in windows
        )
        return self.publish_day(day, schema, contents, self._site.clock.now())

    def publish_day(
        self, day: TimeWindow, schema: pa.Schema, contents: Iterator[WindowContent], read_at: datetime,
        also: Callable[[Publisher], None] | None = None,
    ) -> list[Outcome]:  # fmt: skip
        """Publish one day from its windows, in order, holding one in memory at a time."""
        known = next(iter(self._site.ledger.current(self._stream.daily, day)), None)
        before = self._delivered(day, known)
        summary = _Summary()
        now = self._site.clock.now()

        def tables() -> Iterator[pa.Table]:
            for content in contents:
                summary.add(content, now)
                yield content.table

        def receipt() -> Receipt:
            return Receipt(
                self._stream.daily, day, (known.revision if known else 0) + 1, summary.rows,
                Digest.total(f.digest for f in summary.facts), Intervals.of(day), self._site.clock.now(),
                summary.duplicates, summary.rejected, summary.rows_read, tuple(summary.facts), summary.first, summary.last,
                summary.latency, reason=self._reason, run_id=self._run_id,
            )  # fmt: skip

        def touched(said: Receipt) -> Intervals:
            return Intervals.union_of(f.window for f in said.windows if before.get(f.start) != (f.rows, f.digest))

        with self._site.lake.publisher() as publisher:
            said = publisher.stage("day", schema, tables(), receipt, touched=touched, read_at=read_at)
            if known and (known.digest, known.rows) == (said.digest, said.rows) and self._site.lake.is_whole(known):
                return [self._unchanged(known, read_at)]
            if also:
                also(publisher)
            return [o for o in self._commit(publisher) if o.table == self._stream.daily]

    def _delivered(self, day: TimeWindow, known: Current | None) -> dict[datetime, tuple[int, Digest]]:
        """Return rows and digest of every window of `day` that readers have been given so far."""
        if known:
            return {f.start: (f.rows, f.digest) for f in known.receipt.windows}
        return {c.span.start: (c.rows, c.digest) for c in self._site.ledger.current(self._stream.name, day)}

    def heal(self, day: TimeWindow, spans: Intervals) -> list[Outcome]:
        """Republish a sealed day with the windows in `spans` read again and the rest copied from its file.

        A window's own file, while it is kept, is republished in the same transaction.
        """
        return self._guarded(day, lambda d: self._heal(d, spans))

    def _heal(self, day: TimeWindow, spans: Intervals) -> list[Outcome]:
        hull = spans.hull
        known = next(iter(self._site.ledger.current(self._stream.daily, day)), None)
        if hull is None or known is None:
            return self._publish_days(day)
        with Read(self._site, self._stream, hull) as read:
            fresh = {c.window.start: c for c in read.windows() if spans.covers(c.window)}
            old_schema = self._site.lake.schema_of([known])
            schema = self._site.lake.unified([old_schema, read.schema])
            contents = (
                fresh.get(fact.start)
                or WindowContent(
                    fact.window,
                    rows,
                    fact.digest,
                    fact.duplicates,
                    fact.rejected,
                    fact.rows + fact.duplicates + fact.rejected,
                )
                for fact, rows in self._site.lake.windows_of_day(known)
            )

            def windows_too(publisher: Publisher) -> None:
                own = {c.span.start: c for c in self._site.ledger.current(self._stream.name, day)}
                for start, content in fresh.items():
                    current = own.get(start)
                    if current and not self._is_equal(current, content):
                        self.stage_window(publisher, content, current, read)

            outcomes = self.publish_day(day, schema, contents, read.at, windows_too)
            with self._site.lake.publisher() as publisher:  # copies that are wrong although the day is right
                windows_too(publisher)
                publisher.commit()
            with self._site.ledger.transaction():
                for span in spans:
                    self._site.ledger.settle(self._stream.name, span, read.at)
            return outcomes

    # Failures.

    def _halving(
        self,
        span: TimeWindow,
        table: str,
        publish: Callable[[TimeWindow], list[Outcome]],
        halves: Callable[[TimeWindow], tuple[TimeWindow, TimeWindow] | None],
    ) -> list[Outcome]:
        try:
            return self._site.planned_again(table, span, lambda: publish(span))
        except TransientError as error:
            return self._failed(span, table, error)
        except TerminalError as error:
            parts = halves(span)
            if parts is None:
                return self._failed(span, table, error)
        return [outcome for part in parts for outcome in self._halving(part, table, publish, halves)]

    def _guarded(self, day: TimeWindow, publish: Callable[[TimeWindow], list[Outcome]]) -> list[Outcome]:
        return self._halving(day, self._stream.daily, publish, self._halves_of_days)

    def _failed(self, span: TimeWindow, table: str, error: StreamAssetsError) -> list[Outcome]:
        grain = "5 min" if table == self._stream.name else "day"
        transient = isinstance(error, TransientError)
        return [
            self._done(Outcome(table, partition, "failed", None, str(error), transient))
            for partition in self._site.lake.calendar.partitions(span, grain)
        ]

    def _halves_of_days(self, span: TimeWindow) -> tuple[TimeWindow, TimeWindow] | None:
        days = self._site.lake.calendar.days(span)
        if len(days) < 2:
            return None
        middle = days[len(days) // 2].start
        return TimeWindow(span.start, middle), TimeWindow(middle, span.end)


class _Summary:
    """What a day's receipt says, gathered while its windows pass by."""

    def __init__(self) -> None:
        self.facts: list[WindowFact] = []
        self.rows = self.duplicates = self.rejected = self.rows_read = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._waits: list[tuple[int, Latency]] = []

    def add(self, content: WindowContent, at: datetime) -> None:
        self.facts.append(content.fact)
        self.rows += content.table.num_rows
        self.duplicates += content.duplicates
        self.rejected += content.rejected
        self.rows_read += content.rows_read
        first, last = bounds(content.table)
        self.first = self.first or first
        self.last = last or self.last
        waited = latency_of(content.table, at)
        if waited:
            self._waits.append((content.table.num_rows, waited))

    @property
    def latency(self) -> Latency | None:
        """Median of the windows' medians and 95th percentiles, weighted by rows; the maximum is exact."""
        if not self._waits:
            return None
        weights = [rows for rows, _ in self._waits]
        return Latency(
            _weighted_median([w.p50 for _, w in self._waits], weights),
            _weighted_median([w.p95 for _, w in self._waits], weights),
            max(w.max for _, w in self._waits),
        )


def _weighted_median(values: list[float], weights: list[int]) -> float:
    order = np.argsort(values)
    running = np.cumsum(np.asarray(weights)[order])
    return float(np.asarray(values)[order][np.searchsorted(running, running[-1] / 2)])


def _halves_of_windows(span: TimeWindow) -> tuple[TimeWindow, TimeWindow] | None:
    count = span.duration // GRID
    if count < 2:
        return None
    middle = span.start + GRID * (count // 2)
    return TimeWindow(span.start, middle), TimeWindow(middle, span.end)
