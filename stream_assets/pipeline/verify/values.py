# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Two tables of rows, compared by value as multisets: floats within a tolerance, everything else exactly."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_assets.events.hashing import hash_rows

RELATIVE = 1e-9
"""Sums of a million float64 in another order differ by some 1e-13 of their size, at worst by 2e-10 (a million times half
an ulp): a wrong row differs by more than this."""
RELATIVE_SINGLE = 1e-5
"""The same of float32 and float16, whose ulp is 1e-7."""
ABSOLUTE = 1e-9
"""Around zero, where what cancels out has no size to compare with: below a billionth of the unit."""

MOST_ROWS = 10
_LONGEST = 60

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unequal:
    """How a table differs from what it should be.

    Attributes:
        missing: rows that it lacks.
        extra: rows that it has beyond them.
        changed: pairs of one of each that agree in all that names a row, such as its texts and instants.
        columns: what is wrong with its columns, where those differ: then no row was compared.
        rows: up to ten of them, each saying what is wrong with it.
    """

    missing: int = 0
    extra: int = 0
    changed: int = 0
    columns: str = ""
    rows: tuple[str, ...] = ()

    @property
    def counts(self) -> str:
        """How many rows of each kind, such as `1 missing, 2 changed`."""
        counts = {"missing": self.missing, "extra": self.extra, "changed": self.changed}
        return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)

    def __str__(self) -> str:
        return self.columns or f"rows differ: {self.counts}"


def compare_rows(should: pa.Table, there: pa.Table) -> Unequal | None:
    """Say how the rows of `there` differ from those that `should` be; None where they are the same rows in any order.

    NaN equals NaN, -0.0 equals 0.0, 1 equals 1.0. Floats, nested ones too, are equal within `RELATIVE` or `ABSOLUTE`.
    """
    if set(should.column_names) != set(there.column_names):
        said = f"it has the columns {', '.join(there.column_names)}, not {', '.join(should.column_names)}"
        return Unequal(columns=said)
    there = there.select(should.column_names)
    lacking, beyond = _apart(_words(should), _words(there))
    if not len(lacking) and not len(beyond):
        return None
    should, there = should.take(lacking), there.take(beyond)
    tolerances = _tolerances(should.schema, there.schema)
    exact = [name for name in should.column_names if name not in tolerances]
    wanted, got = _near(should, there, exact, tolerances) if tolerances else (should.to_pylist(), there.to_pylist())
    return _said(wanted, got, _naming(should.schema, exact)) if wanted or got else None


def _words(table: pa.Table) -> npt.NDArray[Any]:
    """Return 128 bits of each row: equal rows have equal ones."""
    low, high = hash_rows(table, skip=())
    return np.column_stack([low, high]).view([("low", "u8"), ("high", "u8")]).ravel()


def _apart(should: npt.NDArray[Any], there: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the places of what each side has beyond the other, as multisets."""
    _, group = np.unique(np.concatenate([should, there]), return_inverse=True)
    ours, theirs = group[: len(should)], group[len(should) :]
    counts = [np.bincount(side, minlength=len(group)) for side in (ours, theirs)]
    shared = np.minimum(*counts)
    return _beyond(ours, shared), _beyond(theirs, shared)


def _beyond(group: npt.NDArray[np.int64], shared: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    rank = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    return np.sort(order[rank >= shared[ordered]])


def _tolerances(*schemas: pa.Schema) -> dict[str, float]:
    """Return the columns that hold floats on either side, with the relative tolerance of each."""
    found: dict[str, float] = {}
    for schema in schemas:
        for field in schema:
            tolerance = _tolerance(field.type)
            if tolerance:
                found[field.name] = max(tolerance, found.get(field.name, 0.0))
    return found


def _tolerance(kind: Any) -> float:
    if pa.types.is_floating(kind):
        return RELATIVE if pa.types.is_float64(kind) else RELATIVE_SINGLE
    if pa.types.is_dictionary(kind):
        return _tolerance(kind.value_type)
    if not pa.types.is_nested(kind):
        return 0.0
    return max((_tolerance(kind.field(place).type) for place in range(kind.num_fields)), default=0.0)


def _near(
    should: pa.Table, there: pa.Table, exact: Sequence[str], tolerances: dict[str, float]
) -> tuple[list[Row], list[Row]]:
    """Pair rows whose floats are near and whose other columns are equal; return those without a partner."""
    groups: dict[Any, list[Row]] = {}
    plain = (
        name for name in tolerances if all(pa.types.is_floating(t.schema.field(name).type) for t in (should, there))
    )
    lead = next(plain, None)
    for key, row in zip(_keys(there, exact), there.to_pylist(), strict=True):
        groups.setdefault(key, []).append(row)
    for rows in groups.values():
        rows.sort(key=lambda row: _size(row, lead))
    wanted: list[Row] = []
    for key, row in zip(_keys(should, exact), should.to_pylist(), strict=True):
        group = groups.get(key, [])
        partner = next(
            (p for p in _candidates(group, row, lead, tolerances) if _are_near(row, group[p], tolerances)), None
        )
        if partner is None:
            wanted.append(row)
        else:
            del group[partner]
    return wanted, [row for group in groups.values() for row in group]


def _keys(table: pa.Table, exact: Sequence[str]) -> Iterable[Any]:
    return _words(table.select(exact)).tolist() if exact else [()] * table.num_rows


def _candidates(group: list[Row], row: Row, lead: str | None, tolerances: dict[str, float]) -> Iterable[int]:
    """Return the places in `group`, which is sorted by `lead`, of what may be near in that column."""
    if lead is None:
        return range(len(group))
    size = _size(row, lead)
    slack = max(ABSOLUTE, 2 * tolerances[lead] * abs(size)) if math.isfinite(size) else 0.0
    first = bisect_left(group, size - slack, key=lambda other: _size(other, lead))
    last = bisect_left(group, math.nextafter(size + slack, math.inf), key=lambda other: _size(other, lead))
    return range(first, len(group) if size == math.inf else last)


def _size(row: Row, lead: str | None) -> float:
    """Return a float that sorts: nulls and NaN come first."""
    value = row[lead] if lead else None
    return -math.inf if value is None or math.isnan(value) else value


def _are_near(one: Row, other: Row, tolerances: dict[str, float]) -> bool:
    return all(_is_near(one[name], other[name], tolerance) for name, tolerance in tolerances.items())


def _is_near(one: Any, other: Any, relative: float) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        if one is None or other is None:
            return False
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return math.isclose(one, other, rel_tol=relative, abs_tol=ABSOLUTE)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(_is_near(a, b, relative) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_near(one[key], other[key], relative) for key in one)
    return one == other


def _naming(schema: pa.Schema, exact: Sequence[str]) -> list[str]:
    """Return the columns that say which row it is: the exact ones that hold no number, else the first."""
    plain = (n for n in exact if not pa.types.is_nested(schema.field(n).type))
    names = [n for n in plain if not pa.types.is_integer(schema.field(n).type)]
    return names or schema.names[:1]


def _said(wanted: list[Row], got: list[Row], naming: Sequence[str]) -> Unequal:
    """Count what differs, and name up to ten rows."""
    count_wanted, count_got = (Counter(_name(row, naming) for row in rows) for rows in (wanted, got))
    ours = {_name(row, naming): row for row in wanted}
    pairs = [(ours[name], row) for row in got if count_got[name := _name(row, naming)] == 1 and count_wanted[name] == 1]
    paired = {_name(row, naming) for _, row in pairs}
    missing = [row for row in wanted if _name(row, naming) not in paired]
    extra = [row for row in got if _name(row, naming) not in paired]
    said = [f"missing: {_worded(row, row)}" for row in missing]
    said += [f"extra: {_worded(row, row)}" for row in extra]
    said += [f"changed: {_change(should, there, naming)}" for should, there in pairs]
    return Unequal(len(missing), len(extra), len(pairs), rows=tuple(said[:MOST_ROWS]))


def _name(row: Row, naming: Sequence[str]) -> tuple[str, ...]:
    return tuple(repr(row[n]) for n in naming)


def _worded(row: Row, names: Iterable[str]) -> str:
    return ", ".join(f"{name}={_short(row[name])}" for name in names)


def _change(should: Row, there: Row, naming: Sequence[str]) -> str:
    changes = (
        f"{name} is {_short(there[name])}, not {_short(should[name])}"
        for name in should
        if repr(should[name]) != repr(there[name])
    )
    return f"{_worded(should, naming)}: {', '.join(changes)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
