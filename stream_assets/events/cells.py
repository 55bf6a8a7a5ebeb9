"""Cells as 64-bit words: how the values of each Arrow type enter a row hash.

A cell becomes a *class* (numbers, text, bytes, booleans, instants, ...) and two lanes of 64 bits which depend
on its value alone: equal values of one class give equal lanes whatever their Arrow type, so int8 1, int64 1
and 1.0 are one value, as are string and large_string, a dictionary and its plain column, seconds and
microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_assets.errors import SourceError
from stream_assets.events.buffers import offsets_of, plain, values_of
from stream_assets.events.decimals import decimal_lanes
from stream_assets.events.mixing import U64, Words, hash_bytes, hash_of, key_of, mix, slice_sums, word

TIME_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_DAY = 86_400_000_000
_FRACTION, _ABOVE_INT64, _NANOSECOND = (word(salt) for salt in ("fraction", "uint64", "ns"))
_NO_BITS = np.uint64(0)


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one array: their class, two lanes, and which are not null (None: all are not)."""

    kind: str
    low: Words
    high: Words
    valid: npt.NDArray[np.bool_] | None

    def keyed(self, name: str) -> tuple[Words, Words]:
        """Return the lanes bound to a column name and to the class; a null gives zero in both."""
        low_key, high_key = key_of(name, self.kind)
        low, high = mix(self.low ^ low_key), mix(self.high + high_key)
        if self.valid is not None:
            low *= self.valid
            high *= self.valid
        return low, high


def cells(array: pa.Array[Any]) -> Cells:
    """Return the cells of `array`, which may be a slice.

    Raises:
        SourceError: terminal; a type that cannot be hashed (a union).
    """
    array = plain(array)
    kind, low, high = _lanes(array)
    if array.null_count == 0:
        return Cells(kind, low, high, None)
    return Cells(kind, low, high, np.asarray(array.is_valid()))


def _lanes(array: pa.Array[Any]) -> tuple[str, Words, Words]:
    kind: Any = array.type
    if pa.types.is_null(kind):
        return _one("null", np.zeros(len(array), U64))
    if pa.types.is_boolean(kind):
        return _one("boolean", np.asarray(array.cast(pa.uint8()).fill_null(0)).astype(U64))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _one("number", _numbers(values_of(array, kind.to_pandas_dtype())))
    if pa.types.is_decimal(kind):
        return "number", *decimal_lanes(array)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text", *_bytes(array)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return "bytes", *_bytes(array)
    if pa.types.is_temporal(kind):
        return _temporal(array)
    if pa.types.is_struct(kind):
        return "struct", *_structs(array)
    if pa.types.is_map(kind):
        return "map", *_lists(array)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "list", *_lists(array)
    raise SourceError(f"a column of type {kind} cannot be hashed: turn it into text, numbers, times, lists or structs")


def _one(kind: str, lane: Words) -> tuple[str, Words, Words]:
    return kind, lane, lane


def _numbers(values: npt.NDArray[Any]) -> Words:
    if values.dtype.kind == "i":
        return values.astype(np.int64, copy=False).view(U64)
    if values.dtype == U64:
        return np.where(values >> np.uint64(63), values ^ _ABOVE_INT64, values)
    if values.dtype.kind == "u":
        return values.astype(U64)
    floats = values.astype(np.float64)
    bits = np.where(np.isnan(floats), np.nan, floats).view(U64) ^ _FRACTION
    with np.errstate(invalid="ignore"):
        whole = np.floor(floats) == floats
        small = whole & (np.abs(floats) < 2.0**63) | (floats == -(2.0**63))
        bits = np.where(small, floats.astype(np.int64).view(U64), bits)
        large = whole & (floats >= 2.0**63) & (floats < 2.0**64)
        return np.where(large, floats.astype(U64) ^ _ABOVE_INT64, bits) if large.any() else bits


def _bytes(array: pa.Array[Any]) -> tuple[Words, Words]:
    data = array.buffers()[1 if pa.types.is_fixed_size_binary(array.type) else 2]
    return hash_bytes(offsets_of(array), data)


def _temporal(array: pa.Array[Any]) -> tuple[str, Words, Words]:
    kind: Any = array.type
    if pa.types.is_date(kind):
        days = pa.types.is_date32(kind)
        return _one("instant", _times(values_of(array, np.int32 if days else np.int64), _DAY if days else 1_000))
    if pa.types.is_interval(kind):
        return "interval", *hash_of(values_of(array, np.dtype("V16")).view(U64).reshape(-1, 2), _NO_BITS)
    name = "instant" if pa.types.is_timestamp(kind) else "duration" if pa.types.is_duration(kind) else "time of day"
    values = values_of(array, np.int32 if pa.types.is_time32(kind) else np.int64)
    return _one(name, _times(values, TIME_UNITS.get(kind.unit, 0)))


def _times(values: npt.NDArray[Any], factor: int) -> Words:
    values = values.astype(np.int64, copy=False)
    if factor:
        return (values * factor if factor > 1 else values).view(U64)
    micros = values // 1_000
    return np.where(micros * 1_000 == values, micros.view(U64), values.view(U64) ^ _NANOSECOND)


def _structs(array: Any) -> tuple[Words, Words]:
    low, high = np.zeros(len(array), U64), np.zeros(len(array), U64)
    for place in range(array.type.num_fields):
        # `field` follows the struct's own slice; nulls of the struct itself are masked by the caller.
        child_low, child_high = cells(array.field(place)).keyed(array.type.field(place).name)
        low += child_low
        high += child_high
    return low, high


def _lists(array: Any) -> tuple[Words, Words]:
    ends = offsets_of(array)
    first, last = int(ends[0]), int(ends[-1])
    ends = ends - first
    if pa.types.is_map(array.type):
        # A map has no order: its entries are added as they are.
        names = ("key", "value")
        entries = (array.keys.slice(first, last - first), array.items.slice(first, last - first))
        lanes = [cells(entry).keyed(name) for name, entry in zip(names, entries, strict=True)]
        low, high = (mix(key + value) for key, value in zip(*lanes, strict=True))
    else:
        low, high = cells(array.values.slice(first, last - first)).keyed("element")
        position = mix((np.arange(last - first) - np.repeat(ends[:-1], np.diff(ends))).view(U64))
        low, high = mix(low ^ position), mix(high + position)
    counts = mix(np.diff(ends).view(U64))
    return slice_sums(low, ends) + counts, slice_sums(high, ends) + counts
