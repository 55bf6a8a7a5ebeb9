"""What a digest is: a value of the rows, whatever their order, types' widths and layout in memory."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.core.digest import Digest
from stream_assets.errors import SourceError
from stream_assets.events.hashing import BLOCK_ROWS, digest, hash_events, hash_rows

TEXT = st.text(max_size=40)
ROW = st.tuples(
    st.none() | TEXT,
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(allow_nan=True),
    st.none() | st.booleans(),
    st.none() | st.binary(max_size=20),
    st.none() | st.integers(-(2**40), 2**40),
    st.none() | st.lists(st.none() | st.integers(-3, 3), max_size=4),
    st.none() | st.fixed_dictionaries({"a": st.none() | st.integers(-3, 3), "b": st.none() | TEXT}),
)
SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("int", pa.int64()),
        ("float", pa.float64()),
        ("flag", pa.bool_()),
        ("bytes", pa.binary()),
        ("when", pa.timestamp("us", tz="UTC")),
        ("list", pa.list_(pa.int64())),
        ("struct", pa.struct([("a", pa.int64()), ("b", pa.string())])),
    ]
)
ROWS = st.lists(ROW, max_size=12)


def table_of(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = [
        pa.array([row[n] for row in rows], pa.int64()).view(kind)
        if pa.types.is_timestamp(kind)
        else pa.array([row[n] for row in rows], kind)
        for n, kind in enumerate(SCHEMA.types)
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def one(values: Any, kind: Any = None, name: str = "x") -> Digest:
    return digest(pa.table({name: pa.array(values, kind)}))


@given(ROWS, st.randoms())
def test_the_order_of_rows_and_columns_makes_no_difference(rows: list[Any], random: Any) -> None:
    table = table_of(rows)
    order, names = list(range(len(rows))), list(SCHEMA.names)
    random.shuffle(order)
    random.shuffle(names)
    shuffled = table.take(pa.array(order, pa.int64())).select(names)
    assert digest(shuffled) == digest(table)


@given(ROWS, ROWS)
def test_digests_add_up(a: list[Any], b: list[Any]) -> None:
    assert digest(table_of(a)) + digest(table_of(b)) == digest(table_of(a + b))
    assert digest(table_of(a + b)) - digest(table_of(b)) == digest(table_of(a))


@given(ROWS, st.integers(0, 12), st.integers(0, 12))
def test_a_slice_hashes_like_a_copy_of_it(rows: list[Any], start: int, length: int) -> None:
    cut = table_of(rows).slice(start, length)
    low, high = hash_rows(cut)
    copy_low, copy_high = hash_rows(table_of(rows[start : start + length]))
    assert low.tolist() == copy_low.tolist()
    assert high.tolist() == copy_high.tolist()


@given(ROWS, st.lists(st.integers(0, 12), max_size=3))
def test_chunks_make_no_difference(rows: list[Any], cuts: list[int]) -> None:
    table = table_of(rows)
    edges = [0, *sorted(cuts), len(rows)]
    pieces = [table.slice(a, max(0, b - a)) for a, b in pairwise(edges)]
    assert digest(pa.concat_tables(pieces).slice(0, len(rows))) == digest(table)


@given(st.lists(ROW, min_size=1, max_size=8), st.data())
def test_any_changed_cell_changes_the_digest(rows: list[Any], data: Any) -> None:
    place = data.draw(st.integers(0, len(rows) - 1))
    other = data.draw(ROW)
    before, after = table_of(rows), table_of([*rows[:place], other, *rows[place + 1 :]])
    assert (digest(before) == digest(after)) == _same(rows[place], other)


def _same(a: Any, b: Any) -> bool:
    """Equal as a digest sees it: NaN is one value, and a null field of a struct is no field."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    if isinstance(a, tuple):
        return all(_same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def test_values_cannot_change_places_between_rows() -> None:
    before = pa.table({"a": [1, 2], "b": [10, 20]})
    assert digest(before) != digest(pa.table({"a": [1, 2], "b": [20, 10]}))


def test_a_value_is_bound_to_the_name_of_its_column() -> None:
    assert one([1], name="x") != one([1], name="y")
    assert digest(pa.table({"a": [1], "b": [2]})) != digest(pa.table({"a": [2], "b": [1]}))
    left = pa.table({"s": pa.array([{"a": 1, "b": 2}])})
    assert digest(left) != digest(pa.table({"s": pa.array([{"a": 2, "b": 1}])}))


def test_every_row_counts_even_one_of_nulls() -> None:
    assert digest(pa.table({"x": pa.nulls(1)})) != digest(pa.table({"x": pa.nulls(2)}))
    assert digest(pa.table({"x": pa.nulls(0)})) == Digest()


@given(ROWS)
def test_a_column_of_nulls_contributes_nothing(rows: list[Any]) -> None:
    table = table_of(rows)
    for kind in (pa.null(), pa.int64(), pa.string(), pa.list_(pa.int8())):
        assert digest(table.append_column("later", pa.nulls(len(rows), kind))) == digest(table)


def test_arrival_time_is_left_out_unless_asked_for() -> None:
    table = pa.table({"event_id": [1, 2], "arrival_time": [5, 6]})
    assert digest(table) == digest(table.select(["event_id"]))
    assert digest(table, skip=()) != digest(table)


def test_many_rows_have_no_hash_twice() -> None:
    rows = 3 * BLOCK_ROWS + 5
    low, high = hash_rows(pa.table({"x": pa.array(range(rows)), "t": [f"id-{n:012d}" for n in range(rows)]}))
    assert len(np.unique(low)) == len(np.unique(high)) == rows


def test_equal_ids_have_equal_words_whatever_else_their_rows_hold() -> None:
    hashes = hash_events(pa.table({"event_id": ["a", "b", "a"], "x": [1, 2, 3]}))
    assert hashes.ids[0] == hashes.ids[2] != hashes.ids[1]
    assert hashes.low[0] != hashes.low[2]


def test_a_union_is_refused() -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    with pytest.raises(SourceError, match="cannot be hashed"):
        one(union)


def test_the_digest_of_version_1_never_changes() -> None:
    table = pa.table(
        {
            "event_id": ["a", "a longer identifier", None],
            "event_time": pa.array([0, 1_772_323_200_000_000, None], pa.timestamp("us", tz="UTC")),
            "n": [1.5, 2.0, None],
            "d": pa.array([Decimal("1.10"), None, Decimal(3)]),
            "l": [[1, 2], None, []],
            "s": [{"a": True}, {"a": None}, None],
            "b": [b"\x00", b"", None],
        }
    )
    assert str(digest(table)) == "1:4f9186c9509f9ad614d21cf29aa865ac"
