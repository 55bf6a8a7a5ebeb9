"""Computes partitions of a consumer from the lake's inputs: hands them to the function and checks what comes back."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from stream_assets.core.declaration import Consumer, Table
from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import LedgerState
from stream_assets.core.planning.due import lookback_span
from stream_assets.core.window import TimeWindow
from stream_assets.errors import ConsumerError, LakeError, NotReady, StreamAssetsError, UsageError
from stream_assets.events.hashing import digest
from stream_assets.events.schema import RESERVED, empty
from stream_assets.lake.parquet import fit
from stream_assets.pipeline.forms import changed, from_result, kept, missing_column
from stream_assets.pipeline.inputs import Inputs, fingerprint
from stream_assets.pipeline.site import Site

PARTITIONS_A_READ = 48
"""Windows whose events are read together and then cut: four hours at once instead of 48 small reads."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A partition as its function gave it.

    Attributes:
        read: event time that it was made from, lookback included.
        inputs: of each input, the sum of the digests of what was read.
    """

    table: pa.Table
    digest: Digest
    read: Intervals
    inputs: dict[str, str]


class Compute:
    """Computes partitions of one consumer. Publishes nothing, and changes nothing in the ledger."""

    def __init__(self, site: Site, consumer: Consumer, state: LedgerState) -> None:
        self._site = site
        self._consumer = consumer
        self._table: Table = site.declarations.tables[consumer.name]
        self._rule = site.rule(state)
        self._schema: pa.Schema | None = self._last_schema()
        newest = site.ledger.newest(consumer.name, with_rows=True)
        self._known_code = newest.code if newest else None

    def _last_schema(self) -> pa.Schema | None:
        try:
            return self._site.lake.last_schema(self._consumer.name)
        except (LakeError, OSError, pa.ArrowInvalid):
            return None  # its newest file is lost or damaged, and is about to be made again

    def together(self, partitions: Sequence[TimeWindow]) -> list[Sequence[TimeWindow]]:
        """Return `partitions`, in order, cut into those whose inputs are read at once."""
        step = PARTITIONS_A_READ if self._table.grain == "5 min" else 1
        return [partitions[start : start + step] for start in range(0, len(partitions), step)]

    def inputs(self, partitions: Sequence[TimeWindow]) -> Inputs:
        """Return what reads the inputs of neighbouring partitions, as the lake has them now."""
        return Inputs(self._site, self._consumer, TimeWindow(self._read(partitions[0]).start, partitions[-1].end))

    def _read(self, partition: TimeWindow) -> TimeWindow:
        return lookback_span(partition, self._table, self._rule.state.start, self._site.lake.calendar)

    def can_be_read(self, partition: TimeWindow, inputs: Inputs, covered: Intervals) -> bool:
        """Whether the inputs of `covered`, and the lookback before a closed partition, are there."""
        return not any(
            self._wanted(partition, covered) - there - self._not_made(name, partition)
            for name, there in inputs.readable.items()
        )

    def _not_made(self, name: str, partition: TimeWindow) -> Intervals:
        """Return what of an input the lookback of a partition takes as it is, there or not."""
        return self._rule.not_made(name) - Intervals.of(partition)

    def partition(self, partition: TimeWindow, inputs: Inputs, covered: Intervals) -> Computed:
        """Compute one partition from its inputs in `covered`, and in its lookback.

        Raises:
            ConsumerError: terminal; the function raised, or returned what it must not.
            LakeError: terminal; an input cannot be read, or lacks a column.
            Conflict: transient; some of an input has been removed meanwhile.
        """
        read = self._read(partition)
        wanted = self._wanted(partition, covered)
        try:
            arguments = {i: inputs.argument(i, read, wanted & there) for i, there in inputs.readable.items()}
        except LakeError as error:
            raise LakeError(f"{self.where(partition)}: {error}") from error
        except StreamAssetsError:
            raise
        except Exception as error:
            forms = ", ".join(sorted({self._consumer.forms[i] for i in self._consumer.inputs}))
            raise ConsumerError(
                f"{self.where(partition)}: its inputs cannot be given as {forms} ({type(error).__name__}: {error}): name the "
                "columns that it needs with reads=, or take them as pa.Table"
            ) from error
        inputs.refuse_removed()
        return self._computed(self._call(partition, arguments), partition, inputs, wanted)

    def nothing(self, partition: TimeWindow, inputs: Inputs, covered: Intervals) -> Computed:
        """Return a partition without rows, as if its inputs had given none; the function is not called.

        Raises:
            UsageError: terminal; nobody knows its columns.
        """
        schema: pa.Schema | None = self._consumer.schema or self._schema
        if schema is None:
            raise UsageError(
                f"{self.where(partition)}: it has published nothing yet, so its columns are not known: declare its schema=, and "
                "accept the gap then"
            )
        return self._computed(empty(schema), partition, inputs, self._wanted(partition, covered))

    def _wanted(self, partition: TimeWindow, covered: Intervals) -> Intervals:
        return covered | (Intervals.of(self._read(partition)) - Intervals.of(partition))

    def _computed(self, table: pa.Table, partition: TimeWindow, inputs: Inputs, wanted: Intervals) -> Computed:
        read = self._read(partition)
        made_from = {i: str(fingerprint(inputs.files[i], read, wanted)) for i in self._consumer.inputs}
        return Computed(table, self._digest(table, partition), wanted, made_from)

    def covered(self, partition: TimeWindow, inputs: Inputs, upto: datetime | None) -> Intervals:
        """Return the windows that a partition is to be made of: all of a closed one, what is delivered of an open one.

        Args:
            partition: that is to be made.
            inputs: that it is made from.
            upto: the boundary up to which an open day's inputs are taken; None: all that is delivered.

        Raises:
            NotReady: terminal; inputs are not sealed.
        """
        open_from = self._rule.horizon(self._table).open_from
        own = partition if upto is None else partition.clip(TimeWindow(partition.start, max(partition.start, upto)))
        there = Intervals.of(own)
        for readable in inputs.readable.values():
            there &= readable
        if partition.end > open_from:
            if not there:
                raise NotReady(
                    f"{self._consumer.name} {self.key(partition)}: nothing of {' and '.join(self._consumer.inputs)} is sealed there yet; "
                    f"materialize {self._selection()} for it together"
                )
            return there
        for name, readable in inputs.readable.items():
            missing = Intervals.of(self._read(partition)) - readable - self._not_made(name, partition)
            if missing:
                raise NotReady(
                    f"{self._consumer.name} {self.key(partition)} needs {name}, which is not sealed in {missing}: "
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
            where = self.where(partition)
            raise ConsumerError(f"{where}: it returned values of a type that the lake cannot keep: {error}") from error

    def _call(self, partition: TimeWindow, inputs: dict[str, Any]) -> pa.Table:
        consumer = self._consumer
        where = self.where(partition)
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
            return table if self._schema is None else empty(self._schema)
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
            return empty(declared)
        if set(table.column_names) != set(declared.names):
            raise ConsumerError(
                f"{where}: it returned the columns {', '.join(table.column_names)}, but declares {', '.join(declared.names)}"
            )
        try:
            return fit(table.select(declared.names), declared)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ConsumerError(f"{where}: what it returned does not fit its schema: {error}") from error

    def where(self, partition: TimeWindow) -> str:
        """Return what messages about a partition begin with."""
        return f"consumer {self._consumer.name!r}, partition {self.key(partition)}"

    def key(self, partition: TimeWindow) -> str:
        """Return a partition's key."""
        return self._site.lake.calendar.key(partition, self._table.grain)


def _line(error: Exception, consumer: Consumer) -> str:
    """Return where in the consumer's own file it happened; nothing for what DuckDB does only when its result is read."""
    code = getattr(inspect.unwrap(consumer.function), "__code__", None)
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if code and f.filename == code.co_filename]
    return f" ({Path(code.co_filename).name}, line {lines[-1]})" if code and lines else ""
