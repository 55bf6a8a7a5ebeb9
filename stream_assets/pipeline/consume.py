"""Runs a consumer: hands its inputs to the function, checks what comes back, publishes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa

from stream_assets.core.declaration import Consumer, Table
from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import LedgerState, Rule
from stream_assets.core.planning.due import delivered, lookback_span
from stream_assets.core.receipt import Receipt
from stream_assets.core.window import TimeWindow
from stream_assets.errors import ConsumerError, LakeError, NotReady, StreamAssetsError, TransientError
from stream_assets.events.hashing import digest
from stream_assets.events.schema import RESERVED
from stream_assets.lake.ledger import Current
from stream_assets.lake.parquet import fit
from stream_assets.pipeline.forms import from_result, to_form
from stream_assets.pipeline.inputs import Inputs
from stream_assets.pipeline.outcome import Outcome, Progress
from stream_assets.pipeline.site import Site

PARTITIONS_A_READ = 48
"""Windows whose events are read together and then cut: four hours at once instead of 48 small reads."""


class Consume:
    """Fills partitions of one consumer."""

    def __init__(
        self, site: Site, consumer: Consumer, state: LedgerState, run_id: str, reason: str, progress: Progress
    ) -> None:
        self._site = site
        self._consumer = consumer
        self._table: Table = site.declarations.tables[consumer.name]
        self._state = state
        self._rule = Rule(site.declarations, state, site.lake.calendar, site.clock.now())
        self._run_id = run_id
        self._reason = reason
        self._progress = progress
        self._readable = {name: delivered(name, site.declarations, state) for name in consumer.inputs}
        self._schema: pa.Schema | None = self._last_schema()
        self._known_code = site.ledger.last_code(consumer.name)

    def _last_schema(self) -> pa.Schema | None:
        try:
            return self._site.lake.last_schema(self._consumer.name)
        except LakeError:
            return None  # its newest file is lost, and is about to be made again

    def partitions(self, spans: Intervals, *, upto: datetime | None = None) -> list[Outcome]:
        """Make every partition in `spans`, and publish 48 at a time.

        Args:
            spans: whole partitions.
            upto: the boundary up to which an open day's inputs are taken; None: all that is delivered.
        """
        outcomes: list[Outcome] = []
        todo = [p for span in spans for p in self._site.lake.calendar.partitions(span, self._table.grain)]
        step = PARTITIONS_A_READ if self._table.grain == "5 min" else 1
        for start in range(0, len(todo), step):
            outcomes += self._together(todo[start : start + step], upto)
        return outcomes

    def _together(self, partitions: list[TimeWindow], upto: datetime | None) -> list[Outcome]:
        site, name = self._site, self._consumer.name
        outcomes: list[Outcome] = []
        inputs = Inputs(site, self._consumer, self._hull(partitions))
        with site.lake.publisher() as publisher:
            for partition in partitions:
                read_at = site.clock.now()
                try:
                    made = self._make(partition, inputs, upto)
                except StreamAssetsError as error:
                    outcomes.append(self._failed(partition, error))
                    continue
                current, table, receipt = made
                if current and self._is_equal(current, receipt) and site.lake.is_whole(current):
                    with site.ledger.transaction():
                        site.ledger.delivered(current, receipt.inputs_seq, receipt.code, site.clock.now())
                        site.ledger.settle(name, partition, read_at)
                    outcomes.append(self._done(Outcome(name, partition, "unchanged", current.receipt)))
                    continue
                publisher.stage(
                    self._table.grain, table.schema, [table], lambda r=receipt: r,
                    touched=lambda said, c=current: self._touched(c, said), read_at=read_at,
                )  # fmt: skip
            try:
                outcomes += [self._done(Outcome(name, r.span, "published", r)) for r in publisher.commit()]
            except TransientError as error:
                for partition in partitions:
                    site.lake.roll_forward(name, self._table.grain, partition)
                    if not any(o.span == partition for o in outcomes):
                        outcomes.append(self._failed(partition, error))
        return sorted(outcomes, key=lambda o: o.span)

    def _hull(self, partitions: list[TimeWindow]) -> TimeWindow:
        first = lookback_span(partitions[0], self._table, self._rule.first(self._table), self._site.lake.calendar)
        return TimeWindow(first.start, partitions[-1].end)

    @staticmethod
    def _is_equal(current: Current, receipt: Receipt) -> bool:
        was = current.receipt
        return (was.digest, was.rows, was.covered) == (receipt.digest, receipt.rows, receipt.covered)

    def _touched(self, current: Current | None, said: Receipt) -> Intervals:
        """Growth of an open day touches what it added; anything else that changed it touches all of it."""
        if current is None or current.code != said.code:
            return said.covered
        grown = said.covered - current.receipt.covered
        reopened = any(r.span.overlaps(said.span) for r in self._state.table(said.table).reopened)
        return grown if grown and not reopened else said.covered

    def _make(
        self, partition: TimeWindow, inputs: Inputs, upto: datetime | None
    ) -> tuple[Current | None, pa.Table, Receipt]:
        consumer, site = self._consumer, self._site
        read = lookback_span(partition, self._table, self._rule.first(self._table), site.lake.calendar)
        covered = self._covered(partition, read, upto)
        seq = site.ledger.seq()
        wanted = covered | (Intervals.of(read) - Intervals.of(partition))
        frames = {i: inputs.read(i, read, wanted & self._readable[i]) for i in consumer.inputs}
        table = self._call(partition, frames)
        current = next(iter(site.ledger.current(consumer.name, partition)), None)
        receipt = Receipt(
            consumer.name, partition, (current.revision if current else 0) + 1, table.num_rows,
            digest(table, skip=()), covered, site.clock.now(),
            inputs={i: str(self._fingerprint(i, read, wanted)) for i in consumer.inputs},
            inputs_seq=seq, code=consumer.code, reason=self._reason, run_id=self._run_id,
        )  # fmt: skip
        return current, table, receipt

    def _covered(self, partition: TimeWindow, read: TimeWindow, upto: datetime | None) -> Intervals:
        """Return the windows that the partition is made of: all of a closed one, what is delivered of an open one."""
        open_from = self._rule.horizon(self._table).open_from
        own = partition if upto is None else partition.clip(TimeWindow(partition.start, max(partition.start, upto)))
        there = Intervals.of(own)
        for name in self._consumer.inputs:
            there &= self._readable[name]
        if partition.end > open_from:
            if not there:
                raise NotReady(
                    f"{self._consumer.name} {self._key(partition)}: nothing of {' and '.join(self._consumer.inputs)} is sealed there yet; "
                    f"materialize {self._selection()} for it together"
                )
            return there
        for name in self._consumer.inputs:
            missing = Intervals.of(read) - self._readable[name]
            if missing:
                raise NotReady(
                    f"{self._consumer.name} {self._key(partition)} needs {name}, which is not sealed in {missing}: "
                    f"materialize {self._selection()} for that range together, or let `stream-assets run` fill it"
                )
        return Intervals.of(partition)

    def _selection(self) -> str:
        names: list[str] = []
        for stream in self._site.declarations.streams_of(self._consumer.name):
            names += [stream, self._site.declarations.stream(stream).daily]
        return ", ".join([*names, *(i for i in self._consumer.inputs if i not in names), self._consumer.name])

    def _fingerprint(self, name: str, read: TimeWindow, wanted: Intervals) -> Digest:
        """Return the sum of the digests of what was read of one input."""
        total = Digest()
        for file in self._site.lake.files(name, read):
            if file.current.receipt.windows and not file.is_whole:
                total += Digest.total(f.digest for f in file.current.receipt.windows if wanted.covers(f.window))
            elif Intervals.of(file.current.span) & wanted:
                total += file.current.digest
        return total

    def _call(self, partition: TimeWindow, frames: dict[str, pa.Table]) -> pa.Table:
        consumer = self._consumer
        where = f"consumer {consumer.name!r}, partition {self._key(partition)}"
        arguments: dict[str, Any] = {i: to_form(t, consumer.forms[i]) for i, t in frames.items()}
        if consumer.wants_window:
            arguments["window"] = partition
        try:
            result = consumer.function(**arguments)
            table = from_result(result, where)
        except StreamAssetsError:
            raise
        except Exception as error:
            raise ConsumerError(
                f"{where}: the function raised {type(error).__name__}: {error}. Mend the function or its input, then "
                f"`stream-assets refresh {consumer.name}`"
            ) from error
        return self._checked(table, where)

    def _checked(self, table: pa.Table, where: str) -> pa.Table:
        for reserved in RESERVED:
            if reserved in table.column_names:
                raise ConsumerError(
                    f"{where}: it returned a column {reserved!r}, which names the lake's folders: rename it"
                )
        if len(set(table.column_names)) != len(table.column_names):
            raise ConsumerError(f"{where}: it returned two columns of one name: {', '.join(table.column_names)}")
        declared: pa.Schema | None = self._consumer.schema
        if declared is not None:
            return self._as_declared(table, declared, where)
        if self._schema is None or self._known_code != self._consumer.code:
            self._schema = table.schema if table.num_rows else self._schema
            self._known_code = self._consumer.code if table.num_rows else self._known_code
            return table
        if set(table.column_names) != set(self._schema.names):
            if not table.num_rows:
                return self._schema.empty_table()
            raise ConsumerError(
                f"{where}: it returned the columns {', '.join(table.column_names)}, but other partitions have "
                f"{', '.join(self._schema.names)}: return the same columns each time, or state a new code_version"
            )
        if not table.num_rows:
            return self._schema.empty_table()
        return table.select(self._schema.names)

    def _as_declared(self, table: pa.Table, declared: pa.Schema, where: str) -> pa.Table:
        if not table.num_rows:
            return declared.empty_table()
        if set(table.column_names) != set(declared.names):
            raise ConsumerError(
                f"{where}: it returned the columns {', '.join(table.column_names)}, but declares {', '.join(declared.names)}"
            )
        try:
            return fit(table.select(declared.names), declared)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ConsumerError(f"{where}: what it returned does not fit its schema: {error}") from error

    def _key(self, partition: TimeWindow) -> str:
        return self._site.lake.calendar.key(partition, self._table.grain)

    def _failed(self, partition: TimeWindow, error: StreamAssetsError) -> Outcome:
        return self._done(
            Outcome(self._consumer.name, partition, "failed", None, str(error), isinstance(error, TransientError))
        )

    def _done(self, outcome: Outcome) -> Outcome:
        self._progress(outcome)
        return outcome
