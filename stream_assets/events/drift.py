# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""What becomes of a batch whose columns are not those that the stream is known to have."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.core.declaration import DriftPolicy
from stream_assets.core.window import EPOCH, GRID, TimeWindow
from stream_assets.errors import SourceError
from stream_assets.events.columns import Columns, beyond
from stream_assets.events.schema import ARRIVAL_TIME, EVENT_ID, EVENT_TIME, wider

_STEP = GRID // timedelta(microseconds=1)
_ALWAYS = (EVENT_ID, EVENT_TIME, ARRIVAL_TIME)


class Drift:
    """Takes the events of one read, batch by batch, and lets in what the policy lets in.

    A column without a value says nothing of its type: it is no change, whatever the source declares it to be. So what a
    window gets does not depend on what was read together with it.

    Args:
        policy: of the stream. While nothing is known of a stream every policy takes what comes.
        known: the columns that its sealed partitions have.

    Attributes:
        columns: those of `known` and of all that has been taken.
        discarded: values that were left out, by the start of their window.
    """

    def __init__(self, policy: DriftPolicy, known: Columns) -> None:
        self._policy = policy if known.kinds else "evolve"
        self._known = known
        self._declared: dict[str, pa.DataType] = {}
        self.columns = known
        self.discarded: Counter[datetime] = Counter()

    def take(self, table: pa.Table) -> pa.Table:
        """Return `table` as it may be published: without columns that are discarded.

        Raises:
            SourceError: terminal; a change that the policy does not let in. The message says which column, and what it
                was and is.
        """
        new = Columns.of(table)
        if self._policy != "evolve":
            unknown = tuple(n for n in table.column_names if n not in self._known.kinds and n not in _ALWAYS)
            self._refuse_change(new, unknown)
            self._count(table, tuple(n for n in unknown if n in new.kinds))
            table = table.drop_columns(list(unknown)) if unknown else table
            new = Columns.of(table)
        try:
            self.columns = self.columns.plus(new)
        except SourceError as error:
            raise SourceError(f"{error}{_shown(table, new)}") from None
        return self._without_types(table, new)

    def typed(self, schema: pa.Schema) -> pa.Schema:
        """Return `schema` with the known types, or else the declared ones, of columns that have no value there."""
        fields: list[pa.Field[Any]] = []
        for f in schema:
            if self._policy != "evolve" and f.name not in self._known.kinds and f.name not in _ALWAYS:
                continue
            kind: Any = self.columns.kinds.get(f.name) or self._declared.get(f.name, f.type)
            fields.append(f.with_type(kind) if pa.types.is_null(f.type) else f)
        return pa.schema(fields)

    def _refuse_change(self, new: Columns, unknown: tuple[str, ...]) -> None:
        if self._policy != "freeze":
            return
        for name in unknown:
            if name in new.kinds:
                raise SourceError(f"column {name!r} ({new.kinds[name]}) is new, and the stream's columns are frozen")
        for name, kind in new.kinds.items():
            was = self._known.kinds.get(name, kind)
            if wider(was, kind) != was:
                raise SourceError(f"column {name!r} is {kind}, and {was} so far, and the stream's columns are frozen")

    def _count(self, table: pa.Table, names: tuple[str, ...]) -> None:
        if not names:
            return
        self.columns = self.columns.without(names)
        starts = table.column(EVENT_TIME).cast(pa.int64()).to_numpy() // _STEP
        for name in names:
            valid: Any = table.column(name).is_valid()
            for start, count in zip(*np.unique(starts[valid.to_numpy()], return_counts=True), strict=True):
                self.discarded[EPOCH + int(start) * GRID] += int(count)

    def _without_types(self, table: pa.Table, new: Columns) -> pa.Table:
        """Return `table` with nulls of no type in the place of columns that have no value."""
        empty = [f for f in table.schema if f.name not in new.kinds and f.name not in _ALWAYS]
        if not empty:
            return table
        for f in empty:
            self._declared.setdefault(f.name, f.type)
        names = {f.name for f in empty}
        nulls = pa.chunked_array([pa.nulls(table.num_rows)])
        fields = [f.with_type(pa.null()) if f.name in names else f for f in table.schema]
        columns = [nulls if n in names else c for n, c in zip(table.column_names, table.columns, strict=True)]
        return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def windows_of(table: pa.Table) -> tuple[TimeWindow, TimeWindow]:
    """Return the first and the last window that have an event of `table`, which has one."""
    ends: Any = pc.min_max(table.column(EVENT_TIME)).as_py()
    first, last = ((value - EPOCH) // GRID * GRID + EPOCH for value in (ends["min"], ends["max"]))
    return TimeWindow(first, first + GRID), TimeWindow(last, last + GRID)


def _shown(table: pa.Table, new: Columns) -> str:
    """Return the first integer that no float holds, where there is one."""
    values = (beyond(table.column(name)) for name in new.large)
    found = next((value for value in values if value is not None), None)
    return "" if found is None else f" (such as {found})"
