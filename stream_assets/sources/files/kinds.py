# pyright: reportUnknownMemberType=false
"""Which kind of value the cells of a CSV column are, by how they are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

KINDS: dict[str, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
}


def as_kind(cells: Any, kind: str, *, strict: bool = True) -> Any | None:
    """Return the array `cells` of text as `kind`, or None where one of them is not written as that kind.

    Args:
        cells: an Arrow array of strings.
        kind: one of `KINDS`.
        strict: whether a number with leading zeros is none.
    """
    if kind == "text":
        return cells
    if kind == "bool":
        compute: Any = pc
        lower = compute.utf8_lower(cells)
        known = compute.is_in(lower.drop_null(), pa.array(["true", "false"]))
        return compute.equal(lower, "true") if compute.all(known).as_py() else None
    if strict and _leads_with_zero(cells):
        return None
    try:
        # A cast that fails costs an error a cell, so a few cells go first.
        cells.slice(0, 16).cast(KINDS[kind])
        return cells.cast(KINDS[kind])
    except pa.ArrowInvalid:
        return None


def misfit(cells: Any, kind: str, *, strict: bool) -> tuple[int, str]:
    """Return place and text of the first cell that is not written as `kind`."""
    for place in range(len(cells)):
        if as_kind(cells.slice(place, 1), kind, strict=strict) is None:
            return place, str(cells[place])
    return 0, ""


def _leads_with_zero(cells: Any) -> bool:
    """Whether a cell begins with 0 (or -0) and another digit, as codes do and numbers do not."""
    _, offsets, data = cells.buffers()
    if data is None or not data.size or offsets is None:
        return False
    places: npt.NDArray[np.int32] = np.frombuffer(offsets, np.int32)[cells.offset : cells.offset + len(cells) + 1]
    chars: npt.NDArray[np.uint8] = np.append(np.frombuffer(data, np.uint8), np.zeros(3, np.uint8))
    begins, lengths = places[:-1], np.diff(places)
    signed = (chars[begins] == ord("-")) & (lengths > 0)
    begins, lengths = begins + signed, lengths - signed
    digit = chars[begins + 1] - np.uint8(ord("0"))
    return bool(((lengths > 1) & (chars[begins] == ord("0")) & (digit <= 9)).any())
