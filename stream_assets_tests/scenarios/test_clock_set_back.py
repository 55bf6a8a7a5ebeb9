"""A machine's clock that was wrong and is set right: nothing is doubled or lost, and nothing waits until it has caught up."""

from datetime import timedelta

import pytest

from stream_assets.core.window import GRID, TimeWindow, floor_to_grid
from stream_assets.errors import SourceUnavailable
from stream_assets.pipeline import pipeline as pipelines
from stream_assets.pipeline import reading
from stream_assets.pipeline.verify import verify
from stream_assets.sources.protocol import Arrivals
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import World

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def w(world):
    made = world(dashboard, now="2026-03-10 04:17", start="2026-03-10")
    made.run()
    return made


def set_back(w: World) -> None:
    w.clock.set(w.now - HOUR)


def assert_whole(w: World) -> None:
    ids = w.ids()
    assert len(ids) == len(set(ids))
    assert w.pipeline.lake.ledger.reopened.all() == {}
    span = w.pipeline.range("events", "2026-03-10", "2026-03-10T04:15")
    assert verify(w.pipeline.site, list(w.pipeline.declarations.tables), span).differences == []


def test_watermark_and_what_is_sealed_stay(w):
    before = w.coverage("events"), w.revisions("events"), w.pipeline.lake.ledger.sources.watermarks()
    set_back(w)
    assert w.run() == []
    assert (w.coverage("events"), w.revisions("events"), w.pipeline.lake.ledger.sources.watermarks()) == before
    assert w.live("04:24")
    assert_whole(w)


def test_what_was_reopened_before_is_settled_after(w):
    """Else it would be read again in every round until the clock had caught up."""
    w.shop.add(w.instant("2026-03-10 04:02"), w.now + SECOND, id="late")
    w.clock.advance(2 * SECOND)
    w.pipeline.observe()
    set_back(w)
    w.by_hand("events", "2026-03-10T04:00")
    assert w.pipeline.lake.ledger.reopened.all().get("events", ()) == ()
    assert w.ids().count("late") == 1


def test_what_arrives_after_is_not_settled_by_a_read_from_before(w):
    def jump_and_arrive():
        set_back(w)
        w.pipeline.observe()
        w.shop.add(w.instant("2026-03-10 02:02"), w.now + SECOND, id="late")
        w.clock.advance(2 * SECOND)
        w.pipeline.observe()

    w.shop.add(w.instant("2026-03-10 02:03"), w.now, id="seen")
    with w.before_commit("events", jump_and_arrive):
        w.by_hand("events", "2026-03-10T02:00")
    assert "late" not in w.ids()
    w.live("04:31")
    assert w.ids().count("late") == w.ids().count("seen") == 1
    assert_whole(w)


def test_work_that_died_before_is_free_at_once(w):
    w.at("04:20").clock.advance(36 * SECOND)
    w.pipeline.request("every_5_min")
    assert w.pipeline.lake.ledger.work.in_flight(w.now)
    set_back(w)
    assert w.pipeline.lake.ledger.work.in_flight(w.now) == ()
    assert w.run()
    assert "2026-03-10T04:15+0000" in w.receipts("events")


def test_a_wait_from_before_ends(w, monkeypatch):
    w.at("04:20").clock.advance(36 * SECOND)

    def away(*_, **__):
        raise SourceUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(w.shop, "read", away)
        w.tick("every_5_min")
    assert w.failures("events") == ["away"]
    set_back(w)
    w.run()
    assert w.failures("events") == []
    assert "2026-03-10T04:15+0000" in w.receipts("events")


def test_places_of_readers_from_before_are_free(w):
    work = w.pipeline.lake.ledger.work
    minute = timedelta(minutes=1)
    assert work.take_place("events", 1, w.now, minute)
    assert work.take_place("events", 1, w.now, minute) is None
    set_back(w)
    assert work.take_place("events", 1, w.now, minute)


def test_work_behind_a_midnight_that_the_clock_was_set_back_before_is_done(world):
    w = world(dashboard, now="2026-03-10 23:40", start="2026-03-10")
    w.run()
    w.clock.advance(HOUR)
    w.pipeline.observe()
    w.clock.set(w.now - HOUR)
    w.run()
    assert "2026-03-11T00:30+0000" in w.revisions("dashboard")
    assert w.failures("dashboard") == []


def test_an_event_that_is_seen_by_a_clock_set_back_while_its_window_is_made(world):
    w = world(dashboard, now="2026-03-10 14:37", start="2026-03-10")
    w.run()
    w.at("2026-03-10 14:40").clock.advance(timedelta(seconds=35))

    arrivals = w.shop.arrivals

    def set_back():
        w.shop.add(w.instant("2026-03-10 14:38"), w.now + timedelta(seconds=1), id="late")
        w.clock.set(w.now + timedelta(seconds=2) - HOUR)
        # The source's own clock is right.
        w.shop.arrivals = lambda cursor, *, now, state=None: arrivals(cursor, now=now + HOUR, state=state)
        w.pipeline.observe()
        w.shop.arrivals = arrivals
        w.clock.set(w.now + HOUR)

    with w.before_commit("events", set_back):
        w.tick("every_5_min")
    assert "late" not in w.ids()
    w.live("14:51")
    assert w.ids().count("late") == 1


class Numbered(Shop):
    """Its cursor counts what it has told of, as that of files does."""

    def arrivals(self, cursor, *, now, state=None):
        told = int(cursor or 0)
        rows = [r for r in self._added if r["arrival_time"] <= now][told:]
        starts = [floor_to_grid(r["event_time"]) for r in rows]
        return Arrivals(tuple(TimeWindow(s, s + GRID) for s in starts), str(told + len(rows)), now)


def test_a_late_event_behind_the_midnight_that_the_clock_was_set_back_before(world):
    w = world(
        dashboard, now="2026-03-11 23:02", start="2026-03-11", sources={"events": Numbered(every=timedelta(minutes=4))}
    )
    w.live("2026-03-12 00:26", every="30 min")
    w.clock.set(w.calendar.instant("2026-03-11T23:50"))
    w.shop.add(w.calendar.instant("2026-03-12T00:07"), w.now + SECOND, id="late")
    w.clock.advance(10 * SECOND)
    w.ticks()
    w.live("2026-03-12 01:31", every="30 min")
    assert w.ids().count("late") == 1


def test_a_step_of_less_than_the_settling_time_hides_nothing_that_was_named(world):
    shop = Numbered(every=timedelta(minutes=4), settling=timedelta(minutes=2))
    w = world(dashboard, now="2026-03-12 00:02", start="2026-03-12", sources={"events": shop})
    w.live("00:53")
    w.shop.add(w.calendar.instant("2026-03-12T00:51"), w.calendar.instant("2026-03-12T00:57:10"), id="late")
    w.at("00:57:15").pipeline.observe()
    w.clock.set(w.calendar.instant("2026-03-12T00:57:05"))
    w.tick("every_5_min")
    w.live("02:01", every="30 min")
    assert w.ids().count("late") == 1


def test_what_is_named_while_a_read_begins_is_not_taken_for_read(w, monkeypatch):
    as_of, left = reading._as_of, [True]

    def named_right_after(site, stream):
        now = as_of(site, stream)
        if left:
            left.clear()
            w.shop.add(w.instant("2026-03-10 02:02"), w.now + SECOND, id="late")
            w.clock.advance(2 * SECOND)
            w.pipeline.observe()
        return now

    w.shop.add(w.instant("2026-03-10 02:03"), w.now, id="seen")
    monkeypatch.setattr(reading, "_as_of", named_right_after)
    w.by_hand("events", "2026-03-10T02:00")
    w.live("04:31")
    assert w.ids().count("late") == w.ids().count("seen") == 1


def test_late_events_of_a_closed_day_wait_an_hour_at_most(world):
    w = world(
        report, now="2026-03-12 02:01", start="2026-03-11", sources={"events": Numbered(every=timedelta(minutes=30))}
    )
    w.run()
    right = w.now
    w.shop.add(w.calendar.instant("2026-03-11T08:02"), right, id="first")
    w.clock.set(right + 12 * HOUR)
    w.ticks()
    w.clock.set(right)
    w.shop.add(w.calendar.instant("2026-03-11T09:02"), right, id="second")
    w.clock.advance(timedelta(minutes=5))
    w.ticks()
    w.clock.set(right + 2 * HOUR)
    w.ticks()
    assert w.ids().count("first") == w.ids().count("second") == 1


def test_a_source_that_names_nothing_is_looked_at_again_all_the_same(world):
    shop = Shop(every=timedelta(minutes=30))
    shop.arrivals = lambda cursor, *, now, state=None: None
    w = world(dashboard, now="2026-03-12 00:02", start="2026-03-12", sources={"events": shop})
    w.live("00:26")
    right = w.now
    w.shop.lag = 12 * HOUR
    w.clock.set(right + 12 * HOUR)
    w.shop.add(w.calendar.instant("2026-03-12T00:02"), w.calendar.instant("2026-03-12T00:03"), id="made ahead")
    w.by_hand("events", "2026-03-12T00:00")
    w.clock.set(right)
    w.shop.lag = timedelta(0)
    w.live("00:36")
    w.shop.add(w.calendar.instant("2026-03-12T00:32"), w.now + 30 * SECOND, id="late")
    w.live("02:01", every="30 min")
    assert w.ids().count("late") == 1


def test_staging_is_swept_although_it_was_swept_in_the_future(w, monkeypatch):
    swept = []
    monkeypatch.setattr(pipelines, "sweep", lambda *_: swept.append(w.now))
    right = w.now
    w.clock.set(right + timedelta(days=30))
    w.pipeline._tidy()
    w.clock.set(right)
    w.pipeline._tidy()
    assert len(swept) == 2
