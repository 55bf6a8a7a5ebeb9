"""A late event reopens its window: on the open day it rides the next run, a closed day heals at most once an hour."""

from __future__ import annotations

from datetime import timedelta

from stream_assets_tests.core.simulator import HOUR, MINUTE, World, at, consumer, span

CONSUMERS = (consumer("dashboard", "5 min", "5 min"), consumer("today", "15 min"), consumer("report", "1 day"))


def steady(now: str = "2026-03-10T14:01") -> World:
    world = World(*CONSUMERS, now=now)
    world.rest()
    world.reads.clear()
    return world


def content(world: World, table: str, start: str) -> int:
    """How many late events the partition was made with."""
    return sum(count for _, _, count in world.content.get((table, at(start)), ()))


def test_in_the_open_day_it_waits_for_the_next_run_and_rides_it() -> None:
    world = steady()
    world.late_event("2026-03-10T09:00")
    world.now = at("2026-03-10T14:04")
    assert world.tick() == []
    world.now = at("2026-03-10T14:05:31")
    assert world.tick("every_5_min") == [
        "every_5_min: 2026-03-10T09:00+0000 to 2026-03-10T14:00+0000: events dashboard"
    ]
    assert world.reads == [span("2026-03-10T09:00", "2026-03-10T09:05"), span("2026-03-10T14:00", "2026-03-10T14:05")]
    assert content(world, "events", "2026-03-10T09:00") == 1
    assert content(world, "dashboard", "2026-03-10T09:00") == 1


def test_it_reaches_every_consumer_of_the_open_day() -> None:
    world = steady()
    world.late_event("2026-03-10T09:00")
    world.live_until("2026-03-10T14:32")
    assert content(world, "dashboard", "2026-03-10T09:00") == 1
    assert content(world, "today", "2026-03-10T00:00") == 1


def test_many_late_events_make_one_run_a_boundary() -> None:
    world = steady()
    for minute in range(0, 55, 5):
        world.late_event(at("2026-03-10T09:00") + minute * MINUTE)
    world.live_until("2026-03-10T14:07")
    assert [w.tables for w in world.log if w.span.start >= at("2026-03-10T09:00")] == [("events", "dashboard")]


def test_a_closed_day_heals_an_hour_after_it_was_sealed_and_not_before() -> None:
    world = steady("2026-03-11T00:20")
    world.late_event("2026-03-10T09:00")
    world.live_until("2026-03-11T01:19")
    assert content(world, "events_daily", "2026-03-10T00:00") == 0
    world.now = at("2026-03-11T01:21")
    assert "heal: 2026-03-10: events_daily" in world.tick("heal")
    world.rest()
    assert content(world, "events_daily", "2026-03-10T00:00") == 1
    assert content(world, "report", "2026-03-10T00:00") == content(world, "dashboard", "2026-03-10T09:00") == 1


def test_a_closed_day_heals_at_most_once_an_hour_however_many_come() -> None:
    world = steady("2026-03-11T02:01")
    world.log.clear()
    while world.now < at("2026-03-11T05:00"):
        world.late_event("2026-03-10T09:00")
        world.late_event("2026-03-10T21:00")
        world.live_until((world.now + 2 * MINUTE).isoformat())
    healed = [w for w in world.log if "events_daily" in w.tables]
    assert 2 <= len(healed) <= 4
    world.live_until("2026-03-11T07:00")
    assert content(world, "report", "2026-03-10T00:00") == content(world, "events_daily", "2026-03-10T00:00") > 0


def test_late_events_of_a_week_ago_reach_lookbacks_but_only_the_days_that_read_them() -> None:
    world = World(consumer("features", "1 day", lookback="2 days"), now="2026-03-20T12:00", days=10)
    world.rest()
    world.log.clear()
    world.late_event("2026-03-13T09:00")
    world.now += HOUR
    world.rest()
    assert [(w.span, w.tables) for w in world.log] == [
        (span("2026-03-13", "2026-03-14"), ("events_daily",)),
        (span("2026-03-13", "2026-03-16"), ("features",)),
    ]


def test_a_late_event_before_midnight_that_shows_up_after_it_is_in_the_day() -> None:
    world = steady("2026-03-10T23:58")
    world.now = at("2026-03-11T00:01")
    world.rest("every_5_min")
    world.late_event("2026-03-10T23:50")
    world.observe()
    world.live_until("2026-03-11T00:30")
    assert content(world, "events_daily", "2026-03-10T00:00") == content(world, "report", "2026-03-10T00:00") == 1
    world.live_until("2026-03-11T02:00")
    assert content(world, "dashboard", "2026-03-10T23:50") == 1


def test_history_older_than_the_windows_heals_as_days_alone() -> None:
    world = World(*CONSUMERS, now="2026-03-20T12:00", days=10)
    world.windows_from = at("2026-03-15")
    world.rest()
    assert world.covered("dashboard").spans[0].start == at("2026-03-15")
    world.late_event("2026-03-12T09:00")
    world.now += HOUR + timedelta(minutes=1)
    world.rest()
    assert content(world, "report", "2026-03-12T00:00") == 1
