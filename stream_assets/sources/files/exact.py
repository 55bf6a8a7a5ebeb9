# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Integers that a float does not hold, looked for where a parser has made floats of them.

A column that mixes them with fractions becomes one of floats before anybody sees its integers, so the text is looked at
again: only where a float is so great that it may stand for another integer.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.errors import SourceError
from stream_assets.events.buffers import values_of
from stream_assets.events.columns import EXACT
from stream_assets.sources.files.listing import Found

_LONG = re.compile(rb"[0-9]{16}")
_compute: Any = pc


def refuse_rounded(file: Found, table: pa.Table, text: bytes) -> None:
    """Refuse JSON lines of which `table` holds an integer, at any depth, as another number.

    Raises:
        SourceError: terminal; the message names the column and the integer.
    """
    columns = zip(table.column_names, table.columns, strict=True)
    kinds: dict[str, Any] = {name: c.type for name, c in columns if any(map(_is_beyond, c.chunks))}
    if not kinds:
        return
    for line in filter(_LONG.search, text.split(b"\n")):
        row: dict[str, Any] = json.loads(line.decode(), parse_int=Decimal)
        for name, kind in kinds.items():
            if (lost := _rounded(row.get(name), kind)) is not None:
                raise _refusal(file, name, f"{lost:f}", "write the column without fractions, or as text")


def refuse_rounded_cells(file: Found, name: str, cells: Any, values: Any, first: int) -> None:
    """Refuse cells of CSV, the first in row `first`, of which an integer is another number in `values`, their floats.

    Raises:
        SourceError: terminal; the message names column, row and integer.
    """
    if not _is_beyond(values):
        return
    great = _compute.greater_equal(_compute.abs(values), float(EXACT))
    suspect = _compute.and_(great, _compute.match_substring_regex(cells, "^[+-]?[0-9]+$"))
    for place in np.flatnonzero(suspect.fill_null(False).to_numpy(zero_copy_only=False)).tolist():
        written = cells[place].as_py()
        if _rounded(Decimal(written), values.type) is not None:
            what_next = f"say types={name}:text to read the column as text, or types={name}:float to have it rounded"
            raise _refusal(file, name, f"{written} in row {first + place}", what_next)


def _is_beyond(array: Any) -> bool:
    """Whether a float in `array`, at any depth, is so great that integers next to it are the same float."""
    kind = array.type
    if pa.types.is_struct(kind):
        return any(_is_beyond(array.field(place)) for place in range(kind.num_fields))
    if pa.types.is_list(kind):
        return _is_beyond(array.values)
    if not pa.types.is_floating(kind):
        return False
    # Whatever stands in the place of a null only makes the text be looked at; of NaN neither is true.
    values = values_of(array, np.dtype(kind.to_pandas_dtype()))
    return bool((values >= EXACT).any() or (values <= -EXACT).any())


def _rounded(value: Any, kind: Any) -> Decimal | None:
    """Return an integer of `value` that is another number as `kind`."""
    if isinstance(value, Decimal):
        return value if pa.types.is_floating(kind) and Decimal(float(value)) != value else None
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict) and pa.types.is_struct(kind):
        inside = [(value.get(f.name), f.type) for f in kind.fields]
    elif isinstance(value, list) and pa.types.is_list(kind):
        inside = [(item, kind.value_type) for item in value]
    return next((lost for item, k in inside if (lost := _rounded(item, k)) is not None), None)


def _refusal(file: Found, name: str, integer: str, what_next: str) -> SourceError:
    return SourceError(
        f"{file.path}: column {name!r} has numbers with a fraction or of more than 64 bits, and among them the integer "
        f"{integer}, which a float cannot hold: {what_next}"
    )
