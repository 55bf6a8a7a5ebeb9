"""The canonical table of events, and how tables of one stream are brought under one schema."""

from __future__ import annotations

from collections.abc import Sequence
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


def empty(schema: pa.Schema) -> pa.Table:
    """Return a table without rows.

    `schema.empty_table()` makes its arrays from lists, for which pyarrow imports pandas where that is installed: a
    quarter of what a small run takes.
    """
    return pa.Table.from_batches([], schema)


def unify(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return one schema with every column of `schemas`, in the order in which they are first named.

    A column may widen, as `wider` has it. Without any schema it is `EMPTY`.

    Raises:
        SourceError: terminal; a column has types which no type holds both, and the message names it.
    """
    if not schemas:
        return EMPTY
    distinct = list(dict.fromkeys(schema.remove_metadata() for schema in schemas))
    if len(distinct) == 1:
        return distinct[0]
    fields: dict[str, Any] = {}
    for schema in distinct:
        if len(set(schema.names)) < len(schema.names):
            raise SourceError(f"columns must have different names, not {', '.join(schema.names)}")
        for new in cast("list[Any]", list(schema)):
            old = fields.setdefault(new.name, new)
            kind = wider(old.type, new.type)
            if kind is None:
                raise SourceError(
                    f"column {new.name!r} is {old.type} and {new.type} in different parts of the source: "
                    "give it one type throughout (of CSV files, say which with types=)"
                )
            fields[new.name] = pa.field(new.name, kind, nullable=old.nullable or new.nullable)
    return pa.schema(list(fields.values()))


def wider(first: Any, second: Any) -> Any | None:
    """Return the type that holds the values of both types unchanged; None where there is none.

    Nulls widen to anything, integers to wider integers, to floats and to decimals, decimals to wider decimals, units of
    time to finer ones, text to large text, structs by new fields, lists and structs by what is inside them. Nothing
    turns from text into numbers or back, from float into integer or decimal, or gets or loses a time zone. A value that
    its wider type cannot hold (an integer beyond 2**53 as a float) makes the cast fail, not the value.
    """
    if first == second:
        return first
    types: Any = pa.types
    if types.is_null(first) or types.is_null(second):
        return second if types.is_null(first) else first
    if types.is_struct(first) and types.is_struct(second):
        return _wider_struct(first, second)
    if _is_list(first) and _is_list(second):
        inside = wider(first.value_type, second.value_type)
        large = types.is_large_list(first) or types.is_large_list(second)
        if inside is None:
            return None
        # Elements have names too, which say nothing.
        is_same = types.is_large_list if large else types.is_list
        same = next((k for k in (first, second) if is_same(k) and k.value_type == inside), None)
        return same or (pa.large_list(inside) if large else pa.list_(inside))
    if types.is_map(first) and types.is_map(second):
        key, item = wider(first.key_type, second.key_type), wider(first.item_type, second.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    classes = {_class(first), _class(second)}
    if len(classes) > 1 and not classes <= {"integer", "float"} and not classes <= {"integer", "decimal"}:
        return None
    if classes == {"integer", "float"}:
        integer, floating = (first, second) if types.is_integer(first) else (second, first)
        # A float of 32 bits holds 24 bits of an integer, one of 16 bits 11 of them.
        return floating if integer.bit_width * 2 <= floating.bit_width else pa.float64()
    try:
        schemas = [pa.schema([("x", first)]), pa.schema([("x", second)])]
        return cast("Any", pa.unify_schemas(schemas, promote_options="permissive")).field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None


def _wider_struct(first: Any, second: Any) -> Any | None:
    kinds: dict[str, Any] = {f.name: f.type for f in first.fields}
    for new in second.fields:
        kind = wider(kinds.get(new.name, pa.null()), new.type)
        if kind is None:
            return None
        kinds[new.name] = kind
    return pa.struct(list(kinds.items()))


def _is_list(kind: Any) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


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


def _class(kind: Any) -> str:
    types: Any = pa.types
    if types.is_integer(kind):
        return "integer"
    if types.is_floating(kind):
        return "float"
    if types.is_decimal(kind):
        return "decimal"
    if types.is_string(kind) or types.is_large_string(kind):
        return "text"
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return "bytes"
    # Of instants those with a zone, those without, and days are three things.
    return f"timestamp {kind.tz}" if types.is_timestamp(kind) else "date" if types.is_date(kind) else str(kind.id)
