"""What a digest is: a value of the rows, whatever their order, types' widths and layout in memory."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_assets.core.digest import Digest
from stream_assets.errors import SourceError
from stream_assets.events.hashing import BLOCK_ROWS, digest, digests_by_slice, hash_events, hash_rows, total

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


NUMBERS: list[Any] = [
    pa.int8(),
    pa.int16(),
    pa.int32(),
    pa.int64(),
    pa.uint8(),
    pa.uint16(),
    pa.uint32(),
    pa.uint64(),
]
NUMBERS += [
    pa.float16(),
    pa.float32(),
    pa.float64(),
    pa.decimal128(21, 2),
    pa.decimal256(60, 20),
    pa.decimal128(38, 0),
]


@pytest.mark.parametrize("kind", NUMBERS, ids=str)
def test_a_whole_number_is_the_same_in_every_numeric_type(kind: Any) -> None:
    plain = pa.array([0, 1, 100, None])
    assert one(plain.cast(kind)) == one(plain)


@given(st.lists(st.none() | st.integers(-(2**53), 2**53)))
def test_integers_widened_to_floats_keep_their_digest(values: list[int | None]) -> None:
    assert one(values, pa.float64()) == one(values, pa.int64())


@given(st.lists(st.none() | st.floats(width=32)))
def test_floats_widened_to_doubles_keep_their_digest(values: list[float | None]) -> None:
    assert one(values, pa.float64()) == one(values, pa.float32())


DECIMALS = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places),
    st.integers(-(10**27), 10**27) | st.sampled_from([2**63, -(2**63), 2**63 - 1, 10**18, -(10**19), 0]),
    st.integers(0, 8),
)


@given(st.lists(st.none() | DECIMALS))
def test_decimals_are_equal_at_any_scale_and_width(values: list[Decimal | None]) -> None:
    expected = one(values, pa.decimal128(38, 8))
    for kind in (pa.decimal128(38, 10), pa.decimal256(38, 9), pa.decimal256(70, 30), pa.decimal256(76, 8)):
        assert one(values, kind) == expected
    if all(value is None or (value == int(value) and -(2**63) <= value < 2**63) for value in values):
        assert one([None if value is None else int(value) for value in values], pa.int64()) == expected


@given(DECIMALS, DECIMALS)
def test_unequal_decimals_differ(a: Decimal, b: Decimal) -> None:
    assert (one([a], pa.decimal256(50, 8)) == one([b], pa.decimal256(60, 12))) == (a == b)


@pytest.mark.parametrize("kind", [pa.decimal32(5, 2), pa.decimal64(12, 4), pa.decimal128(9, 3)], ids=str)
def test_narrow_decimals_are_the_same_values(kind: Any) -> None:
    values = [Decimal("1.5"), Decimal("-0.25"), Decimal(100), Decimal(0), None]
    assert one(values, kind) == one(values, pa.decimal128(20, 2))
    assert one(pa.array(values, kind)[2:4]) == one([100, 0])


def test_numbers_at_the_edges_stay_apart() -> None:
    values = [
        one([2**64 - 1], pa.uint64()),
        one([-1], pa.int64()),
        one([2**63], pa.uint64()),
        one([-(2**63)], pa.int64()),
        one([0.5]),
        one([Decimal("0.25")]),
        one([float("inf")]),
        one([-float("inf")]),
        one([float("nan")]),
        one([1e300]),
    ]
    assert len(set(values)) == len(values)
    assert one([float(2**63)]) == one([2**63], pa.uint64())
    assert one([-float(2**63)]) == one([-(2**63)], pa.int64())


def test_negative_zero_is_zero_and_nan_is_one_value() -> None:
    assert one([-0.0]) == one([0.0]) == one([0])
    odd = np.array([0x7FF8000000000001, 0xFFF8000000000000], np.uint64).view(np.float64)
    assert one(odd[:1]) == one(odd[1:]) == one([float("nan")])


def test_classes_stay_apart() -> None:
    text, number = one(["1"]), one([1])
    instant = one([1], pa.timestamp("us"))
    rest = [one([b"1"]), one([True]), instant, one([1], pa.duration("us")), one([1], pa.time64("us"))]
    rest += [one([[1]]), one([{"a": 1}]), one([[("a", 1)]], pa.map_(pa.string(), pa.int64()))]
    assert len({text, number, *rest}) == 2 + len(rest)


@given(st.lists(st.none() | TEXT))
def test_text_is_the_same_in_every_layout(values: list[str | None]) -> None:
    plain = pa.array(values, pa.string())
    expected = one(plain)
    assert one(plain.cast(pa.large_string())) == expected
    assert one(plain.cast(pa.string_view())) == expected
    assert one(plain.dictionary_encode()) == expected
    assert one(plain.dictionary_encode(null_encoding="encode")) == expected


@given(st.lists(st.none() | st.binary(min_size=9, max_size=9), min_size=1))
def test_bytes_are_the_same_in_every_layout(values: list[bytes | None]) -> None:
    expected = one(values, pa.binary())
    for kind in (pa.large_binary(), pa.binary(9), pa.binary_view()):
        assert one(values, kind) == expected
        assert one(pa.concat_arrays([pa.array([b"123456789"], kind), pa.array(values, kind)])[1:]) == expected


@given(st.lists(st.none() | st.integers(-9, 9), min_size=1))
def test_run_ends_and_dictionaries_are_their_values(values: list[int | None]) -> None:
    plain = pa.array(values, pa.int64())
    assert one(pa.compute.run_end_encode(plain)) == one(plain)
    assert one(plain.dictionary_encode()) == one(plain)


def test_instants_are_the_same_in_every_unit_and_zone() -> None:
    expected = one([86_400], pa.timestamp("s"))
    for kind, value in (("ms", 86_400_000), ("us", 86_400_000_000), ("ns", 86_400_000_000_000)):
        assert one([value], pa.timestamp(kind)) == expected
        assert one([value], pa.timestamp(kind, "Europe/Berlin")) == expected
    assert one([dt.date(1970, 1, 2)], pa.date32()) == one([dt.date(1970, 1, 2)], pa.date64()) == expected
    assert one([86_400_000_000_001], pa.timestamp("ns")) != expected
    assert one([1], pa.time32("s")) == one([1_000_000], pa.time64("us"))
    assert one([1], pa.duration("s")) == one([10**9], pa.duration("ns")) != one([1], pa.time32("s"))


def test_lists_know_their_order_length_and_nulls() -> None:
    lists = [[], [1], [1, 2], [2, 1], [1, None], [None, 1], [None], [1, 1], [12]]
    assert len({one([values], pa.list_(pa.int64())) for values in lists}) == len(lists)
    nested = [[[1], [2]], [[1, 2]], [[1, 2], []], [[2], [1]]]
    assert len({one([values], pa.list_(pa.list_(pa.int64()))) for values in nested}) == len(nested)


@given(st.lists(st.none() | st.lists(st.integers(-3, 3), min_size=2, max_size=2), min_size=1))
def test_lists_are_the_same_in_every_layout(values: list[list[int] | None]) -> None:
    expected = one(values, pa.list_(pa.int64()))
    for kind in (pa.large_list(pa.int64()), pa.list_(pa.int64(), 2), pa.list_(pa.float32())):
        assert one(values, kind) == expected
        assert one(pa.concat_arrays([pa.array([[8, 9]], kind), pa.array(values, kind)])[1:]) == expected


def test_structs_take_fields_by_name_and_maps_entries_in_any_order() -> None:
    ab = pa.array([{"a": 1, "b": "x"}, None])
    ba = pa.StructArray.from_arrays([ab.field("b"), ab.field("a")], ["b", "a"], mask=ab.is_null())
    assert one(ab) == one(ba)
    assert one([{"a": 1, "b": None}], pa.struct([("a", pa.int64()), ("b", pa.int64())])) == one([{"a": 1}])
    kind = pa.map_(pa.string(), pa.int64())
    assert one([[("a", 1), ("b", 2)]], kind) == one([[("b", 2), ("a", 1)]], kind)
    assert one([[("a", 1), ("b", 2)]], kind) != one([[("a", 2), ("b", 1)]], kind)


def test_a_null_that_hides_a_value_contributes_nothing() -> None:
    hidden = pa.array([1, 2], mask=np.array([False, True]))
    assert one(hidden) == one([1, None])
    text = pa.Array.from_buffers(
        pa.string(),
        2,
        [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([0, 1, 3], np.int32)), pa.py_buffer(b"abc")],
    )
    assert one(text) == one(["a", None])


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["", "a", "ä" * 5, "x" * 8, "y" * 9, "z" * 3000]), min_size=1, max_size=30))
def test_skewed_lengths_hash_like_each_text_alone(values: list[str]) -> None:
    assert one(values) == Digest.total(one([value]) for value in values)


def test_texts_that_end_in_zero_bytes_stay_apart() -> None:
    texts = ["", "\0", "\0" * 7, "\0" * 8, "\0" * 9, "\0" * 16, "a", "a\0", "aaaaaaaa", "aaaaaaaa\0"]
    assert len({one([text]) for text in texts}) == len(texts)


def test_many_rows_have_no_hash_twice() -> None:
    rows = 3 * BLOCK_ROWS + 5
    low, high = hash_rows(pa.table({"x": pa.array(range(rows)), "t": [f"id-{n:012d}" for n in range(rows)]}))
    assert len(np.unique(low)) == len(np.unique(high)) == rows


def test_slices_have_digests_of_their_own_and_empty_ones_zero() -> None:
    table = pa.table({"x": list(range(10))})
    low, high = hash_rows(table)
    edges = [0, 0, 4, 4, 10, 10]
    expected = [digest(table.slice(a, b - a)) for a, b in pairwise(edges)]
    assert digests_by_slice(low, high, edges) == expected
    assert expected[0] == expected[2] == expected[4] == Digest()
    assert total(low, high) == digest(table)


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
