"""The canonical table of events, and how tables of one stream are brought under one schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import pyarrow as pa

from stream_assets.errors import SourceError

EVENT_ID = "event_id"
EVENT_TIME = "event_time"
ARRIVAL_TIME = "arrival_time"
RESERVED = ("day", "window_start")
"""Names that the lake's folders use."""

DEEPEST = 64
"""How many levels a column may be nested."""

INSTANT = pa.timestamp("us", tz="UTC")

AROUND = "stream_assets.around"
"""A column of a source's answer, of type `INSTANT`, that is no part of the events: where an event time cannot be used, an
instant of the window in which the row is counted, that of the rows around it."""

EMPTY = pa.schema([pa.field(EVENT_ID, pa.string()), pa.field(EVENT_TIME, INSTANT, nullable=False)])
"""The schema of a stream of which nothing has been seen yet."""

REJECTED = pa.schema([("reason", pa.string()), (EVENT_TIME, INSTANT), ("raw", pa.string())])
"""Rows that could not be conformed: why, their event time where it could be read, and the raw row as JSON."""


def unify(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return one schema with every column of `schemas`, in the order in which they are first named.

    A column may widen: from nulls to anything, between numbers, between units of time, to large text. It
    never turns from text into numbers or back. Without any schema it is `EMPTY`.

    Raises:
        SourceError: terminal; a column has types which no type holds both, and the message names it.
    """
    if not schemas:
        return EMPTY
    distinct = list(dict.fromkeys(schema.remove_metadata() for schema in schemas))
    if len(distinct) == 1:
        return distinct[0]
    _check(distinct)
    return pa.unify_schemas(distinct, promote_options="permissive")


def align(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `table` with exactly the columns of `schema`; those it lacks are null.

    Raises:
        SourceError: terminal; a value does not fit its wider type, such as an integer above 2**53 a float.
    """
    if table.schema.equals(schema):
        return table
    columns: list[pa.ChunkedArray[Any]] = []
    present = set(table.schema.names)
    for name, kind in zip(schema.names, schema.types, strict=True):
        if name not in present:
            columns.append(cast("Any", pa).chunked_array([cast("Any", pa).nulls(table.num_rows, kind)]))
            continue
        column = table.column(name)
        try:
            if pa.types.is_integer(column.type) and pa.types.is_decimal(kind):
                # A cast from integers wants room for the widest of their type, not for those that are there.
                column = column.cast(pa.decimal256(76, cast("Any", kind).scale))
            columns.append(column.cast(kind))
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"column {name!r} cannot be turned from {column.type} into {kind}: {error}; "
                "give it one type throughout the source"
            ) from error
    return pa.Table.from_arrays(columns, schema=schema)


def _check(schemas: Sequence[pa.Schema]) -> None:
    """Raise where a column's types do not fit together, or fit only by changing values or their class."""
    kinds: dict[str, dict[pa.DataType, None]] = {}
    for schema in schemas:
        if len(set(schema.names)) < len(schema.names):
            raise SourceError(f"columns must have different names, not {', '.join(schema.names)}")
        for name, kind in zip(schema.names, schema.types, strict=True):
            kinds.setdefault(name, {})[kind] = None
    for name, found in kinds.items():
        if not _fit(name, found):
            raise SourceError(
                f"column {name!r} is {' and '.join(map(str, found))} in different parts of the source: "
                "give it one type throughout (of CSV files, say which with types=)"
            )


def _fit(name: str, kinds: Iterable[pa.DataType]) -> bool:
    classes = {_class(kind) for kind in kinds}
    if {"text", "bytes"} <= classes or {"decimal", "float"} <= classes:
        return False
    try:
        pa.unify_schemas([pa.schema([(name, kind)]) for kind in kinds], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return True


def _class(kind: pa.DataType) -> str:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return "bytes"
    return "decimal" if pa.types.is_decimal(kind) else "float" if pa.types.is_floating(kind) else "other"
