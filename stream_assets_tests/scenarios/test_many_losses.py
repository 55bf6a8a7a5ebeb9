"""A source that has lost events of many windows at once: one look finds all of them, and nothing else waits for them."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta

import pytest

from stream_assets.lake.publish import Publisher
from stream_assets.pipeline.gaps import reopen
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import Shop

FIRST, SECOND, TODAY = "2026-03-10", "2026-03-11", "2026-03-12"
MOVING = {"between days": f"{FIRST} 20:12", "within a day": f"{SECOND} 08:12"}


@contextmanager
def staged():
    """Gather the table of every partition that is written into staging."""
    stage, tables = Publisher.stage, []

    def counted(publisher, *args, **kwargs):
        said = stage(publisher, *args, **kwargs)
        tables.append(said.table)
        return said

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Publisher, "stage", counted)
        yield tables


def at(w, text):
    return w.calendar.instant(text.replace(" ", "T"))


@pytest.fixture
def lossy(world):
    """Two sealed days, reopened whole, of which the source has lost every event before the second noon."""
    shop = Shop(every=timedelta(minutes=10))
    w = world(report, now=f"{TODAY} 00:47", start=FIRST, sources={"events": shop})
    for id, start in MOVING.items():
        w.shop.add(at(w, start), at(w, start), id=id)
    w.run()
    w.shop.expired_before = at(w, f"{SECOND} 12:00")
    span = w.pipeline.range("events_daily", FIRST, TODAY)
    reopen(w.pipeline, "events_daily", span, "a file was removed")
    w.at("00:52").shop.reads.clear()
    return w


def test_they_stay_as_they_are_and_the_source_is_not_asked_again_for_each_of_them(lossy):
    w, before = lossy, lossy.ids()
    w.shop.add(at(w, f"{SECOND} 20:12"), w.now, id="late")
    with staged() as tables:
        w.run()
    assert len(w.shop.reads) <= 10
    assert tables.count("events_daily") <= 5
    assert sorted(w.ids()) == sorted([*before, "late"])
    assert w.revisions("events_daily") == {FIRST: 1, SECOND: 2}
    left = w.pipeline.lake.ledger.reopened.all()["events"]
    assert not any(r.span.overlaps(w.pipeline.range("events", f"{SECOND}T12:00", f"{TODAY}T00:00")) for r in left)
    first, second = w.failures("events_daily")
    assert "the source no longer gives 1 of 1 events" in first
    assert "for such reasons: 144" in first
    assert "for such reasons: 72" in second


def test_their_day_is_paused_after_three_tries(lossy):
    lossy.live("08:01", every="30 min")
    failures = lossy.pipeline.lake.ledger.work.failures()["events_daily"]
    assert [(f.tries, f.transient) for f in failures] == [(3, False)] * 2
    assert lossy.run() == []


def test_a_source_that_has_them_again_ends_it(lossy):
    w, before = lossy, lossy.ids()
    w.run()
    w.shop.expired_before = at(w, FIRST)
    w.retry("events_daily")
    w.run()
    assert w.failures("events_daily") == []
    assert w.pipeline.lake.ledger.reopened.all().get("events", ()) == ()
    assert w.ids() == before


def test_who_accepts_the_loss_ends_it(lossy):
    w = lossy
    w.run()
    assert not w.by_hand("events_daily", FIRST, TODAY, accepts_loss=True).failed
    assert w.failures("events_daily") == []
    assert len(w.ids()) == 72
    assert [work.tables for work in w.run()] == [("report",)]


@pytest.mark.parametrize("id", MOVING)
def test_an_event_that_moved_out_of_a_window_that_lost_another_stays_there_until_both_can_be_published(lossy, id):
    w, entered = lossy, lossy.pipeline.range("events", f"{SECOND}T20:10")
    w.shop.move(id, at(w, f"{SECOND} 20:12"), at=w.now)
    w.shop.add(at(w, f"{SECOND} 21:12"), w.now, id="late")
    with staged() as tables:
        w.run()
    assert w.ids().count(id) == w.ids().count("late") == 1
    assert id not in w.pipeline.lake.read("events", entered)["event_id"].to_pylist()
    assert len(w.shop.reads) <= 14
    assert tables.count("events_daily") <= 8
    w.shop.expired_before = at(w, FIRST)
    w.retry("events_daily")
    w.run()
    assert w.failures("events_daily") == []
    assert w.ids().count(id) == 1
    assert id in w.pipeline.lake.read("events", entered)["event_id"].to_pylist()


def test_windows_of_the_open_day_stay_as_they_are_and_are_asked_for_once(world):
    w = world(dashboard, now=f"{TODAY} 20:02", start=TODAY, sources={"events": Shop(every=timedelta(minutes=5))})
    w.run()
    before = w.ids()
    w.shop.expired_before = at(w, f"{TODAY} 18:00")
    reopen(w.pipeline, "events", w.pipeline.range("events", f"{TODAY}T00:00", f"{TODAY}T20:00"), "a file was removed")
    w.at("20:03").shop.add(at(w, f"{TODAY} 19:12"), w.now, id="late")
    w.shop.reads.clear()
    with staged() as tables:
        w.live("20:06")
    assert len(w.shop.reads) == 2
    assert tables.count("events") == 2  # the late one's, and the one that has settled
    assert sorted(i for i in w.ids() if i in before or i == "late") == sorted([*before, "late"])
    assert len(w.failures("events")) == 18 * 12
    w.shop.expired_before = at(w, TODAY)
    w.retry("events")
    w.live("20:11")
    assert w.failures("events") == []
    assert w.ids().count("late") == 1
    assert set(before) < set(w.ids())
