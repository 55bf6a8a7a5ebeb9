"""The two stories of DESIGN section 10, as written there."""

from __future__ import annotations

from stream_assets_tests.core.simulator import DEFAULT, HOUR, MINUTE, World, at, span


def test_at_14_37_an_empty_lake_fills_the_open_day_first_and_then_two_closed_days() -> None:
    world = World(*DEFAULT, now="2026-03-10T14:37")

    assert world.tick("every_5_min") == [
        "every_5_min: 2026-03-10T00:00+0000 to 2026-03-10T14:30+0000: events alerts dashboard"
    ]
    assert world.covered("events").spans == (span("2026-03-10T00:00", "2026-03-10T14:35"),)
    assert world.covered("events").duration / (5 * MINUTE) == 175

    assert world.tick("heal") == ["heal: 2026-03-08 to 2026-03-09: events_daily features report"]
    assert world.tick("heal") == ["heal: 2026-03-08T00:00+0000 to 2026-03-09T23:55+0000: alerts dashboard"]
    assert world.reads[1:] == [span("2026-03-08", "2026-03-09"), span("2026-03-09", "2026-03-10")]
    assert world.tick("daily") == []
    assert world.tick("heal") == []


def test_shortly_after_the_next_window_has_settled_one_run_of_one_window_is_asked() -> None:
    world = World(*DEFAULT, now="2026-03-10T14:37")
    world.rest()

    world.now = at("2026-03-10T14:40:29")
    assert world.tick("every_5_min", "heal") == []
    world.now = at("2026-03-10T14:40:31")
    assert world.tick("every_5_min") == ["every_5_min: 2026-03-10T14:35+0000: events alerts dashboard"]
    assert world.rest() == []


def before_midnight() -> World:
    world = World(*DEFAULT, now="2026-03-10T23:56")
    world.rest()
    world.log.clear()
    world.reads.clear()
    return world


def test_at_midnight_the_last_window_then_the_day_and_heal_finds_nothing() -> None:
    world = before_midnight()

    world.now = at("2026-03-11T00:00:31")
    assert world.tick("every_5_min", "heal") == ["every_5_min: 2026-03-10T23:55+0000: events alerts dashboard"]
    world.now = at("2026-03-11T00:05:31")
    assert world.tick("every_5_min", "heal") == ["every_5_min: 2026-03-11T00:00+0000: events alerts dashboard"]
    world.reads.clear()
    assert world.tick("daily") == ["daily: 2026-03-10: events_daily features report"]
    assert world.reads == []  # compacted from 288 windows
    assert world.tick("heal") == []


def test_if_the_last_window_could_not_be_sealed_the_day_is_read_whole_by_daily() -> None:
    world = before_midnight()
    world.now = at("2026-03-11T00:05:31")

    assert world.tick("daily") == ["daily: 2026-03-10: events_daily features report"]
    assert world.reads == [span("2026-03-10", "2026-03-11")]
    assert world.tick("every_5_min") == ["every_5_min: 2026-03-11T00:00+0000: events alerts dashboard"]
    assert world.tick("heal") == ["heal: 2026-03-10T23:55+0000: alerts dashboard"]


def test_if_the_machine_was_down_at_midnight_heal_does_it_when_it_is_back() -> None:
    world = before_midnight()
    world.now += 3 * HOUR

    assert world.tick("heal") == ["heal: 2026-03-10: events_daily features report"]
    assert world.reads == [span("2026-03-10", "2026-03-11")]
    assert world.tick("every_5_min") == [
        "every_5_min: 2026-03-11T00:00+0000 to 2026-03-11T02:50+0000: events alerts dashboard"
    ]
    assert world.tick("heal") == ["heal: 2026-03-10T23:55+0000: alerts dashboard"]
    assert world.rest() == []


def test_the_day_lives_on_its_own_when_the_daemon_runs_through_midnight() -> None:
    world = before_midnight()

    assert [said for said in world.live_until("2026-03-11T00:20") if "events_daily" in said or "heal" in said] == [
        "daily: 2026-03-10: events_daily features report"
    ]
