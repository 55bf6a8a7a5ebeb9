"""Raw rows as JSON, for people who look into why a row was rejected."""

from __future__ import annotations

import json
import math
from typing import Any, cast

import pyarrow as pa

from stream_assets.events.buffers import plain


def as_json(batch: pa.RecordBatch) -> pa.Array[Any]:
    """Return each row as one JSON object under the source's own column names.

    Times, decimals and bytes that are UTF-8 become text, other bytes hexadecimal text, NaN and infinities
    text.
    """
    arrays: list[Any] = cast("Any", batch).columns
    columns = [_values(array) for array in arrays]
    rows = zip(*columns, strict=True) if columns else iter(())
    return pa.array(
        [json.dumps(dict(zip(batch.schema.names, row, strict=True)), ensure_ascii=False) for row in rows],
        pa.string(),
    )


def _values(column: pa.Array[Any]) -> list[Any]:
    column = plain(column)
    kind: Any = column.type
    zoned = ""
    if pa.types.is_timestamp(kind) and kind.tz:
        # Without its zone the text is UTC, and needs no time zone database on the machine.
        column, zoned = column.cast(pa.timestamp(kind.unit)), "Z"
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and not pa.types.is_interval(kind):
        return [None if text is None else text + zoned for text in column.cast(pa.string()).to_pylist()]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = column.cast(pa.large_binary())
    return [_value(scalar) for scalar in cast("Any", column)]


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
            return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("list[Any]", value)]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
