"""What is no gap, what is not given up with one, and what becomes of gaps when sources and ledgers go and come back."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.errors import LakeUnavailable, SourceBusy, SourceIncomplete, SourceUnavailable, UsageError
from stream_assets.lake.publish import Publisher
from stream_assets.lake.rebuild import rebuild
from stream_assets.lake.released import PENDING, RAW
from stream_assets.pipeline.recognise import recognise
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.given_up import FIRST, accepted, gap
from stream_assets_tests.scenarios.shop import COLUMNS, Shop
from stream_assets_tests.scenarios.world import World

# What is no gap, and what is not given up with one.


def test_a_late_event_of_a_sealed_window_is_not_given_up_with_its_day(world):
    w = world(
        dashboard, now="2026-03-11 23:02", start="2026-03-11", sources={"events": Shop(every=timedelta(minutes=10))}
    )
    w.run()
    w.live("23:51", every="30 min")
    w.shop.break_(w.calendar.instant("2026-03-11T23:40"))
    w.stop("every_5_min")
    w.shop.add(w.calendar.instant("2026-03-11T08:12"), w.calendar.instant("2026-03-12T00:00"), id="late")
    w.at("23:59").live("2026-03-12 00:06")
    assert w.failures("events_daily")
    assert accepted(w, "events_daily", "2026-03-11").count("published") == 1
    assert w.ids().count("late") == 1


def test_a_late_event_of_another_window_is_not_given_up_with_one_that_cannot_be_read(world):
    w = world(report, now="2026-03-12 02:01", start="2026-03-11", sources={"events": Shop(every=timedelta(minutes=10))})
    w.run()
    w.shop.break_(w.calendar.instant("2026-03-11T08:00"))
    w.shop.add(w.calendar.instant("2026-03-11T08:02"), w.instant("02:10"), id="unreadable")
    w.live("03:31", every="30 min")
    assert w.failures("events_daily")
    w.shop.add(w.calendar.instant("2026-03-11T15:02"), w.instant("03:32"), id="late")
    w.at("03:33")
    assert accepted(w, "events_daily", "2026-03-11").count("unchanged") == 1
    assert (w.ids().count("late"), w.ids().count("unreadable")) == (1, 0)
    w.live("08:01", every="1 hour")
    assert w.failures("events_daily") == []


def test_what_fails_on_the_lake_is_no_gap(world, monkeypatch):
    w = world(dashboard, now="2026-03-12 00:52", start="2026-03-12")
    w.run()
    w.shop.add(w.calendar.instant("2026-03-12T00:12"), w.instant("00:53"), id="late")
    w.at("00:53")

    def full(*_, **__):
        raise LakeUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "commit", full)
        assert accepted(w, "events", "2026-03-12T00:10").count("failed") == 1
    w.live("01:06")
    assert w.ids().count("late") == 1


def test_an_outage_is_no_gap(world, monkeypatch):
    w = world(dashboard, now="2026-03-12 00:21", start="2026-03-12")
    w.run()
    w.at("00:41").pipeline.observe()

    def away(*_, **__):
        raise SourceUnavailable("it does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Shop, "read", away)
        assert accepted(w, "events", "2026-03-12T00:20", "2026-03-12T00:40").count("failed") == 4
    w.retry("events")
    w.live("01:06")
    assert {r.rows for k, r in w.receipts("events").items() if k.startswith("2026-03-12T00:2")} == {5}


def test_what_was_released_of_a_window_is_there_all_the_same(torn):
    (span, *_) = [f.span for f in torn.pipeline.lake.ledger.work.failures()["events"]]
    row = {"event_id": "released", "event_time": span.start, "arrival_time": None, "country": "DE", "amount": 1.0}
    window = TimeWindow(span.start, span.start + GRID)
    schema = COLUMNS.append(pa.field(RAW, pa.string())).append(pa.field(PENDING, pa.int8()))
    kept = pa.Table.from_pylist([row | {RAW: "{}", PENDING: 0}], schema=schema)
    torn.pipeline.lake.released.put("events", torn.calendar.day_of(window.start), kept)
    start, end = (torn.calendar.key(TimeWindow(t, t + GRID), "5 min") for t in (window.start, window.end))
    assert accepted(torn, "events", start, end).count("published") == 1
    assert torn.ids().count("released") == 1


def test_what_was_accepted_stays_so_when_the_ledger_is_made_anew(world):
    w = world(
        dashboard, now="2026-03-12 00:02", start="2026-03-12", sources={"events": Shop(every=timedelta(minutes=30))}
    )
    bad = w.calendar.instant("2026-03-12T00:20")
    w.shop.break_(bad)
    w.shop.add(bad, bad, id="unreadable")
    w.live("00:41")
    accepted(w, "events", "2026-03-12T00:20")
    w.live("01:01")
    w.pipeline.lake.ledger.database.close()
    rebuild(w.folder, w.now)
    w.define(dashboard)
    recognise(w.pipeline.site)
    w.live("02:01")
    assert w.failures("events") == []
    w.live("2026-03-13 01:01", every="1 hour")
    assert w.coverage("events_daily").covers(w.calendar.day_around(bad))


def test_late_events_are_taken_in_with_a_day_that_is_accepted_and_what_would_lose_events_stays(world):
    w = world(
        dashboard, now="2026-03-11 22:02", start="2026-03-11", sources={"events": Shop(every=timedelta(minutes=10))}
    )
    w.run()
    w.shop.expired_before = w.calendar.instant("2026-03-11T00:03")
    w.shop.break_(w.calendar.instant("2026-03-11T23:40"))
    w.stop("every_5_min")
    w.shop.add(w.calendar.instant("2026-03-11T00:04"), w.calendar.instant("2026-03-11T23:58"), id="beside a loss")
    w.shop.add(w.calendar.instant("2026-03-11T08:12"), w.calendar.instant("2026-03-11T23:58"), id="late")
    before = w.ids()
    w.at("23:59").live("2026-03-12 00:06")
    assert w.failures("events_daily")
    assert accepted(w, "events_daily", "2026-03-11").count("published") == 1
    assert set(before) <= set(w.ids())
    assert (w.ids().count("late"), w.ids().count("beside a loss")) == (1, 0)


def test_a_window_of_a_sealed_day_is_accepted_through_the_streams_own_table(world):
    w = world(dashboard, now="2026-03-11 23:02", start="2026-03-11")
    w.live("2026-03-12 00:31", every="10 min")
    w.shop.break_(w.calendar.instant("2026-03-11T23:40"))
    w.shop.add(w.calendar.instant("2026-03-11T23:42"), w.now, id="unreadable")
    w.live("01:31", every="30 min")
    assert w.failures("events_daily")
    assert [o.state for o in accepted(w, "events", "2026-03-11T23:40").outcomes] == ["delivered by the day"]
    assert w.failures("events_daily") == []
    assert w.pipeline.lake.ledger.reopened.all().get("events", ()) == ()


def test_a_day_that_is_read_whole_is_read_around_what_was_given_up(world):
    w = world(report, now="2026-03-11 12:02", start="2026-03-11", sources={"events": Shop(every=timedelta(minutes=10))})
    bad = w.calendar.instant("2026-03-11T08:00")
    w.shop.break_(bad)
    accepted(w, "events", "2026-03-11T08:00")
    w.live("2026-03-12 00:31", every="6 hour")
    receipt = w.receipts("events_daily")["2026-03-11"]
    assert receipt.accepted == gap(w, "2026-03-11 08:00", "2026-03-11 08:05")
    assert receipt.rows == 143
    assert w.failures("events_daily") == []


def test_a_file_that_stays_in_the_middle_of_a_write_can_be_accepted_and_a_source_that_is_busy_cannot(
    world, monkeypatch
):
    w = world(dashboard, now="2026-03-12 00:21", start="2026-03-12")
    w.run()
    w.at("00:31").pipeline.observe()
    for error, state in ((SourceBusy("all places taken"), "failed"), (SourceIncomplete("half a line"), "published")):

        def refused(*_, error=error, **__):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Shop, "read", refused)
            assert accepted(w, "events", "2026-03-12T00:20", "2026-03-12T00:30").count(state) == 2


# A source that was taken out of service.


def test_a_source_that_is_gone_leaves_gaps_that_count_as_settled_and_comes_back_as_late_events(world):
    w = world(
        dashboard,
        report,
        now="2026-03-11 23:32",
        start="2026-03-11",
        sources={"events": Shop(every=timedelta(minutes=10))},
    )
    w.run()
    w.shop.is_down = True
    w.live("2026-03-12 00:31", every="10 min")
    gone = ("2026-03-11T23:30", "2026-03-12T00:00")
    with pytest.raises(SourceUnavailable):
        accepted(w, "events", *gone)
    made = accepted(w, "events", *gone, source_is_gone=True)
    assert made.count("published") == 6
    w.live("00:41")
    assert w.receipts("events_daily")["2026-03-11"].accepted == gap(w, "2026-03-11 23:30", "2026-03-12 00:00")
    assert w.standing("dashboard").complete_through == w.instant("2026-03-12 00:00")
    assert w.standing("report").complete_through == w.instant("2026-03-12 00:00")
    w.shop.is_down = False
    w.shop.add(w.calendar.instant("2026-03-11T23:42"), w.now, id="back")
    w.live("2026-03-12 02:01", every="10 min")
    assert w.ids().count("back") == 1


def test_a_day_of_a_source_that_is_gone_is_accepted_without_asking_it_window_by_window(world):
    w = world(report, now="2026-03-11 12:02", start="2026-03-11")
    w.shop.is_down = True
    w.live("2026-03-12 00:31", every="6 hour")
    w.shop.reads.clear()
    made = accepted(w, "events_daily", "2026-03-11", source_is_gone=True)
    assert (made.count("published"), made.rows) == (1, 0)
    assert len(w.shop.reads) <= 2
    w.live("2026-03-12 00:41", every="5 min")
    assert w.standing("report").complete_through == w.instant("2026-03-12 00:00")


def test_a_source_that_answers_is_not_gone_whatever_is_said(torn):
    torn.shop.mend()
    made = accepted(torn, "events", "2026-03-11T00:20", "2026-03-11T00:30", source_is_gone=True)
    assert [o.receipt.rows for o in made.outcomes if o.receipt] == [5, 5]
    with pytest.raises(UsageError, match="settles at"):
        accepted(torn, "events", "2026-03-11T00:50", source_is_gone=True)


def test_a_consumer_has_no_source_that_could_be_gone(torn):
    with pytest.raises(UsageError, match="no source of its own"):
        accepted(torn, "dashboard", "2026-03-11T00:20", source_is_gone=True)


# A ledger that is made anew.


def ledger_made_anew(w: World) -> None:
    w.pipeline.lake.ledger.database.close()
    rebuild(w.folder, w.now)
    w.define(dashboard)
    recognise(w.pipeline.site)


def test_an_event_that_is_first_named_in_a_gap_after_the_ledger_was_made_anew_is_read(torn):
    w = torn
    accepted(w, "events", "2026-03-11T00:20", "2026-03-11T00:30")
    w.live("2026-03-11 00:56")
    w.shop.broken = Intervals()
    w.shop.add(w.instant("2026-03-11 00:22"), w.now, id="late")
    ledger_made_anew(w)
    w.live("2026-03-11 01:16")
    assert w.ids().count("late") == 1
    assert w.receipts("events")[FIRST].accepted == ()


def test_a_day_with_gaps_is_sealed_from_its_windows_when_the_ledger_was_made_anew_before(torn):
    w = torn
    w.shop.add(w.instant("2026-03-11 00:22"), w.now, id="unreadable")
    accepted(w, "events", "2026-03-11T00:20", "2026-03-11T00:30")
    w.live("2026-03-11 23:59", every="4 hour")
    w.at("2026-03-12 00:01")
    ledger_made_anew(w)
    w.live("2026-03-12 00:31", every="10 min")
    receipt = w.receipts("events_daily")["2026-03-11"]
    assert receipt.accepted == gap(w, "2026-03-11 00:20", "2026-03-11 00:30")
    assert (w.failures("events"), w.failures("events_daily")) == ([], [])
    assert w.plan().works == ()
