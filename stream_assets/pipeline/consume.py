"""Runs a consumer: computes its partitions, and publishes what came out otherwise than it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from stream_assets.core.declaration import Consumer, Table
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import LedgerState
from stream_assets.core.receipt import Accepted, Receipt
from stream_assets.core.window import TimeWindow
from stream_assets.errors import ConsumerError, NotReady, StreamAssetsError, TransientError
from stream_assets.lake.ledger import Current
from stream_assets.lake.publish import Publisher
from stream_assets.pipeline.compute import Compute
from stream_assets.pipeline.inputs import Inputs
from stream_assets.pipeline.outcome import Outcome, Progress
from stream_assets.pipeline.running import Running
from stream_assets.pipeline.site import PARTS, Site


@dataclass(frozen=True, slots=True)
class _Made:
    """A partition as its function gave it.

    Attributes:
        current: what it was before.
        read: event time that it was made from, lookback included.
    """

    current: Current | None
    table: pa.Table
    receipt: Receipt
    read: Intervals

    @property
    def is_equal(self) -> bool:
        """Whether it came out as it was."""
        if self.current is None:
            return False
        was, now = self.current.receipt, self.receipt
        return (was.digest, was.rows, was.covered) == (now.digest, now.rows, now.covered)


class Consume:
    """Fills partitions of one consumer."""

    def __init__(
        self, site: Site, consumer: Consumer, state: LedgerState, running: Running, progress: Progress
    ) -> None:
        self._site = site
        self._consumer = consumer
        self._table: Table = site.declarations.tables[consumer.name]
        self._state = state
        self._running = running
        self._progress = progress
        self._compute = Compute(site, consumer, state)

    def partitions(self, spans: Intervals, *, upto: datetime | None = None) -> list[Outcome]:
        """Make every partition in `spans`, and publish 48 at a time.

        Args:
            spans: whole partitions.
            upto: the boundary up to which an open day's inputs are taken; None: all that is delivered.
        """
        outcomes: list[Outcome] = []
        todo = [p for span in spans for p in self._site.lake.calendar.partitions(span, self._table.grain)]
        for partitions in self._compute.together(todo):
            for outcome in self._together(partitions, upto):
                self._progress(outcome)
                outcomes.append(outcome)
        return outcomes

    def _together(self, partitions: Sequence[TimeWindow], upto: datetime | None) -> list[Outcome]:
        """Make neighbouring partitions and publish them together; where another writer was first, look and make again.

        Where inputs cannot be read, halves are made until the partition that reads the bad one stands alone.
        """
        hull = TimeWindow(partitions[0].start, partitions[-1].end)
        try:
            return self._site.planned_again(self._consumer.name, hull, lambda: self._publish(partitions, upto))
        except PARTS as error:
            if len(partitions) == 1:
                return [self._failed(partitions[0], error)]
        except TransientError as error:
            return [self._failed(partition, error) for partition in partitions]
        middle = len(partitions) // 2
        return [o for half in (partitions[:middle], partitions[middle:]) for o in self._together(half, upto)]

    def _publish(self, partitions: Sequence[TimeWindow], upto: datetime | None) -> list[Outcome]:
        site, name = self._site, self._consumer.name
        outcomes: list[Outcome] = []
        unchanged: list[Current] = []
        hull = TimeWindow(partitions[0].start, partitions[-1].end)
        known = {current.span: current for current in site.ledger.current(name, hull)}
        inputs = self._compute.inputs(partitions)
        with site.lake.publisher() as publisher:
            for partition in partitions:
                try:
                    made = self._make(partition, known.get(partition), inputs, upto)
                    if made.current and made.is_equal and self._running.trusts(site.lake, made.current):
                        unchanged.append(made.current)
                    else:
                        self._stage(publisher, made, inputs.mark)
                except (ConsumerError, NotReady) as error:
                    outcomes.append(self._failed(partition, error))
            self._deliver(unchanged, inputs)
            outcomes += [Outcome(name, c.span, "unchanged", c.receipt) for c in unchanged]
            outcomes += [Outcome(name, r.span, "published", r) for r in publisher.commit()]
        return sorted(outcomes, key=lambda o: o.span)

    def _deliver(self, unchanged: Sequence[Current], inputs: Inputs) -> None:
        if not unchanged:
            return
        ledger, now = self._site.ledger, self._site.clock.now()
        with ledger.transaction():
            for current in unchanged:
                ledger.delivered(current, inputs.seq, self._consumer.code, now)
                ledger.settle(current.table, current.span, inputs.mark)

    def _stage(self, publisher: Publisher, made: _Made, read_at: int) -> None:
        try:
            publisher.stage(
                self._table.grain, made.table.schema, [made.table], lambda: made.receipt,
                touched=lambda said: self._touched(made.current, said), read_at=read_at, inputs=self._tables(made.read),
            )  # fmt: skip
        except pa.ArrowMemoryError:
            raise
        except pa.ArrowException as error:
            where = self._compute.where(made.receipt.span)
            raise ConsumerError(f"{where}: Parquet cannot hold what it returned: {error}") from error

    def _tables(self, read: Intervals) -> dict[str, Intervals]:
        """Return the tables of the lake that hold what was read: of a stream its windows and its days."""
        declared = self._site.declarations
        streams = [declared.stream(name) for name in self._consumer.inputs if declared.is_stream(name)]
        return dict.fromkeys([*self._consumer.inputs, *(s.daily for s in streams)], read)

    def _touched(self, current: Current | None, said: Receipt) -> Intervals:
        """Growth of an open day touches what it added; anything else that changed it touches all of it."""
        if current is None or current.code != said.code:
            return said.covered
        grown = said.covered - current.receipt.covered
        reopened = any(r.span.overlaps(said.span) for r in self._state.table(said.table).reopened)
        return grown if grown and not reopened else said.covered

    def _make(self, partition: TimeWindow, current: Current | None, inputs: Inputs, upto: datetime | None) -> _Made:
        consumer, site = self._consumer, self._site
        if upto is not None and current:
            # What readers have been given is not taken away, whoever asked for it.
            upto = max([upto, *(s.end for s in current.receipt.covered)])
        covered = self._compute.covered(partition, inputs, upto)
        made = self._compute.partition(partition, inputs, covered)
        receipt = Receipt(
            consumer.name, partition, (current.revision if current else 0) + 1, made.table.num_rows, made.digest, covered,
            site.clock.now(), inputs=made.inputs,
            inputs_seq=inputs.seq, code=consumer.code, reason=self._why(partition), run_id=self._running.run_id,
        )  # fmt: skip
        return _Made(current, made.table, receipt, made.read)

    def accept_gap(
        self, partition: TimeWindow, said: str, current: Current | None = None, *, is_lost: bool = False
    ) -> Outcome:
        """Publish a partition that is not there as empty.

        Args:
            partition: which.
            said: who accepted it, and why.
            current: what the ledger has of it, where its file is lost.
            is_lost: whether some of its inputs are not there any more, so that it is not waited for them.

        Raises:
            UsageError: terminal; nobody knows its columns.
            NotReady: terminal; its inputs are not sealed.
        """
        consumer, site = self._consumer, self._site
        inputs = self._compute.inputs([partition])
        covered = Intervals.of(partition) if is_lost else self._compute.covered(partition, inputs, None)
        made = self._compute.nothing(partition, inputs, covered)
        receipt = Receipt(
            consumer.name, partition, (current.revision if current else 0) + 1, 0, made.digest, covered, site.clock.now(), inputs=made.inputs,
            inputs_seq=inputs.seq, code=consumer.code, reason=said, run_id=self._running.run_id,
            accepted=tuple(Accepted(span, said) for span in covered),
        )  # fmt: skip
        with site.lake.publisher() as publisher:
            self._stage(publisher, _Made(current, made.table, receipt, made.read), inputs.mark)
            (published,) = publisher.commit()
        return Outcome(consumer.name, partition, "published", published)

    def _why(self, partition: TimeWindow) -> str:
        """Return why a partition is made: its inputs changed, or what is said of the whole run."""
        reopened = self._state.table(self._consumer.name).reopened
        return next((r.reason for r in reopened if r.span.overlaps(partition)), self._running.reason)

    def _failed(self, partition: TimeWindow, error: StreamAssetsError) -> Outcome:
        return Outcome(
            self._consumer.name, partition, "failed", None, str(error), type(error), isinstance(error, NotReady),
        )  # fmt: skip
