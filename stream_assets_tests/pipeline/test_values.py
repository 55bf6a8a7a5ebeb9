"""Rows are compared by value, as multisets, floats within a tolerance."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.pipeline.verify.values import ABSOLUTE, RELATIVE, Unequal, compare_rows


def rows(**columns: Any) -> pa.Table:
    return pa.table(columns)


def test_the_same_rows_in_another_order_are_equal() -> None:
    assert compare_rows(rows(c=["de", "fr"], n=[1, 2]), rows(c=["fr", "de"], n=[2, 1])) is None


def test_columns_in_another_order_and_of_a_wider_type_are_equal() -> None:
    there = pa.table({"n": pa.array([2.0, 1.0]), "c": pa.array(["b", "a"], pa.large_string())})
    assert compare_rows(rows(c=["a", "b"], n=[1, 2]), there) is None


def test_a_row_that_is_there_twice_is_extra() -> None:
    found = compare_rows(rows(c=["de", "fr"]), rows(c=["de", "fr", "fr"]))
    assert found == Unequal(extra=1, rows=("extra: c=fr",))


def test_missing_extra_and_changed_rows_are_counted_and_named() -> None:
    found = compare_rows(rows(c=["de", "fr", "it"], n=[1, 2, 3]), rows(c=["de", "fr", "es"], n=[1, 5, 4]))
    assert found is not None
    assert (found.missing, found.extra, found.changed) == (1, 1, 1)
    assert found.rows == ("missing: c=it, n=3", "extra: c=es, n=4", "changed: c=fr: n is 5, not 2")
    assert str(found) == "rows differ: 1 missing, 1 extra, 1 changed"


def test_ten_rows_are_named_and_all_are_counted() -> None:
    found = compare_rows(rows(n=list(range(50))), rows(n=[1]))
    assert found is not None
    assert (found.missing, len(found.rows)) == (49, 10)


@pytest.mark.parametrize(("should", "there"), [(math.nan, math.nan), (-0.0, 0.0), (math.inf, math.inf), (None, None)])
def test_nan_is_nan_and_minus_zero_is_zero(should: float | None, there: float | None) -> None:
    assert compare_rows(rows(x=pa.array([should, 1.0])), rows(x=pa.array([1.0 + 1e-15, there]))) is None


@pytest.mark.parametrize(("should", "there"), [(math.nan, 0.0), (None, 0.0), (None, math.nan), (math.inf, -math.inf)])
def test_nan_null_and_infinity_are_no_number(should: float | None, there: float) -> None:
    should_be, is_there = (pa.table({"x": pa.array([v], pa.float64(), from_pandas=False)}) for v in (should, there))
    assert compare_rows(should_be, is_there) is not None


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e15])
def test_floats_are_equal_within_the_tolerance_and_not_beyond(size: float) -> None:
    slack = max(ABSOLUTE, RELATIVE * size)
    assert compare_rows(rows(k=[1], x=[size]), rows(k=[1], x=[size + 0.9 * slack])) is None
    assert compare_rows(rows(k=[1], x=[size]), rows(k=[1], x=[size + 2.1 * slack])) is not None


def test_integers_decimals_and_texts_have_no_tolerance() -> None:
    assert compare_rows(rows(n=[10**15]), rows(n=[10**15 + 1])) is not None
    assert compare_rows(rows(t=["1.0"]), rows(t=["1.0000000000001"])) is not None


def test_floats_inside_lists_and_structs_have_the_tolerance() -> None:
    should, there = [{"v": [1.0, 2.0], "t": "a"}], [{"v": [1.0, 2.0 + 1e-14], "t": "a"}]
    assert compare_rows(rows(s=should), rows(s=there)) is None
    assert compare_rows(rows(s=should), rows(s=[{"v": [1.0, 2.1], "t": "a"}])) is not None
    assert compare_rows(rows(s=should), rows(s=[{"v": [1.0], "t": "a"}])) is not None


def test_other_columns_are_said() -> None:
    found = compare_rows(rows(a=[1]), rows(b=[1]))
    assert str(found) == "it has the columns b, not a"


FLOATS = st.floats(-1e200, 1e200).map(lambda x: round(x, 3)) | st.sampled_from([math.nan, math.inf, -math.inf])


@given(
    st.lists(st.tuples(st.integers(0, 2), FLOATS, FLOATS), max_size=30),
    st.randoms(use_true_random=False),
    st.floats(-1, 1),
)
def test_rows_whose_floats_jitter_within_the_tolerance_are_equal_in_any_order(
    drawn: list[tuple[int, float, float]], random: Any, jitter: float
) -> None:
    def moved(value: float) -> float:
        return value * (1 + 0.4 * RELATIVE * jitter)

    shuffled = [(k, moved(x), moved(y)) for k, x, y in drawn]
    random.shuffle(shuffled)
    kinds = {"k": pa.int64(), "x": pa.float64(), "y": pa.float64()}

    def table(of: list[tuple[int, float, float]]) -> pa.Table:
        columns = zip(*of, strict=True) if of else ((), (), ())
        arrays = [
            pa.array(values, kind, from_pandas=False) for values, kind in zip(columns, kinds.values(), strict=True)
        ]
        return pa.table(arrays, names=list(kinds))

    assert compare_rows(table(drawn), table(shuffled)) is None
    if drawn:
        lost = compare_rows(table(drawn), table(shuffled[1:]))
        assert lost is not None
        assert (lost.missing, lost.extra, lost.changed) == (1, 0, 0)
