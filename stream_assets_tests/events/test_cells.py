"""What one value is: equal values of a class have equal cells, whatever their Arrow type and layout."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_assets.core.digest import Digest
from stream_assets.events.hashing import digest

run_end_encode: Any = vars(pc)["run_end_encode"]

TEXT = st.text(max_size=40)


def one(values: Any, kind: Any = None, name: str = "x") -> Digest:
    return digest(pa.table({name: pa.array(values, kind)}))


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
    assert one(run_end_encode(plain)) == one(plain)
    assert one(plain.dictionary_encode()) == one(plain)


def test_instants_are_the_same_in_every_unit_and_zone() -> None:
    expected = one([86_400], pa.timestamp("s"))
    units: list[tuple[Any, int]] = [("ms", 10**3), ("us", 10**6), ("ns", 10**9)]
    for unit, second in units:
        assert one([86_400 * second], pa.timestamp(unit)) == expected
        assert one([86_400 * second], pa.timestamp(unit, "Europe/Berlin")) == expected
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


@given(st.lists(st.none() | st.lists(st.tuples(st.text(max_size=2), st.integers(0, 3)), max_size=3), min_size=2))
def test_slices_of_nested_values_hash_like_copies(values: list[Any]) -> None:
    entries = [None if value is None else [{"k": k, "v": v} for k, v in value] for value in values]
    structs = pa.list_(pa.struct([("k", pa.string()), ("v", pa.int64())]))
    for kind, rows in ((pa.map_(pa.string(), pa.int64()), values), (structs, entries)):
        cut = pa.array(rows, kind)[1:]
        assert one(cut) == one(rows[1:], kind) == Digest.total(one([row], kind) for row in rows[1:])


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
    buffers = [b"\x01", np.array([0, 1, 3], np.int32).tobytes(), b"abc"]
    text = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(buffer) for buffer in buffers])
    assert one(text) == one(["a", None])


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["", "a", "ä" * 5, "x" * 8, "y" * 9, "z" * 3000]), min_size=1, max_size=30))
def test_skewed_lengths_hash_like_each_text_alone(values: list[str]) -> None:
    assert one(values) == Digest.total(one([value]) for value in values)


def test_texts_that_end_in_zero_bytes_stay_apart() -> None:
    texts = ["", "\0", "\0" * 7, "\0" * 8, "\0" * 9, "\0" * 16, "a", "a\0", "aaaaaaaa", "aaaaaaaa\0"]
    assert len({one([text]) for text in texts}) == len(texts)
