"""One poisoned window never blocks the others; what may be tried again is, and the rest says so and waits."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stream_assets.core.window import TimeWindow
from stream_assets_tests.core.simulator import DAY, HOUR, MINUTE, Kind, World, at, consumer, span

DASHBOARD = consumer("dashboard", "5 min", "5 min")
TODAY = consumer("today", "5 min")
REPORT = consumer("report", "1 day")
FEATURES = consumer("features", "1 day", lookback="2 days")
BAD = at("2026-03-10T14:05")


def broken_at(*when: str, table: str = "events", kind: Kind = "terminal") -> object:
    starts = [at(w) for w in when]
    return lambda name, partition: kind if name == table and partition.start in starts else None


def steady(now: str = "2026-03-10T14:01", days: int = 2) -> World:
    world = World(DASHBOARD, TODAY, REPORT, FEATURES, now=now, days=days)
    world.rest()
    world.log.clear()
    return world


def with_a_hole() -> World:
    """14:05 cannot be read; the clock says 14:32."""
    world = steady()
    world.fails = broken_at("2026-03-10T14:05")
    world.live_until("2026-03-10T14:32")
    return world


def test_the_open_day_goes_on_around_a_window_that_cannot_be_read() -> None:
    world = with_a_hole()
    for table in ("events", "dashboard", "today"):
        assert (world.covered(table).clip(span("2026-03-10T14:00", "2026-03-10T15:00"))).spans == (
            span("2026-03-10T14:00", "2026-03-10T14:05"),
            span("2026-03-10T14:10", "2026-03-10T14:30"),
        )
        assert world.covered(table).unbroken_from(at("2026-03-10")) == BAD


def test_a_partition_that_fails_terminally_is_tried_three_times_and_then_paused() -> None:
    world = with_a_hole()
    (failure,) = world.failures["events"].values()
    assert (failure.tries, failure.is_paused) == (3, True)
    world.live_until("2026-03-10T18:02", timedelta(minutes=4))
    assert world.failures["events"][BAD].tries == 3


def test_retry_mends_the_hole_in_every_table() -> None:
    world = with_a_hole()
    world.fails = lambda *_: None
    assert world.rest() == []
    world.retry("events")
    assert world.rest() == ["every_5_min: 2026-03-10T14:05+0000: events dashboard", "every_5_min: 2026-03-10: today"]
    assert world.covered("today").unbroken_from(at("2026-03-10")) == at("2026-03-10T14:30")


def test_a_late_event_in_a_paused_window_tries_it_again() -> None:
    world = with_a_hole()
    world.fails = lambda *_: None
    world.coverage["events"] |= type(world.covered("events")).of(TimeWindow(BAD, BAD + 5 * MINUTE))
    world.late_event("2026-03-10T14:05")
    world.live_until("2026-03-10T14:37")
    assert not world.failures["events"]


def test_a_transient_failure_is_tried_again_when_its_time_has_come_and_not_before() -> None:
    world = steady()
    world.fails = broken_at("2026-03-10T14:00", kind="transient")
    world.now = at("2026-03-10T14:06")
    world.tick()
    world.now += timedelta(seconds=29)
    assert world.tick() == []
    world.now += timedelta(seconds=1)
    assert world.tick() == ["every_5_min: 2026-03-10T14:00+0000: events dashboard"]
    world.now += timedelta(seconds=59)
    assert world.tick() == []
    world.now += timedelta(seconds=1)
    world.fails = lambda *_: None
    assert world.tick() == ["every_5_min: 2026-03-10T14:00+0000: events dashboard"]


def test_transient_failures_are_tried_for_ever_at_most_15_minutes_apart() -> None:
    world = steady()
    world.fails = broken_at("2026-03-10T14:00", kind="transient")
    world.live_until("2026-03-10T18:02", timedelta(minutes=2))
    failure = world.failures["events"][at("2026-03-10T14:00")]
    assert failure.tries > 12
    assert failure.next_try_at == failure.at + 15 * MINUTE


def test_a_closed_day_waits_for_all_of_its_windows_and_the_days_after_do_not_wait_for_it() -> None:
    world = with_a_hole()
    world.live_until("2026-03-12T12:00", timedelta(minutes=15))
    bad_day = span("2026-03-10", "2026-03-11")
    for table in ("events_daily", "report"):
        assert (type(world.covered(table)).of(span("2026-03-08", "2026-03-12")) - world.covered(table)).spans == (
            bad_day,
        )
    assert world.covered("dashboard").covers(span("2026-03-10T14:10", "2026-03-12T11:45"))
    assert world.covered("today").covers(span("2026-03-11", "2026-03-12T11:30"))


def test_a_lookback_waits_for_the_days_it_needs_and_for_no_others() -> None:
    world = with_a_hole()
    world.live_until("2026-03-14T12:00", timedelta(minutes=30))
    assert world.covered("features").spans == (span("2026-03-08", "2026-03-10"), span("2026-03-13", "2026-03-14"))
    world.fails = lambda *_: None
    world.retry("events_daily")
    world.rest()
    assert world.covered("features").spans == (span("2026-03-08", "2026-03-14"),)


def test_a_consumer_that_raises_on_one_window_goes_on_with_the_others() -> None:
    world = steady()
    world.fails = broken_at("2026-03-10T14:05", table="dashboard")
    world.live_until("2026-03-10T15:02")
    assert world.covered("events").unbroken_from(at("2026-03-10")) == at("2026-03-10T15:00")
    assert world.covered("today").unbroken_from(at("2026-03-10")) == at("2026-03-10T15:00")
    assert (
        type(world.covered("events")).of(span("2026-03-10", "2026-03-10T15:00")) - world.covered("dashboard")
    ).spans == (TimeWindow(BAD, BAD + 5 * MINUTE),)


def test_a_day_that_raises_keeps_its_previous_revision_and_is_tried_with_more_input() -> None:
    world = steady()
    world.fails = broken_at("2026-03-10", table="today")
    world.live_until("2026-03-10T15:02")
    assert world.covered("today").unbroken_from(at("2026-03-10")) == at("2026-03-10T14:00")
    assert world.failures["today"][at("2026-03-10")].is_paused
    world.fails = lambda *_: None
    world.live_until("2026-03-10T15:08")
    assert world.covered("today").unbroken_from(at("2026-03-10")) == at("2026-03-10T15:05")


@pytest.mark.parametrize("grain", ["5 min", "day"])
def test_new_code_is_tried_at_once(grain: str) -> None:
    world = World(consumer("sick", "5 min", grain), now="2026-03-10T14:02")
    world.fails = lambda table, partition: "terminal" if table == "sick" else None
    world.live_until("2026-03-10T14:04", timedelta(seconds=10))
    assert world.tick() == []
    world.declare(consumer("sick", "5 min", grain, code="mended"))
    world.fails = lambda *_: None
    world.rest()
    assert world.covered("sick").spans == (span("2026-03-08", "2026-03-10T14:00"),)


def test_new_code_remakes_the_open_partitions_and_leaves_history_alone() -> None:
    world = steady()
    world.declare(
        consumer("dashboard", "5 min", "5 min", code="b"), consumer("today", "5 min", code="b"), REPORT, FEATURES
    )
    assert world.rest() == [
        "every_5_min: 2026-03-10T00:00+0000 to 2026-03-10T13:55+0000: dashboard",
        "every_5_min: 2026-03-10: today",
    ]


def test_a_poisoned_day_in_a_long_catch_up_stops_no_other_day() -> None:
    world = World(REPORT, now="2026-03-31T12:01", days=20)
    world.fails = lambda table, p: "terminal" if table == "events_daily" and p.start == at("2026-03-27") else None
    world.live_until("2026-03-31T12:30")
    missing = type(world.covered("report")).of(span("2026-03-11", "2026-03-31")) - world.covered("report")
    assert missing.spans == (span("2026-03-27", "2026-03-28"),)


def test_what_is_paused_is_named_with_its_next_try() -> None:
    world = steady()
    world.fails = broken_at("2026-03-10T14:00", kind="transient")
    world.now = at("2026-03-10T14:06")
    world.tick()
    assert world.plan().says["every_5_min"] == (
        "nothing due, 1 failed: events 2026-03-10T14:00+0000 tried again at 14:06:30Z: "
        "settled through 14:05Z, next window settles at 2026-03-10T14:10:30Z"
    )
    assert "events 2026-03-10T14:05+0000 paused" in with_a_hole().plan().says["heal"]


def test_work_whose_run_died_is_free_again_when_its_lease_has_expired() -> None:
    world = steady()
    world.now = at("2026-03-10T14:06")
    world.look("every_5_min")
    world.now += timedelta(seconds=10)
    assert world.look("every_5_min") == []
    world.flying.clear()
    assert world.tick("every_5_min") == ["every_5_min: 2026-03-10T14:00+0000: events dashboard"]
    assert world.now < at("2026-03-10T14:06") + HOUR < at("2026-03-10") + DAY
