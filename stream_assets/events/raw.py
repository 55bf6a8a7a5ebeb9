# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Raw rows as JSON: for people who look into why a row was rejected, and to make events of them later."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute

from stream_assets.events.buffers import plain

pc: Any = pyarrow.compute

_BYTES_AT_ONCE = 16 << 20
"""Many times as much JSON, since every row repeats the names, is still far from the 2 GiB that one Arrow array holds."""

_encode = json.JSONEncoder(ensure_ascii=False).encode
_ESCAPES = {text: _encode(text)[1:-1] for text in ("\\", '"')}
_CONTROLS = {text: _encode(text)[1:-1] for text in map(chr, range(0x20))}


def as_json(batch: pa.RecordBatch) -> pa.ChunkedArray[Any]:
    """Return each row as one JSON object under the source's own column names.

    Times, decimals and bytes that are UTF-8 become text, other bytes `{"hex": ...}`, NaN and infinities text.
    """
    step = max(1, batch.num_rows * _BYTES_AT_ONCE // max(1, batch.nbytes))
    pieces = [_objects(batch.slice(start, step)) for start in range(0, batch.num_rows, step)]
    return cast("Any", pa).chunked_array(pieces, pa.string())


def from_json(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, Any]) -> pa.Table:
    """Return rows that `as_json` wrote as a table, in the order in which their columns are first named.

    Args:
        rows: the parsed objects.
        kinds: types of columns, where they are known: text becomes a decimal, an instant, a date or bytes again.

    Raises:
        pa.ArrowException, ValueError, TypeError, ArithmeticError: a value is none of its column.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _column([row.get(name) for row in rows], kinds.get(name)) for name in names})


def _column(values: list[Any], kind: Any) -> Any:
    if kind is None or not _is_told(kind):
        return pa.array(values)
    if pa.types.is_temporal(kind):
        return pa.array(values, pa.string()).cast(kind)
    return pa.array([_told(value, kind) for value in values], kind)


def _is_told(kind: Any) -> bool:
    """Whether values of a type are written in JSON as something else, or may be."""
    types: Any = pa.types
    says_itself = (types.is_string, types.is_large_string, types.is_integer, types.is_boolean, types.is_null)
    return not any(is_kind(kind) for is_kind in says_itself)


def _told(value: Any, kind: Any) -> Any:
    """Return a value of JSON as Python has it for a type."""
    types: Any = pa.types
    if value is None:
        return None
    if types.is_decimal(kind):
        return Decimal(str(value))
    if types.is_floating(kind):
        return float(value) if isinstance(value, str) else value
    if types.is_temporal(kind):
        return pa.scalar(value, pa.string()).cast(kind).as_py()
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value.encode()
    if types.is_struct(kind):
        known = {f.name: f.type for f in kind.fields}
        return {name: _told(item, known[name]) for name, item in value.items()}
    if types.is_map(kind):
        return [(_told(key, kind.key_type), _told(item, kind.item_type)) for key, item in value]
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return [_told(item, kind.value_type) for item in value]
    return value


def _objects(batch: pa.RecordBatch) -> pa.Array[Any]:
    arrays: list[Any] = cast("Any", batch).columns
    parts: list[Any] = []
    for name, array in zip(batch.schema.names, arrays, strict=True):
        parts += [f"{', ' if parts else '{'}{_encode(name)}: ", _cells(plain(array)).fill_null("null")]
    return pc.binary_join_element_wise(*parts, "}", "")


def _cells(column: pa.Array[Any]) -> Any:
    """Return each value as JSON; null stays null."""
    kind: Any = column.type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return column.cast(pa.string())
    if pa.types.is_floating(kind):
        texts = column.cast(pa.string())
        return pc.if_else(pc.is_finite(column), texts, _quoted(texts))
    if pa.types.is_timestamp(kind) and kind.tz:
        # Without its zone the text is UTC, and needs no time zone database on the machine.
        return _quoted(pc.binary_join_element_wise(column.cast(pa.timestamp(kind.unit)).cast(pa.string()), "Z", ""))
    is_time = pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and not pa.types.is_interval(kind)
    if is_time or pa.types.is_decimal(kind):
        return _quoted(column.cast(pa.string()))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        if _is_utf8(column):
            return _quoted(column.cast(pa.string()))
        column = column.cast(pa.large_binary())
    # Types that are rare have values that only Python can look into.
    return pa.array([_encode(_value(scalar)) for scalar in cast("Any", column)], pa.string())


def _quoted(texts: Any) -> Any:
    for text, escaped in _ESCAPES.items():
        texts = pc.replace_substring(texts, text, escaped)
    if pc.any(pc.match_substring_regex(texts, "[\\x00-\\x1f]")).as_py():
        for text, escaped in _CONTROLS.items():
            texts = pc.replace_substring(texts, text, escaped)
    return pc.binary_join_element_wise('"', texts, '"', "")


def _is_utf8(column: pa.Array[Any]) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _value(scalar: Any) -> Any:
    try:
        return _plain(scalar.as_py())
    except (ValueError, OverflowError, ImportError):
        # Values that Python has no type for, such as a nested instant of the year 10000.
        return str(scalar)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"hex": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("list[Any]", value)]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
