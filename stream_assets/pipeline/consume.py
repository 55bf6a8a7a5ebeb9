"""Runs a consumer: hands its inputs to the function, checks what comes back, publishes it."""

from __future__ import annotations

import inspect
import traceback
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from stream_assets.core.declaration import Consumer, Table
from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import LedgerState, Rule
from stream_assets.core.planning.due import delivered, lookback_span
from stream_assets.core.receipt import Accepted, Receipt
from stream_assets.core.window import TimeWindow
from stream_assets.errors import (
    ConsumerError,
    LakeError,
    NotReady,
    StreamAssetsError,
    TransientError,
    UsageError,
)
from stream_assets.events.hashing import digest
from stream_assets.events.schema import RESERVED
from stream_assets.lake.ledger import Current
from stream_assets.lake.parquet import fit
from stream_assets.lake.publish import Publisher
from stream_assets.pipeline.forms import changed, from_result, kept, missing_column
from stream_assets.pipeline.inputs import Inputs, fingerprint
from stream_assets.pipeline.outcome import Outcome, Progress
from stream_assets.pipeline.running import Running
from stream_assets.pipeline.site import PARTS, Site

PARTITIONS_A_READ = 48
"""Windows whose events are read together and then cut: four hours at once instead of 48 small reads."""


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
        self._rule = Rule(site.declarations, state, site.lake.calendar, site.clock.now())
        self._running = running
        self._progress = progress
        self._readable = {name: delivered(name, site.declarations, state) for name in consumer.inputs}
        self._schema: pa.Schema | None = self._last_schema()
        newest = site.ledger.newest(consumer.name, with_rows=True)
        self._known_code = newest.code if newest else None

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
            for outcome in self._together(todo[start : start + step], upto):
                self._progress(outcome)
                outcomes.append(outcome)
        return outcomes

    def _together(self, partitions: list[TimeWindow], upto: datetime | None) -> list[Outcome]:
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

    def _publish(self, partitions: list[TimeWindow], upto: datetime | None) -> list[Outcome]:
        site, name = self._site, self._consumer.name
        outcomes: list[Outcome] = []
        inputs = Inputs(site, self._consumer, self._hull(partitions))
        with site.lake.publisher() as publisher:
            for partition in partitions:
                try:
                    made = self._make(partition, inputs, upto)
                    if made.is_equal and made.current and site.lake.is_whole(made.current):
                        outcomes.append(self._unchanged(made.current, made.receipt, inputs.mark))
                    else:
                        self._stage(publisher, made, inputs.mark)
                except (ConsumerError, NotReady) as error:
                    outcomes.append(self._failed(partition, error))
            outcomes += [Outcome(name, r.span, "published", r) for r in publisher.commit()]
        return sorted(outcomes, key=lambda o: o.span)

    def _unchanged(self, current: Current, receipt: Receipt, read_at: int) -> Outcome:
        ledger = self._site.ledger
        with ledger.transaction():
            ledger.delivered(current, receipt.inputs_seq, receipt.code, self._site.clock.now())
            ledger.settle(current.table, current.span, read_at)
        return Outcome(current.table, current.span, "unchanged", current.receipt)

    def _stage(self, publisher: Publisher, made: _Made, read_at: int) -> None:
        try:
            publisher.stage(
                self._table.grain, made.table.schema, [made.table], lambda: made.receipt,
                touched=lambda said: self._touched(made.current, said), read_at=read_at, inputs=self._tables(made.read),
            )  # fmt: skip
        except pa.ArrowMemoryError:
            raise
        except pa.ArrowException as error:
            where = self._where(made.receipt.span)
            raise ConsumerError(f"{where}: Parquet cannot hold what it returned: {error}") from error

    def _hull(self, partitions: list[TimeWindow]) -> TimeWindow:
        first = lookback_span(partitions[0], self._table, self._rule.first(self._table), self._site.lake.calendar)
        return TimeWindow(first.start, partitions[-1].end)

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

    def _make(self, partition: TimeWindow, inputs: Inputs, upto: datetime | None) -> _Made:
        consumer, site = self._consumer, self._site
        current = next(iter(site.ledger.current(consumer.name, partition)), None)
        if upto is not None and current:
            # What readers have been given is not taken away, whoever asked for it.
            upto = max([upto, *(s.end for s in current.receipt.covered)])
        read = lookback_span(partition, self._table, self._rule.first(self._table), site.lake.calendar)
        covered = self._covered(partition, read, upto)
        wanted = covered | (Intervals.of(read) - Intervals.of(partition))
        try:
            arguments = {i: inputs.argument(i, read, wanted & self._readable[i]) for i in consumer.inputs}
        except LakeError as error:
            raise LakeError(f"{self._where(partition)}: {error}") from error
        except StreamAssetsError:
            raise
        except Exception as error:
            forms = ", ".join(sorted({consumer.forms[i] for i in consumer.inputs}))
            raise ConsumerError(
                f"{self._where(partition)}: its inputs cannot be given as {forms} ({type(error).__name__}: {error}): name the "
                "columns that it needs with reads=, or take them as pa.Table"
            ) from error
        table = self._call(partition, arguments)
        receipt = Receipt(
            consumer.name, partition, (current.revision if current else 0) + 1, table.num_rows,
            self._digest(table, partition), covered, site.clock.now(), inputs=self._made_from(inputs, read, wanted),
            inputs_seq=inputs.seq, code=consumer.code, reason=self._why(partition), run_id=self._running.run_id,
        )  # fmt: skip
        return _Made(current, table, receipt, wanted)

    def _made_from(self, inputs: Inputs, read: TimeWindow, wanted: Intervals) -> dict[str, str]:
        return {i: str(fingerprint(inputs.files[i], read, wanted)) for i in self._consumer.inputs}

    def accept_gap(self, partition: TimeWindow, said: str) -> Outcome:
        """Publish a partition that is not there as empty; `said` who accepted it, and why.

        Raises:
            UsageError: terminal; nobody knows its columns.
            NotReady: terminal; its inputs are not sealed.
        """
        consumer, site = self._consumer, self._site
        schema: pa.Schema | None = consumer.schema or self._schema
        if schema is None:
            raise UsageError(
                f"{self._where(partition)}: it has published nothing yet, so its columns are not known: declare its schema=, and "
                "accept the gap then"
            )
        inputs = Inputs(site, consumer, self._hull([partition]))
        read = lookback_span(partition, self._table, self._rule.first(self._table), site.lake.calendar)
        covered = self._covered(partition, read, None)
        wanted = covered | (Intervals.of(read) - Intervals.of(partition))
        table = schema.empty_table()
        receipt = Receipt(
            consumer.name, partition, 1, 0, self._digest(table, partition), covered, site.clock.now(),
            inputs=self._made_from(inputs, read, wanted), inputs_seq=inputs.seq, code=consumer.code, reason=said,
            run_id=self._running.run_id, accepted=tuple(Accepted(span, said) for span in covered),
        )  # fmt: skip
        with site.lake.publisher() as publisher:
            self._stage(publisher, _Made(None, table, receipt, wanted), inputs.mark)
            (published,) = publisher.commit()
        return Outcome(consumer.name, partition, "published", published)

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

    def _digest(self, table: pa.Table, partition: TimeWindow) -> Digest:
        try:
            return digest(table, skip=())
        except pa.ArrowMemoryError:
            raise
        except (pa.ArrowException, TypeError) as error:
            where = self._where(partition)
            raise ConsumerError(f"{where}: it returned values of a type that the lake cannot keep: {error}") from error

    def _call(self, partition: TimeWindow, inputs: dict[str, Any]) -> pa.Table:
        consumer = self._consumer
        where = self._where(partition)
        before = {name: kept(argument) for name, argument in inputs.items()}
        arguments = {**inputs, "window": partition} if consumer.wants_window else inputs
        try:
            result = consumer.function(**arguments)
            table = from_result(result, where)
        except (StreamAssetsError, MemoryError):
            raise
        except Exception as error:
            said = missing_column(error, inputs) or f"the function raised {type(error).__name__}: {error}"
            raise ConsumerError(
                f"{where}: {said}{_line(error, consumer)}. "
                f"Mend the function or its input, then `stream-assets refresh {consumer.name}`"
            ) from error
        for name, argument in inputs.items():
            said = changed(argument, before[name])
            if said:
                raise ConsumerError(
                    f"{where}: it changed its input {name!r} ({said}), so it is not pure: begin with "
                    f"`{name} = {name}.copy()`, or use methods that return a new frame, such as .assign()"
                )
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
        if not table.num_rows:
            # Types of no rows say little; those that other partitions have are right.
            return table if self._schema is None else self._schema.empty_table()
        if self._schema is not None and self._known_code == self._consumer.code:
            self._refuse_other_columns(table.schema, self._schema, where)
            return table.select(self._schema.names)
        self._schema, self._known_code = table.schema, self._consumer.code
        return table

    @staticmethod
    def _refuse_other_columns(schema: pa.Schema, known: pa.Schema, where: str) -> None:
        if set(schema.names) != set(known.names):
            raise ConsumerError(
                f"{where}: it returned the columns {', '.join(schema.names)}, but other partitions have "
                f"{', '.join(known.names)}: return the same columns each time, or state a new code_version"
            )
        for name in known.names:
            types = [pa.schema([pa.field(name, s.field(name).type)]) for s in (known, schema)]
            try:
                pa.unify_schemas(types, promote_options="permissive")
            except (pa.ArrowTypeError, pa.ArrowInvalid):
                raise ConsumerError(
                    f"{where}: column {name!r} is {schema.field(name).type} here, but {known.field(name).type} in other "
                    "partitions: return one type each time, or state a new code_version"
                ) from None

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

    def _why(self, partition: TimeWindow) -> str:
        """Return why a partition is made: its inputs changed, or what is said of the whole run."""
        reopened = self._state.table(self._consumer.name).reopened
        return next((r.reason for r in reopened if r.span.overlaps(partition)), self._running.reason)

    def _where(self, partition: TimeWindow) -> str:
        return f"consumer {self._consumer.name!r}, partition {self._key(partition)}"

    def _key(self, partition: TimeWindow) -> str:
        return self._site.lake.calendar.key(partition, self._table.grain)

    def _failed(self, partition: TimeWindow, error: StreamAssetsError) -> Outcome:
        return Outcome(
            self._consumer.name, partition, "failed", None, str(error),
            isinstance(error, TransientError), isinstance(error, NotReady),
        )  # fmt: skip


def _line(error: Exception, consumer: Consumer) -> str:
    """Return where in the consumer's own file it happened; nothing for what DuckDB does only when its result is read."""
    code = getattr(inspect.unwrap(consumer.function), "__code__", None)
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if code and f.filename == code.co_filename]
    return f" ({Path(code.co_filename).name}, line {lines[-1]})" if code and lines else ""
