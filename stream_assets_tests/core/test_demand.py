"""Demand flows upstream: what is read is wanted at its own cadence and at every reader's."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_assets.core.cadence import Cadence
from stream_assets.core.declaration import Consumer
from stream_assets.core.window import GRID
from stream_assets_tests.core.simulator import DAY, DEFAULT, EVENTS, HOUR, MINUTE, World, at, consumer, span

QUARTER = consumer("quarter", "15 min", "5 min")
TWENTY = consumer("twenty", "20 min", "5 min")


def steady(*consumers: Consumer, now: str = "2026-03-10T14:01") -> World:
    """A world in which everything due has been done."""
    world = World(*consumers, now=now)
    world.rest()
    world.reads.clear()
    return world


def test_a_stream_read_every_15_and_every_20_minutes_gets_both_sets_of_boundaries() -> None:
    world = steady(QUARTER, TWENTY)
    world.live_until("2026-03-10T15:01")
    filled = [read.end.minute for read in world.reads]
    assert filled == [15, 20, 30, 40, 45, 0]


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(1, 36), min_size=1, max_size=4, unique=True))
def test_whatever_cadences_share_a_stream_each_consumer_keeps_its_promise(windows: list[int]) -> None:
    consumers = [consumer(f"every_{n}", f"{5 * n} min", "5 min" if n % 2 else "day") for n in windows]
    world = steady(*consumers, now="2026-03-10T03:00:31")
    while world.now < at("2026-03-10T06:30"):
        world.now += GRID
        for one in consumers:
            lag = world.now - world.covered(one.name).unbroken_from(at("2026-03-10T00:00"))
            assert lag <= one.freshness + EVENTS.settling + timedelta(seconds=1), f"{one.name} at {world.now}"
        world.tick()  # one run of windows,
        world.tick()  # and then one of days


def test_a_loose_consumer_that_a_tight_one_reads_is_made_as_often_as_the_tight_one() -> None:
    loose = consumer("loose", "1 hour", "5 min")
    tight = consumer("tight", "5 min", "5 min", inputs=("loose",))
    world = steady(loose, tight)
    world.now = at("2026-03-10T14:05:31")
    assert world.tick() == ["every_5_min: 2026-03-10T14:00+0000: events loose tight"]


def test_a_daily_consumer_that_a_tight_one_reads_is_made_on_the_open_day_too() -> None:
    world = steady(consumer("loose", "1 day"), consumer("tight", "15 min", inputs=("loose",)))
    assert world.covered("tight").unbroken_from(at("2026-03-10T00:00")) == at("2026-03-10T14:00")
    assert world.covered("loose").unbroken_from(at("2026-03-10T00:00")) == at("2026-03-10T14:00")


def test_a_tight_consumer_that_a_loose_one_reads_does_not_tighten_the_loose_one() -> None:
    world = steady(DEFAULT[0], consumer("loose", "1 hour", "5 min", inputs=("dashboard",)))
    world.now = at("2026-03-10T14:05:31")
    assert world.tick() == ["every_5_min: 2026-03-10T14:00+0000: events dashboard"]


def test_an_hourly_cadence_is_one_range_run_of_twelve_windows() -> None:
    world = steady(consumer("hourly", "1 hour", "5 min"))
    assert world.live_until("2026-03-10T16:02") == [
        "every_1_hour: 2026-03-10T14:00+0000 to 2026-03-10T14:55+0000: events hourly",
        "every_1_hour: 2026-03-10T15:00+0000 to 2026-03-10T15:55+0000: events hourly",
    ]


def test_with_daily_consumers_alone_no_window_is_ever_filled_and_a_day_is_one_run_and_one_query() -> None:
    world = steady(consumer("report", "1 day"), consumer("small", "1 day", "5 min"))
    world.log.clear()
    world.live_until("2026-03-13T12:00", timedelta(minutes=9))
    assert not world.covered("events")
    assert world.reads == [
        span("2026-03-10", "2026-03-11"),
        span("2026-03-11", "2026-03-12"),
        span("2026-03-12", "2026-03-13"),
    ]
    assert [w.tables for w in world.log if w.grain == "day"] == [("events_daily", "report")] * 3
    assert [w.tables for w in world.log if w.grain == "5 min"] == [("small",)] * 3


def test_a_micro_batch_consumer_added_later_rereads_no_sealed_day() -> None:
    world = steady(consumer("report", "1 day"))
    world.declare(consumer("report", "1 day"), consumer("dashboard", "5 min", "5 min"))
    assert world.tick("every_5_min") == [
        "every_5_min: 2026-03-10T00:00+0000 to 2026-03-10T13:55+0000: events dashboard"
    ]
    assert world.tick("heal") == ["heal: 2026-03-08T00:00+0000 to 2026-03-09T23:55+0000: dashboard"]
    assert world.reads == [span("2026-03-10T00:00", "2026-03-10T14:00")]
    assert world.rest() == []


def test_changing_a_freshness_there_and_back_makes_nothing_again() -> None:
    world = steady(consumer("dashboard", "5 min", "5 min"), consumer("report", "5 min"))
    made: list[str] = []
    for freshness in ("1 hour", "1 day", "15 min", "5 min"):
        world.declare(consumer("dashboard", freshness, "5 min"), consumer("report", freshness))
        made += world.rest()
    assert made == []
    world.now = at("2026-03-10T15:02")
    world.declare(consumer("dashboard", "1 hour", "5 min"), consumer("report", "1 hour"))
    assert world.rest() == [
        "every_1_hour: 2026-03-10T14:00+0000 to 2026-03-10T14:55+0000: events dashboard",
        "every_1_hour: 2026-03-10: report",
    ]


def test_a_lane_tightened_over_a_gap_fills_from_where_the_looser_one_had_stopped() -> None:
    world = World(consumer("dashboard", "1 day", "5 min"), now="2026-03-10T14:02")
    world.rest()
    world.declare(consumer("dashboard", "5 min", "5 min"))
    assert world.rest() == ["every_5_min: 2026-03-10T00:00+0000 to 2026-03-10T13:55+0000: events dashboard"]


def test_a_paused_consumer_demands_nothing_and_resumes_without_a_hole() -> None:
    world = steady(consumer("dashboard", "5 min", "5 min"), consumer("hourly", "1 hour", "5 min"))
    world.paused.add("dashboard")
    world.now = at("2026-03-10T14:32")
    assert world.rest() == []
    world.now = at("2026-03-10T15:02")
    assert world.rest() == ["every_1_hour: 2026-03-10T14:00+0000 to 2026-03-10T14:55+0000: events hourly"]
    world.paused.clear()
    world.now += 5 * MINUTE
    assert world.rest() == ["every_5_min: 2026-03-10T14:00+0000 to 2026-03-10T15:00+0000: events dashboard"]


def test_a_consumer_paused_over_midnight_gets_its_closed_windows_from_the_day() -> None:
    world = steady(consumer("dashboard", "5 min", "5 min"), now="2026-03-10T22:01")
    world.paused.add("dashboard")
    world.live_until("2026-03-11T02:01")
    world.paused.clear()
    world.rest()
    assert world.covered("dashboard").spans == (span("2026-03-08", "2026-03-11T02:00"),)
    assert world.reads == [span("2026-03-10", "2026-03-11"), span("2026-03-11T00:00", "2026-03-11T02:00")]


def test_what_only_a_paused_consumer_reads_through_another_is_still_wanted_by_that_one() -> None:
    middle, end = consumer("middle", "1 hour", "5 min"), consumer("end", "5 min", "5 min", inputs=("middle",))
    world = steady(middle, end)
    demand = world.declarations.demand(frozenset({"end"}))
    assert demand["middle"] == demand["events"] == {Cadence(HOUR)}
    assert world.declarations.demand()["events"] == {Cadence(HOUR), Cadence(GRID)}


def test_a_weekly_consumer_gets_its_days_when_its_week_is_over_and_not_before() -> None:
    world = World(consumer("weekly", "7 days"), now="2026-03-12T12:00")  # 7 divides 2026-03-12 and 2026-03-19
    world.rest()
    world.log.clear()
    world.live_until("2026-03-18T23:50", timedelta(minutes=10))
    assert not [w for w in world.log if "weekly" in w.tables]
    world.live_until("2026-03-19T01:00", timedelta(minutes=3))
    # The last day is read by `daily` at the same minute: it follows when that is done.
    assert [(w.automation, w.span) for w in world.log if "weekly" in w.tables] == [
        ("every_7_days", span("2026-03-12", "2026-03-18")),
        ("heal", span("2026-03-18", "2026-03-19")),
    ]


def test_a_weekly_consumer_gets_its_week_in_one_range_run_where_daily_has_done_its_part_before() -> None:
    world = World(consumer("weekly", "7 days"), now="2026-03-18T12:00", days=6)
    world.rest()
    world.now = at("2026-03-19T00:05:31")
    assert world.tick("daily") == ["daily: 2026-03-18: events_daily"]
    assert world.tick("every_7_days") == ["every_7_days: 2026-03-12 to 2026-03-18: weekly"]


def test_a_finished_history_is_wanted_up_to_its_end_by_every_cadence() -> None:
    finished = (type(EVENTS)("events", settling=EVENTS.settling, end=at("2026-01-06").date()),)
    consumers = (consumer("dashboard", "1 hour", "5 min"), consumer("report", "1 day"), consumer("weekly", "7 days"))
    world = World(*consumers, now="2026-03-10T14:37", streams=finished, days=73)
    world.start = world.windows_from = at("2025-12-27")
    world.rest()
    whole = (span("2025-12-27", "2026-01-06"),)
    assert [world.covered(t).spans for t in ("events_daily", "dashboard", "report", "weekly")] == [whole] * 4
    assert not world.covered("events")
    world.now += 3 * DAY
    assert world.rest() == []
