"""Digests add up, in any order, and take away again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.core.digest import Digest
from stream_assets.errors import LakeError

lanes = st.integers(0, 2**64 - 1)
digests = st.builds(Digest, lanes, lanes)


@given(st.lists(digests), st.randoms())
def test_a_sum_takes_no_notice_of_order(parts: list[Digest], random: Any) -> None:
    shuffled = parts.copy()
    random.shuffle(shuffled)
    assert Digest.total(parts) == Digest.total(shuffled)


@given(st.lists(digests), st.lists(digests))
def test_the_digest_of_a_day_is_the_sum_of_its_parts(morning: list[Digest], evening: list[Digest]) -> None:
    assert Digest.total(morning) + Digest.total(evening) == Digest.total(morning + evening)


@given(digests, digests)
def test_what_is_added_can_be_taken_away(a: Digest, b: Digest) -> None:
    assert a + b - b == a
    assert a - a == Digest()
    assert a + Digest() == a


@given(digests, digests)
def test_sums_stay_within_128_bits(a: Digest, b: Digest) -> None:
    total = a + b
    assert 0 <= total.low < 2**64
    assert 0 <= total.high < 2**64


@given(digests)
def test_text_round_trips(a: Digest) -> None:
    assert Digest.parse(str(a)) == a
    assert len(str(a)) == 34
    assert len(a.short) == 8


@pytest.mark.parametrize(
    "text", ["", "1:", "2:" + "0" * 32, "1:" + "0" * 31, "1:" + "z" * 32, "1:" + " " + "0" * 31, "0" * 32]
)
def test_what_is_no_digest_of_this_version_is_refused(text: str) -> None:
    with pytest.raises(LakeError, match="is no digest of version 1"):
        Digest.parse(text)


def test_rows_counted_twice_do_not_cancel() -> None:
    row = Digest(3, 5)
    assert row + row != Digest()
    assert row + row == Digest(6, 10)
