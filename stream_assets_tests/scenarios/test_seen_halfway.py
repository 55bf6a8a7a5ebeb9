"""Moves that are seen, or waits that are given up, between a look at the source and the reading of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stream_assets.pipeline import gaps, staging
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.given_up import accepted
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import World

SECOND = timedelta(seconds=1)


def slow() -> dict[str, Shop]:
    return {"events": Shop(every=timedelta(minutes=4))}


def places(w: World, id: str) -> list[str]:
    rows = w.pipeline.lake.read("events", w.calendar.day(w.calendar.day_of(w.now))).to_pylist()
    yesterday = w.pipeline.lake.read("events", w.calendar.day(w.calendar.day_of(w.now) - timedelta(days=2))).to_pylist()
    return [f"{r['event_time']:%m-%d %H:%M}" for r in yesterday + rows if r["event_id"] == id]


@pytest.mark.parametrize("at", ["2026-03-10 08:12", "2026-03-12 00:12"])
@pytest.mark.parametrize("is_named_at_once", [False, True])
def test_an_event_that_moves_just_before_its_new_window_is_read_leaves_the_old_one(
    world, monkeypatch, at, is_named_at_once
):
    w = world(dashboard, report, now="2026-03-12 00:47", start="2026-03-10", sources=slow())
    w.shop.add(w.instant(at), w.instant(at), id="x")
    w.run()
    w.live("01:01", every="1 hour")
    w.live("01:06")
    w.at("01:10:35")
    init, left = staging.Read.__init__, [True]

    def moved_first(read, *args, **options):
        if left:
            left.clear()
            w.clock.advance(SECOND)
            w.shop.move("x", w.calendar.instant("2026-03-12T01:07"), at=w.now)
            w.clock.advance(SECOND)
            if is_named_at_once:
                w.pipeline.observe()
        init(read, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(staging.Read, "__init__", moved_first)
        w.tick("every_5_min")
    assert not left
    w.live("03:31", every="30 min")
    assert places(w, "x") == ["03-12 01:07"]
    assert (w.failures("events"), w.failures("events_daily")) == ([], [])


def test_a_window_whose_event_waits_for_its_new_window_is_no_gap(world):
    w = world(dashboard, now="2026-03-12 00:02", start="2026-03-12", sources=slow())
    w.shop.add(w.instant("00:12"), w.instant("00:12"), id="x")
    w.live("00:51")
    w.shop.move("x", w.instant("01:12"), at=w.instant("00:52"))
    w.live("00:58")
    assert accepted(w, "events", "2026-03-12T00:10").count("failed") == 1
    w.live("02:01")
    assert w.ids().count("x") == 1
    assert w.failures("events") == []


def test_an_outage_while_a_gap_is_accepted_gives_up_no_late_event(world, monkeypatch):
    w = world(dashboard, report, now="2026-03-12 00:47", start="2026-03-10", sources=slow())
    w.run()
    w.live("01:01", every="1 hour")
    w.shop.add(w.calendar.instant("2026-03-10T08:12"), w.instant("01:02"), id="late")
    w.shop.add(w.calendar.instant("2026-03-10T12:12"), w.instant("01:02"), id="unreadable")
    w.shop.break_(w.calendar.instant("2026-03-10T12:10"))
    w.at("01:03").pipeline.observe()
    heal = gaps.Ingest.heal

    def away(*args):
        w.shop.is_down = True
        try:
            return heal(*args)
        finally:
            w.shop.is_down = False

    with monkeypatch.context() as patch:
        patch.setattr(gaps.Ingest, "heal", away)
        assert accepted(w, "events_daily", "2026-03-10").count("failed") == 1
    w.live("03:01", every="1 hour")
    assert w.ids().count("late") == 1
