"""What a plan costs depends on the work due, never on how much history there is."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import InFlight, LedgerState, Plan, plan
from stream_assets.core.window import TimeWindow
from stream_assets_tests.core.simulator import DAY, DEFAULT, World, at, consumer

CHAIN = (*DEFAULT, consumer("chain", "15 min", inputs=("features", "dashboard"), lookback="3 days"))


def filled(days: int, now: str = "2026-03-10T14:37") -> World:
    """A lake in which all is done but the open day's last two windows."""
    world = World(*CHAIN, now=now, days=days)
    for table in world.declarations.tables:
        world.coverage[table] = Intervals.of(TimeWindow(world.start, at("2026-03-10T14:25")))
    world.coverage["events_daily"] = world.coverage["report"] = Intervals.of(TimeWindow(world.start, at("2026-03-10")))
    # Windows of older days have gone.
    world.coverage["events"] = world.coverage["events"].clip(TimeWindow(at("2026-03-05"), world.now))
    world.observe()
    return world


def planned(world: World, state: LedgerState | None = None) -> tuple[Plan, int]:
    """Return the plan and how many calls it took to make it."""
    state, calls = state or world.state(), 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    plan(world.declarations, state, world.calendar, world.now)  # days that are remembered are remembered now
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        found = plan(world.declarations, state, world.calendar, world.now)
    finally:
        sys.setprofile(before)
    return found, calls


@pytest.mark.parametrize("later", [timedelta(0), timedelta(hours=9, minutes=30), 2 * DAY])
def test_five_years_of_history_cost_as_much_as_ten_days_and_give_the_same_plan(later: timedelta) -> None:
    small, big = filled(10), filled(5 * 365)
    small.now += later
    big.now += later
    small.observe()
    big.observe()
    (a, few), (b, many) = planned(small), planned(big)
    assert a == b
    assert a.works
    assert many <= few * 1.02


def test_a_quiet_tick_of_a_thousand_consumers_takes_few_calls_each() -> None:
    consumers = [consumer(f"c{n}", "1 day", lookback="7 days") for n in range(1000)]
    world = World(*consumers, now="2026-03-10T14:37", days=5 * 365)
    for table in world.declarations.tables:
        world.coverage[table] = Intervals.of(TimeWindow(world.start, at("2026-03-10")))
    world.coverage["events"] = Intervals()
    world.observe()
    found, calls = planned(world)
    assert not found.works
    assert calls < 200 * 1000


def test_what_others_have_in_flight_costs_one_interval_each_and_not_one_a_day() -> None:
    counted: list[int] = []
    for days in (10, 5 * 365):
        world = filled(days)
        span = TimeWindow(at("2026-03-10"), world.now)
        others = tuple(InFlight((f"other{n}",), span, is_catch_up=False) for n in range(100))
        state = replace(world.state(), in_flight=others)
        found, calls = planned(world, state)
        assert [work for work in found.works if work.removes] == []
        counted.append(calls)
    few, many = counted
    assert many <= few * 1.02
