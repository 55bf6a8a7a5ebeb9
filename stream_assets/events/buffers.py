"""Arrow arrays as numpy arrays over the same memory, and the other way round."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


def plain(array: pa.Array[Any]) -> pa.Array[Any]:
    """Return the same values without extension, dictionary, run-end or view encoding on the outside."""
    coded: Any = array
    while True:
        kind: Any = coded.type
        if isinstance(coded, pa.ExtensionArray):
            coded = cast("Any", coded).storage
        elif pa.types.is_dictionary(kind):
            coded = coded.dictionary_decode()
        elif pa.types.is_run_end_encoded(kind):
            coded = cast("Any", pc).run_end_decode(coded)
        elif kind == pa.string_view():
            coded = coded.cast(pa.large_string())
        elif kind == pa.binary_view():
            coded = coded.cast(pa.large_binary())
        elif pa.types.is_list_view(kind):
            coded = coded.cast(pa.list_(kind.value_field))
        elif pa.types.is_large_list_view(kind):
            coded = coded.cast(pa.large_list(kind.value_field))
        else:
            return coded


def values_of(array: pa.Array[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return the values of a fixed-width array; what stands at a null is arbitrary."""
    return _over(array.buffers()[1], dtype, array.offset, len(array))


def numbers_of(column: pa.ChunkedArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return the values of a fixed-width column, over the same memory where it is in one piece."""
    pieces = [values_of(chunk, dtype) for chunk in column.chunks]
    return pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0, dtype), *pieces])


def offsets_of(array: pa.Array[Any]) -> npt.NDArray[np.int64]:
    """Return where each value of text, bytes, lists or maps begins and ends: one more than there are values.

    They count bytes of the data buffer, or rows of the list values, from the beginning of those.
    """
    kind: Any = array.type
    if pa.types.is_fixed_size_binary(kind):
        return np.arange(array.offset, array.offset + len(array) + 1) * kind.byte_width
    if pa.types.is_fixed_size_list(kind):
        return np.arange(array.offset, array.offset + len(array) + 1) * kind.list_size
    wide = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind) or pa.types.is_large_list(kind)
    dtype = np.int64 if wide else np.int32
    return _over(array.buffers()[1], dtype, array.offset, len(array) + 1).astype(np.int64, copy=False)


def array_of(
    values: npt.NDArray[Any], kind: pa.DataType, *, nulls: npt.NDArray[np.bool_] | None = None
) -> pa.Array[Any]:
    """Return numbers or truth values of a fixed width as an array of `kind` over the same memory.

    `pa.array`, like `pa.scalar` and `to_numpy`, imports pandas where that is installed: a quarter of what a small run takes.

    Args:
        values: of the width of `kind`; truth values are packed to bits.
        kind: type of the array.
        nulls: where it is null; nowhere by default.
    """
    data = _bits(values) if values.dtype == np.bool_ else pa.py_buffer(np.ascontiguousarray(values).data)
    valid = None if nulls is None else _bits(~nulls)
    return cast("Any", pa.Array).from_buffers(kind, len(values), [valid, data])


def _bits(values: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little").data)


def padded(data: pa.Buffer | None, start: int, size: int, room: int) -> npt.NDArray[np.uint8]:
    """Return a copy of `data[start : start + size]` with `room` zero bytes behind it."""
    copy = np.zeros(size + room, np.uint8)
    copy[:size] = _over(data, np.uint8, start, size)
    return copy


def _over(buffer: Any, dtype: npt.DTypeLike, start: int, count: int) -> npt.NDArray[Any]:
    # An array without values may have no buffer, or one of no bytes.
    if buffer is None or buffer.size == 0:
        return np.zeros(count, dtype)
    return np.frombuffer(buffer, dtype, count, start * np.dtype(dtype).itemsize)
