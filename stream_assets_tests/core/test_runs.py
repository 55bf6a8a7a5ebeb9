"""Who asks, in which runs: one range where the rest of it is sealed, and never what others are about to do."""

from __future__ import annotations

from datetime import timedelta

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, TimeWindow
from stream_assets_tests.core.simulator import DAY, DEFAULT, HOUR, MINUTE, World, at, consumer, span


def steady(now: str = "2026-03-10T14:01") -> World:
    world = World(*DEFAULT, now=now)
    world.rest()
    world.log.clear()
    world.reads.clear()
    return world


def without(world: World, *starts: str, tables: tuple[str, ...] = ("events", "alerts", "dashboard")) -> None:
    for table in tables:
        for start in starts:
            world.coverage[table] -= Intervals.of(TimeWindow(at(start), at(start) + GRID))


def test_scattered_windows_are_one_run_over_their_hull_where_the_rest_is_sealed() -> None:
    world = steady()
    without(world, "2026-03-10T03:00", "2026-03-10T09:15", "2026-03-10T11:00")
    assert world.tick("every_5_min") == [
        "every_5_min: 2026-03-10T03:00+0000 to 2026-03-10T11:00+0000: events alerts dashboard"
    ]
    assert len(world.reads) == 3


def test_scattered_windows_are_split_at_one_that_cannot_be_sealed_now() -> None:
    world = steady()
    world.fails = lambda table, p: "terminal" if table == "events" and p.start == at("2026-03-10T05:00") else None
    without(world, "2026-03-10T03:00", "2026-03-10T05:00", "2026-03-10T09:15")
    world.tick("every_5_min")
    without(world, "2026-03-10T03:00", "2026-03-10T09:15")
    assert world.tick("every_5_min") == [
        "every_5_min: 2026-03-10T03:00+0000: events alerts dashboard",
        "every_5_min: 2026-03-10T09:15+0000: events alerts dashboard",
    ]


def test_scattered_days_are_one_run_over_their_hull_where_the_rest_is_sealed() -> None:
    world = World(consumer("report", "1 day"), now="2026-03-10T14:01", days=6)
    world.rest()
    for table in ("events_daily", "report"):
        world.coverage[table] -= Intervals.of(span("2026-03-05", "2026-03-06"), span("2026-03-07", "2026-03-08"))
    assert world.rest() == ["heal: 2026-03-07: events_daily report", "heal: 2026-03-05: events_daily report"]
    world.coverage["report"] -= Intervals.of(span("2026-03-06", "2026-03-09"))
    assert world.rest() == ["heal: 2026-03-06 to 2026-03-08: report"]


def test_a_consumer_alone_behind_its_stream_is_asked_alone() -> None:
    world = steady()
    without(world, "2026-03-10T03:00", tables=("alerts",))
    assert world.tick() == ["every_5_min: 2026-03-10T03:00+0000: alerts"]


def test_at_a_boundary_there_are_at_most_two_runs_one_a_grain() -> None:
    many = [consumer(f"w{n}", "5 min", "5 min") for n in range(8)] + [consumer(f"d{n}", "5 min") for n in range(8)]
    world = World(*many, consumer("chain", "5 min", inputs=("d1", "w1")), now="2026-03-10T14:01")
    world.rest()
    world.now = at("2026-03-10T14:05:31")
    first, second = world.rest()[:2]
    assert first.startswith("every_5_min: 2026-03-10T14:00+0000: events w0")
    assert second.startswith("every_5_min: 2026-03-10: ")
    assert second.endswith(" chain") or " chain " in second
    assert world.rest() == []


def test_nothing_in_flight_is_asked_again() -> None:
    world = World(*DEFAULT, now="2026-03-10T14:37")
    for _ in range(4):
        for automation in world.automations:
            world.look(automation)
        world.now += 10 * timedelta(seconds=1)
    assert [w.automation for w in world.log] == ["every_5_min", "heal"]


def test_at_most_one_catch_up_run_is_in_flight() -> None:
    world = World(*DEFAULT, now="2026-03-31T14:37", days=30)
    for _ in range(5):
        world.look("heal")
        world.now += MINUTE
    assert [w.is_catch_up for w in world.log] == [True]


def test_heal_leaves_a_boundary_to_its_cadence_for_ten_minutes_and_then_does_it() -> None:
    world = steady()
    world.live_until("2026-03-10T14:16")
    said: list[tuple[str, str]] = []
    while world.now < at("2026-03-10T14:40"):
        world.now += MINUTE
        said += [(f"{world.now:%H:%M}", s) for s in world.tick("heal")]
    assert said[0] == ("14:26", "heal: 2026-03-10T14:15+0000 to 2026-03-10T14:20+0000: events alerts dashboard")
    assert [s for s in world.tick("every_5_min") if "events" in s] == []


def test_heal_leaves_the_day_to_daily_for_ten_minutes_and_then_does_it() -> None:
    world = steady("2026-03-11T00:05")
    world.rest("every_5_min", "heal")
    world.now = at("2026-03-11T00:05:31")
    while world.now < at("2026-03-11T00:15:30"):
        assert not [s for s in world.tick("every_5_min", "heal") if "events_daily" in s], world.now
        world.now += timedelta(seconds=20)
    assert "heal: 2026-03-10: events_daily features report" in world.tick("heal")


def test_what_daily_could_not_do_at_its_turn_heal_does_without_waiting() -> None:
    world = steady("2026-03-11T00:05")
    world.now = at("2026-03-11T00:05:31")
    world.fails = lambda table, p: "transient" if table == "report" else None
    world.tick("daily")
    world.fails = lambda *_: None
    world.now += timedelta(seconds=31)
    assert [s for s in world.tick("heal") if "report" in s] == ["heal: 2026-03-10: report"]


def test_after_an_outage_the_cadence_is_given_its_ten_minutes_again() -> None:
    world = steady()
    world.live_until("2026-03-10T14:32")
    world.now += 3 * HOUR
    assert world.tick("heal") == []
    assert world.tick("every_5_min") == [
        "every_5_min: 2026-03-10T14:30+0000 to 2026-03-10T17:25+0000: events alerts dashboard"
    ]


def test_a_stopped_cadence_stops_its_consumers_and_heal_respects_it() -> None:
    world = World(*DEFAULT, consumer("hourly", "1 hour", "5 min"), now="2026-03-10T14:01")
    world.rest()
    world.stopped.add("every_5_min")
    world.live_until("2026-03-10T16:10")
    assert world.covered("hourly").unbroken_from(at("2026-03-10")) == at("2026-03-10T16:00")
    assert world.covered("dashboard").unbroken_from(at("2026-03-10")) == at("2026-03-10T14:00")
    assert world.plan().says["every_5_min"] == "stopped by a person"
    world.stopped.clear()
    world.tick()  # it shows that it is awake, so that heal leaves it its work
    assert world.tick() == ["every_5_min: 2026-03-10T14:00+0000 to 2026-03-10T16:00+0000: events alerts dashboard"]


def test_with_daily_stopped_its_consumers_wait_and_the_open_day_goes_on() -> None:
    world = steady("2026-03-10T23:01")
    world.stopped.add("daily")
    world.live_until("2026-03-11T02:01", timedelta(minutes=3))
    assert world.covered("report").spans == (span("2026-03-08", "2026-03-10"),)
    assert world.covered("dashboard").spans == (span("2026-03-08", "2026-03-11T02:00"),)
    world.stopped.clear()
    assert world.rest("heal") == ["heal: 2026-03-10: features report"]


def test_with_heal_stopped_the_cadences_go_on_and_old_holes_stay() -> None:
    world = World(*DEFAULT, now="2026-03-10T23:01")
    world.stopped.add("heal")
    world.live_until("2026-03-11T02:01")
    assert world.covered("report").spans == (span("2026-03-10", "2026-03-11"),)
    assert world.covered("dashboard").spans == (span("2026-03-10", "2026-03-11T02:00"),)


def test_the_catch_up_of_an_earlier_day_does_not_delay_the_boundary_of_daily() -> None:
    world = World(*DEFAULT, now="2026-03-10T23:50", days=20)
    world.tick("every_5_min")
    world.look("heal")
    world.now = at("2026-03-11T00:05:31")
    assert world.tick("daily") == ["daily: 2026-03-10: events_daily report"]
    assert world.now - at("2026-03-11") < DAY


def test_a_tick_without_work_says_what_is_there_and_what_it_waits_for() -> None:
    world = steady("2026-03-10T10:37")
    assert world.plan().says == {
        "every_5_min": "nothing due: complete through 10:35Z, next window settles at 2026-03-10T10:40:30Z",
        "daily": "nothing due: complete through 2026-03-10T00:00Z, next day settles at 2026-03-11T00:05:30Z",
        "heal": "nothing due: closed days are those before 2026-03-10T00:00Z",
    }


def test_heal_names_what_it_leaves_to_the_automation_whose_turn_it_is() -> None:
    world = steady("2026-03-10T23:59")
    world.now = at("2026-03-11T00:05:31")
    assert world.plan().says["heal"] == (
        "nothing due, leaves 2026-03-11T00:00+0000 of events, alerts, dashboard to every_5_min, "
        "leaves 2026-03-10 of events_daily, features, report to daily: closed days are those before 2026-03-11T00:00Z"
    )


def test_work_says_why() -> None:
    works = World(*DEFAULT, now="2026-03-10T14:37").plan().works
    assert [w.reason for w in works] == [
        "175 windows not there yet",
        "2 days not there yet",
    ]
    world = steady()
    world.late_event("2026-03-10T09:00")
    world.observe()
    world.now += 5 * MINUTE
    assert world.plan().works[0].reason == "events: late; alerts, dashboard: 1 window not there yet"


def test_a_stream_that_is_wanted_further_by_one_consumer_than_by_another_is_read_once() -> None:
    """Found by the state machine: the second run's hull went over what the first one had been given."""
    streams = (StreamSpec("events", timedelta(seconds=30)), StreamSpec("orders", timedelta(minutes=7)))
    dash, both = consumer("dash", "20 min", "5 min"), consumer("both", "1 hour", "5 min", inputs=("events", "orders"))
    tail = consumer("tail", "20 min", "5 min", inputs=("orders",))
    world = World(dash, both, tail, now="2026-03-28T20:03", streams=streams)
    world.coverage["orders"] = Intervals.of(span("2026-03-28T00:00", "2026-03-28T19:00"))
    spans = [w.span for w in world.plan().of("every_20_min") if "events" in w.tables]
    assert not [a for n, a in enumerate(spans) for b in spans[:n] if a.overlaps(b)]


def test_a_hull_never_passes_over_what_is_in_flight() -> None:
    world = steady()
    world.late_event("2026-03-10T09:00")
    world.observe()
    world.now = at("2026-03-10T14:05:31")
    world.look("every_5_min")  # 09:00 to 14:00, and it takes its time
    world.late_event("2026-03-10T03:00")
    world.now = at("2026-03-10T14:10:31")
    world.observe()
    world.now = at("2026-03-10T14:15:31")
    works = world.plan().of("every_5_min")
    assert works
    assert not [w for w in works if w.span.overlaps(span("2026-03-10T09:00", "2026-03-10T14:05"))]
