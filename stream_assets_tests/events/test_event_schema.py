"""Columns of one stream under one schema: wider types yes, other values never."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from stream_assets.errors import SourceError
from stream_assets.events.hashing import digest
from stream_assets.events.schema import EMPTY, align, unify


def of(kind: Any) -> pa.Schema:
    return pa.schema([("x", kind)])


@pytest.mark.parametrize(
    ("kinds", "wide"),
    [
        ([pa.null(), pa.string()], pa.string()),
        ([pa.int8(), pa.int64()], pa.int64()),
        ([pa.int64(), pa.float64()], pa.float64()),
        ([pa.int32(), pa.decimal128(5, 2)], pa.decimal128(11, 2)),
        ([pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")], pa.timestamp("ns", "UTC")),
        ([pa.string(), pa.large_string()], pa.large_string()),
    ],
)
def test_a_widened_column_keeps_its_digest(kinds: list[Any], wide: Any) -> None:
    schema = unify([of(kind) for kind in kinds])
    assert schema.field("x").type == wide
    for kind in kinds:
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        values = pa.nulls(2) if pa.types.is_null(kind) else pa.array(["1", None] if text else [1, None], kind)
        table = pa.table({"x": values})
        assert align(table, schema).schema == schema
        assert digest(align(table, schema)) == digest(table)


@pytest.mark.parametrize(
    "kinds",
    [
        (pa.string(), pa.int64()),
        (pa.bool_(), pa.int64()),
        (pa.string(), pa.binary()),
        (pa.decimal128(5, 2), pa.float64()),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
        (pa.date32(), pa.string()),
    ],
)
def test_types_that_would_change_values_are_refused_by_name(kinds: tuple[Any, Any]) -> None:
    with pytest.raises(SourceError, match=r"column 'x' is .* and .* give it one type"):
        unify([of(kind) for kind in kinds])


def test_columns_keep_the_order_in_which_they_were_first_named() -> None:
    first, second = (
        pa.schema([("b", pa.int64()), ("a", pa.int64())]),
        pa.schema([("c", pa.int64()), ("a", pa.int64())]),
    )
    assert unify([first, second, first]).names == ["b", "a", "c"]
    assert unify([]) == EMPTY


def test_a_missing_column_is_null_and_the_order_is_the_schema_s() -> None:
    aligned = align(pa.table({"a": [1]}), pa.schema([("b", pa.string()), ("a", pa.int64())]))
    assert aligned.to_pylist() == [{"b": None, "a": 1}]
    assert aligned.column_names == ["b", "a"]


def test_a_doubled_name_is_refused() -> None:
    doubled = pa.schema([("x", pa.int64()), ("x", pa.int64())])
    with pytest.raises(SourceError, match="different names"):
        unify([doubled, of(pa.int64())])
