"""Counts of how late events come, and what is learned from them."""

from __future__ import annotations

from bisect import bisect_left
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.core.lateness import ALLOWANCES, EDGES, Auto, Lateness, allowed, parse_lateness, said
from stream_assets.errors import DeclarationError

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def counted(delays: list[timedelta], overdue: list[timedelta] | None = None, unknown: int = 0) -> Lateness:
    def counts(values: list[timedelta]) -> tuple[int, ...]:
        found = [0] * (max((bisect_left(EDGES, v) for v in values), default=-1) + 1)
        for value in values:
            found[bisect_left(EDGES, value)] += 1
        return tuple(found)

    late = delays if overdue is None else overdue
    return Lateness(len(delays) + unknown, counts(delays), counts(late), max(delays, default=None))


delays = st.lists(st.timedeltas(timedelta(hours=-1), timedelta(days=20)), max_size=30)


@given(delays, delays)
def test_counts_add_up_and_survive_a_receipt(a: list[timedelta], b: list[timedelta]) -> None:
    both = counted(a) + counted(b, unknown=2)
    assert both == counted(a + b, unknown=2)
    assert both.known == len(a) + len(b)
    assert Lateness.from_raw(both.to_raw()) == both


@given(delays)
def test_what_an_allowance_leaves_is_exact(values: list[timedelta]) -> None:
    for allowance in ALLOWANCES:
        assert counted(values).left(allowance) == sum(v > allowance for v in values)


@given(delays.filter(bool), st.sampled_from([0.1, 0.5, 0.99, 0.999]))
def test_a_quantile_is_never_too_low_and_at_most_a_step_too_high(values: list[timedelta], share: float) -> None:
    said = counted(values).quantile(share)
    assert said is not None
    exact = sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]
    assert exact <= said <= max(values)
    if timedelta(0) < exact <= EDGES[-1]:
        assert said <= EDGES[bisect_left(EDGES, exact)]


def test_steps_are_named_by_people_and_hold_what_is_compared() -> None:
    assert set(ALLOWANCES) <= set(EDGES)
    assert list(EDGES) == sorted(set(EDGES))
    assert all(b <= 2.5 * a for a, b in pairwise(EDGES[1:-1]))


@pytest.mark.parametrize(
    ("late", "p", "most", "chosen"),
    [
        ([], 0.999, HOUR, timedelta(0)),
        ([3 * SECOND] * 100, 0.999, HOUR, 5 * SECOND),
        ([3 * SECOND] * 90 + [4 * MINUTE] * 10, 0.999, HOUR, 5 * SECOND),
        ([3 * SECOND] * 90 + [4 * MINUTE] * 11, 0.999, HOUR, 5 * MINUTE),
        ([5 * HOUR] * 100, 0.999, HOUR, HOUR),
        ([5 * HOUR] * 100, 0.99, HOUR, timedelta(0)),
        ([10 * MINUTE] * 100, 0.999, 7 * MINUTE, 7 * MINUTE),
    ],
)
def test_auto_chooses_the_smallest_step_that_leaves_few_enough(
    late: list[timedelta], p: float, most: timedelta, chosen: timedelta
) -> None:
    overdue = [timedelta(minutes=-2)] * (10_000 - len(late)) + late
    learned = Auto(p, most).learned(counted([SECOND] * 10_000, overdue))
    assert learned.chosen == allowed(learned) == chosen
    assert "of 10,000 events came later" in learned.why
    assert f"lateness auto(p={p}" in said(learned)


@pytest.mark.parametrize("seen", [counted([SECOND] * 9_999), counted([SECOND] * 10_000, unknown=10_001)])
def test_auto_stays_at_its_most_until_enough_is_known(seen: Lateness) -> None:
    learned = Auto(0.999, HOUR).learned(seen)
    assert learned.chosen is None
    assert allowed(learned) == HOUR
    assert learned.why.startswith("its max, until the arrival of 10,000 events, and of half of all, is known")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", timedelta(0)), ("2min", 2 * MINUTE), ("auto", Auto()), ("auto()", Auto()),
        ("auto(p=0.999,max=1h)", Auto(0.999, HOUR)), (" auto( max = 90s , p=0.5 ) ", Auto(0.5, 90 * SECOND)),
    ],
)  # fmt: skip
def test_lateness_is_read_as_people_write_it(text: str, value: timedelta | Auto) -> None:
    assert parse_lateness(text) == value
    assert not isinstance(value, Auto) or parse_lateness(str(value)) == value


@pytest.mark.parametrize(
    "text",
    ["", "auto(", "auto(p=2)", "auto(p=0)", "auto(p=nan)", "auto(max=0 s)", "auto(q=1)", "auto(p=x)", "auto(p=.1,p=.2)", "-1 s", "automatic"],
)  # fmt: skip
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(DeclarationError):
        parse_lateness(text)
