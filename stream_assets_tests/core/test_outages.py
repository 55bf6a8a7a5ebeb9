"""What was missed while machine or source was down follows from the rule, in the order of DESIGN section 5."""

from __future__ import annotations

from datetime import timedelta

from stream_assets.core.declaration import StreamSpec
from stream_assets_tests.core.simulator import DAY, DEFAULT, HOUR, MINUTE, World, at, consumer, span


def steady(now: str, days: int = 2) -> World:
    world = World(*DEFAULT, now=now, days=days)
    world.rest()
    world.reads.clear()
    return world


def test_three_hours_down_is_one_range_run() -> None:
    world = steady("2026-03-10T10:01")
    world.now += 3 * HOUR
    assert world.rest() == ["every_5_min: 2026-03-10T10:00+0000 to 2026-03-10T12:55+0000: events alerts dashboard"]


def test_three_hours_down_across_midnight_fills_the_open_day_then_the_day_then_its_windows() -> None:
    world = steady("2026-03-10T22:31")
    world.now += 3 * HOUR
    assert world.rest("every_5_min", "heal") == [
        "every_5_min: 2026-03-11T00:00+0000 to 2026-03-11T01:25+0000: events alerts dashboard",
        "heal: 2026-03-10: events_daily features report",
        "heal: 2026-03-10T22:30+0000 to 2026-03-10T23:55+0000: alerts dashboard",
    ]
    assert world.reads == [span("2026-03-11T00:00", "2026-03-11T01:30"), span("2026-03-10", "2026-03-11")]


def test_three_days_down_serves_the_open_day_first_and_live_work_never_waits_for_catch_up() -> None:
    world = steady("2026-03-10T12:01")
    world.now += 3 * DAY
    assert world.tick("every_5_min") == [
        "every_5_min: 2026-03-13T00:00+0000 to 2026-03-13T11:55+0000: events alerts dashboard"
    ]

    catch_up = world.look("heal")  # and it takes its time
    world.now += 5 * MINUTE
    assert world.tick("every_5_min") == ["every_5_min: 2026-03-13T12:00+0000: events alerts dashboard"]
    assert world.look("heal") == []
    for id in catch_up:
        world.do(id)

    assert world.rest("heal") == ["heal: 2026-03-10T12:00+0000 to 2026-03-12T23:55+0000: alerts dashboard"]
    assert world.covered("report").spans == (span("2026-03-08", "2026-03-13"),)


def test_long_catch_up_takes_the_newest_days_first_and_at_most_seven_a_run() -> None:
    world = World(consumer("report", "1 day"), now="2026-03-31T12:01", days=20)
    assert world.rest() == [
        "heal: 2026-03-24 to 2026-03-30: events_daily report",
        "heal: 2026-03-17 to 2026-03-23: events_daily report",
        "heal: 2026-03-11 to 2026-03-16: events_daily report",
    ]


def test_long_catch_up_under_a_lookback_finds_its_end() -> None:
    world = World(*DEFAULT, now="2026-03-31T12:01", days=20)
    world.rest()
    whole = (span("2026-03-11", "2026-03-31"),)
    assert (
        world.covered("features").spans == world.covered("report").spans == world.covered("events_daily").spans == whole
    )
    assert world.covered("dashboard").spans == (span("2026-03-11", "2026-03-31T12:00"),)


def test_holes_in_old_days_are_filled_newest_first() -> None:
    world = World(consumer("report", "1 day"), now="2026-03-31T12:01", days=30)
    world.rest()
    for table in ("events_daily", "report"):
        for day in ("2026-03-05", "2026-03-20", "2026-03-28"):
            hole = world.calendar.day_around(at(day))
            world.coverage[table] -= type(world.covered(table)).of(hole)
    assert world.rest() == [
        "heal: 2026-03-28: events_daily report",
        "heal: 2026-03-20: events_daily report",
        "heal: 2026-03-05: events_daily report",
    ]


def test_catch_up_behind_live_work_is_told_apart_by_priority() -> None:
    world = World(*DEFAULT, now="2026-03-10T14:37")
    live, catch_up = world.plan().works
    assert (live.automation, live.is_catch_up) == ("every_5_min", False)
    assert (catch_up.automation, catch_up.is_catch_up) == ("heal", True)
    assert live.priority > catch_up.priority


def test_a_dead_source_stops_its_consumers_and_no_others() -> None:
    slow = StreamSpec("orders", settling=timedelta(minutes=1))
    streams = (StreamSpec("events", settling=timedelta(seconds=30)), slow)
    consumers = (consumer("clicks", "5 min", "5 min"), consumer("sales", "5 min", "5 min", inputs=("orders",)),
                 consumer("both", "5 min", "5 min", inputs=("events", "orders")))  # fmt: skip
    world = World(*consumers, now="2026-03-10T14:02", streams=streams)
    world.rest()
    world.dead.add("orders")
    world.now += HOUR
    world.rest()
    through = {c.name: world.covered(c.name).unbroken_from(at("2026-03-10")) for c in consumers}
    assert through == {
        "clicks": at("2026-03-10T15:00"),
        "sales": at("2026-03-10T14:00"),
        "both": at("2026-03-10T14:00"),
    }

    world.dead.clear()
    world.rest()
    assert {world.covered(c.name).unbroken_from(at("2026-03-10")) for c in consumers} == {at("2026-03-10T15:00")}


def test_a_source_that_is_dead_over_midnight_keeps_its_day_open_until_it_is_back() -> None:
    world = steady("2026-03-10T23:01")
    world.dead.add("events")
    world.live_until("2026-03-11T03:01")
    assert not world.covered("events_daily").covers(span("2026-03-10", "2026-03-11"))
    world.dead.clear()
    world.rest()
    assert world.covered("report").unbroken_from(world.start) == at("2026-03-11")
    assert world.covered("dashboard").unbroken_from(world.start) == at("2026-03-11T03:00")


def test_a_clock_that_jumps_back_undoes_nothing_and_asks_nothing_twice() -> None:
    world = steady("2026-03-11T00:31")
    world.now -= HOUR
    assert world.rest() == []
    world.now += HOUR + 5 * MINUTE
    assert world.rest() == ["every_5_min: 2026-03-11T00:30+0000: events alerts dashboard"]


def test_an_old_lake_runs_nothing_for_a_dagster_instance_that_has_never_seen_it() -> None:
    world = steady("2026-03-10T14:01")
    world.ticked.clear()
    world.heal_awake_since = None
    assert world.rest() == []
