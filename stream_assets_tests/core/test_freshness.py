"""Durations as people write them, and the lane that a freshness needs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.core.cadence import cadence_of, lane_of
from stream_assets.core.declaration import Declarations, StreamSpec
from stream_assets.core.freshness import Promise, compact, parse_duration, words
from stream_assets.core.planning.decision import decide
from stream_assets.errors import DeclarationError
from stream_assets_tests.core.simulator import consumer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 s", timedelta(seconds=1)), ("30s", timedelta(seconds=30)), ("90 seconds", timedelta(seconds=90)),
        ("5 min", timedelta(minutes=5)), ("5min", timedelta(minutes=5)), ("5 mins", timedelta(minutes=5)), ("1 Minute", timedelta(minutes=1)),
        ("1 h", timedelta(hours=1)), ("1.5 hours", timedelta(minutes=90)), ("  7 days ", timedelta(days=7)), ("2 weeks", timedelta(days=14)),
    ],
)  # fmt: skip
def test_durations_are_read_as_people_write_them(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    ["5 minits", "", " ", "5", "min", "-5 min", "0 s", "0.0 days", "5 m", "1 month", "5,5 min", "5 min 30 s", "1e3 s", "inf days",
     "9" * 30 + " days", 5, None, timedelta(minutes=5)],
)  # fmt: skip
def test_what_is_no_duration_is_refused_and_named(text: Any) -> None:
    with pytest.raises(DeclarationError, match="consumer 'x': freshness"):
        parse_duration(text, what="consumer 'x': freshness")


@given(st.integers(1, 20 * 366 * 86400).map(lambda s: timedelta(seconds=s)))
def test_words_are_read_back_as_the_same_duration(duration: timedelta) -> None:
    assert parse_duration(words(duration)) == duration


@given(st.timedeltas(timedelta(days=-400), timedelta(days=400)))
def test_compact_words_say_at_most_two_units_and_the_sign(duration: timedelta) -> None:
    said = compact(duration)
    assert said.startswith("-") == (duration < timedelta(0))
    assert len(said.lstrip("-").split()) in (2, 4)


@pytest.mark.parametrize(
    ("freshness", "lane", "cadence"),
    [
        ("1 s", "streaming", "every_5_min"), ("299 s", "streaming", "every_5_min"),
        ("5 min", "micro-batch", "every_5_min"), ("9 min", "micro-batch", "every_5_min"), ("15 min", "micro-batch", "every_15_min"),
        ("59 min", "micro-batch", "every_55_min"), ("1 hour", "micro-batch", "every_1_hour"), ("90 min", "micro-batch", "every_90_min"),
        ("23 hours", "micro-batch", "every_23_hours"),
        ("1 day", "batch", "daily"), ("36 hours", "batch", "daily"), ("2 days", "batch", "every_2_days"), ("1 week", "batch", "every_7_days"),
    ],
)  # fmt: skip
def test_the_table_of_lanes(freshness: str, lane: str, cadence: str) -> None:
    duration = parse_duration(freshness)
    assert (lane_of(duration).lane, cadence_of(duration).name) == (lane, cadence)


@given(st.integers(1, 30 * 86400).map(lambda s: timedelta(seconds=s)))
def test_a_cadence_is_never_looser_than_the_freshness_but_for_the_streaming_lane(freshness: timedelta) -> None:
    step = cadence_of(freshness).step
    assert step <= max(freshness, timedelta(minutes=5))
    assert step * 2 > freshness or step >= timedelta(minutes=5)
    assert not step % timedelta(minutes=5)


@pytest.mark.parametrize(
    ("freshness", "grace", "said"),
    [
        ("5 min", "2 min", "data at most 7 min old (5 + 2)"), ("5 min", "150 s", "data at most 7.5 min old (5 + 2.5)"),
        ("1 hour", "2 min", "data at most 62 min old (60 + 2)"), ("1 day", "6 hours", "data at most 30 hours old (24 + 6)"),
        ("7 days", "1 day", "data at most 8 days old (7 + 1)"), ("1 s", "150 s", "data at most 151 s old (1 + 150)"),
    ],
)  # fmt: skip
def test_a_promise_is_always_worded_the_same_way(freshness: str, grace: str, said: str) -> None:
    assert str(Promise(parse_duration(freshness), parse_duration(grace))) == said


def test_a_promise_is_kept_up_to_its_limit() -> None:
    promise = Promise(timedelta(minutes=5), timedelta(minutes=2))
    assert promise.kept(timedelta(minutes=7))
    assert not promise.kept(timedelta(minutes=7, microseconds=1))


def declared(freshness: str, settling: timedelta = timedelta(seconds=30), **more: Any) -> tuple[Declarations, Any]:
    one = consumer("one", freshness, **more)
    return Declarations((StreamSpec("events", settling),), (one,)), one


@pytest.mark.parametrize(
    ("freshness", "grace"),
    [("5 min", timedelta(seconds=150)), ("1 s", timedelta(seconds=150)), ("1 day", timedelta(hours=6))],
)
def test_the_default_grace_is_settling_and_two_minutes_and_six_hours_for_batch(
    freshness: str, grace: timedelta
) -> None:
    declarations, one = declared(freshness)
    assert declarations.promise(one).grace == grace


def test_a_stated_grace_wins() -> None:
    declarations, one = declared("5 min", grace=timedelta(minutes=20))
    assert declarations.promise(one).limit == timedelta(minutes=25)


def test_a_decision_shows_its_arithmetic() -> None:
    declarations, one = declared("5 min")
    assert str(decide(declarations, one)) == (
        "one: data at most 7.5 min old (5 + 2.5); lane micro-batch, served by `every_5_min`. Worst lag 5 min cadence + 30 s settling "
        "+ 15 s queueing and running (assumed) = 5 min 45 s: the promise can be kept: 1 min 45 s to spare."
    )


def test_a_promise_that_cannot_be_kept_says_by_how_much() -> None:
    declarations, one = declared("1 s")
    decision = decide(declarations, one)
    assert not decision.can_be_kept
    assert decision.verdict == "cannot be kept, by up to 3 min 14 s"
    assert "lane streaming, served by `every_5_min` until the streaming lane exists" in str(decision)


def test_measured_run_times_decide_whether_a_promise_is_at_risk() -> None:
    declarations, one = declared("5 min")
    assert decide(declarations, one, timedelta(seconds=100)).verdict == "is at risk: 20 s to spare"
    assert decide(declarations, one, timedelta(seconds=130)).verdict == "cannot be kept, by up to 10 s"
    assert "(measured p95)" in str(decide(declarations, one, timedelta(seconds=10)))
    hourly, one = declared("1 hour")
    assert decide(hourly, one).verdict == "can be kept: 1 min 45 s to spare"


def test_batch_waits_for_the_day_s_turn_too() -> None:
    declarations, one = declared("1 day")
    assert "1 day cadence + 30 s settling + 5 min for the day's turn + 15 s" in str(decide(declarations, one))
