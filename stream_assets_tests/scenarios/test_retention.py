"""What is not kept goes: files of windows whose day is sealed, and single records. Nobody misses or doubles an event."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import HEAL
from stream_assets.errors import LakeUnavailable
from stream_assets.lake.ledger.history import HistoryRecords
from stream_assets.lake.read import Reader, Replaced
from stream_assets.pipeline import pipeline, retention
from stream_assets.pipeline.retention import clear_leaving
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.kept import (
    SECOND,
    files,
    hourly,
    no_difference,
    sealed_day,
)

# Files of windows whose day is sealed.


def test_files_of_windows_go_seven_days_after_their_day_and_nobody_misses_an_event(world):
    w = sealed_day(world)
    w.at("2026-03-17 23:59").run()
    before = w.table("events", upto="2026-03-11"), w.table("dashboard"), w.revisions("report")
    assert len(files(w, "events", "2026-03-10")) == 288
    w.at("2026-03-18 00:00")
    assert "removes 2026-03-10T00:00+0000 to 2026-03-10T23:55+0000 of events" in w.says(HEAL)
    w.tick(HEAL)
    assert not (w.folder / "events" / "day=2026-03-10").exists()
    assert (w.table("events", upto="2026-03-11"), w.table("dashboard"), w.revisions("report")) == before
    assert w.standing("dashboard").holes.spans == ()
    assert w.plan().of(HEAL) == ()
    no_difference(w)


def test_a_window_that_went_is_delivered_by_its_day(world):
    w = sealed_day(world)
    w.at("2026-03-18 00:10").run()
    said = w.by_hand("events", "2026-03-10T00:00", "2026-03-10T00:10")
    assert [o.state for o in said.outcomes] == ["delivered by the day"] * 2
    assert files(w, "events", "2026-03-10") == []


def test_a_late_event_of_a_day_whose_windows_went_heals_the_day_alone(world):
    w = sealed_day(world)
    w.at("2026-03-18 00:10").run()
    w.shop.add(w.instant("2026-03-10 00:07"), w.now + SECOND)
    w.clock.advance(2 * SECOND)
    w.run()
    assert w.revisions("events_daily")["2026-03-10"] == 2
    assert files(w, "events", "2026-03-10") == []
    assert w.revisions("dashboard")["2026-03-10T00:05+0000"] == 2
    no_difference(w)


def test_files_of_windows_stay_while_their_day_is_not_sealed(world):
    w = world(dashboard, now="2026-03-10 23:58", start="2026-03-10", sources={"events": hourly()})
    w.run()
    w.shop.is_down = True
    w.at("2026-03-20 00:06")
    w.run()
    assert len(files(w, "events", "2026-03-10")) == 287
    assert w.coverage("events_daily").spans == ()


def test_a_window_that_differs_from_its_day_stays_and_says_so_until_it_is_mended(world):
    w = sealed_day(world)
    ledger = w.pipeline.lake.ledger
    with ledger.transaction():
        ledger.database.change(
            "update current set rows = rows + 1 where tbl = 'events' and key_start like '%10T05:00%'"
        )
    w.at("2026-03-18 00:10").run()
    assert len(files(w, "events", "2026-03-10")) == 288
    (said,) = w.failures("_events")
    assert "its day has other events there" in said
    with ledger.transaction():
        ledger.database.change(
            "update current set rows = rows - 1 where tbl = 'events' and key_start like '%10T05:00%'"
        )
    w.clock.advance(timedelta(hours=1))
    w.run()
    assert (files(w, "events", "2026-03-10"), w.failures("_events")) == ([], [])


def test_files_of_windows_stay_while_a_run_heals_their_day(world):
    w = sealed_day(world)
    w.at("2026-03-18 00:10")
    with w.pipeline.running("events_daily", w.pipeline.range("events_daily", "2026-03-10")):
        w.run()
        assert len(files(w, "events", "2026-03-10")) == 288
    w.run()
    assert files(w, "events", "2026-03-10") == []


def test_a_reader_whose_list_is_older_than_the_day_reads_again(world, monkeypatch):
    w = sealed_day(world)
    lake, span = w.pipeline.lake, w.pipeline.range("events_daily", "2026-03-10")
    before = lake.read("events", span)
    ledger, listed = lake.ledger, lake.ledger.serving
    day = ledger.current("events_daily", span)[0]
    windows = ledger.current("events", span)

    def stale(*_asked):
        """The list of before the day was sealed, once; the windows' files go before they are opened."""
        monkeypatch.setattr(ledger, "serving", listed)
        w.at("2026-03-18 00:10").run()
        return windows

    monkeypatch.setattr(ledger, "serving", stale)
    assert lake.read("events", span).equals(before)
    assert ledger.current("events_daily", span) == [day]
    assert files(w, "events", "2026-03-10") == []


def test_what_a_crash_kept_from_leaving_is_not_taken_back_by_a_reader_that_knew_it(world, monkeypatch):
    w = sealed_day(world)
    lake, span = w.pipeline.lake, w.pipeline.range("events", "2026-03-10T00:05")
    (listed,) = lake.ledger.current("events", span)
    w.shop.add(w.instant("2026-03-10 00:07"), w.now + SECOND)
    w.clock.advance(timedelta(hours=2))
    w.run()
    assert w.revisions("events")["2026-03-10T00:05+0000"] == 2
    w.at("2026-03-18 00:10")
    with monkeypatch.context() as crash:
        crash.setattr(retention, "clear_leaving", lambda _: None)
        w.run()
    assert len(files(w, "events", "2026-03-10")) == 288
    with pytest.raises(Replaced, match="has been removed while it was being opened"):
        Reader(lake.layout, lake.ledger).with_file(listed, Path.read_bytes)
    assert lake.ledger.current("events", span) == []
    w.clock.advance(timedelta(minutes=20))
    w.tick(HEAL)
    assert files(w, "events", "2026-03-10") == []
    no_difference(w)


def test_what_a_crash_kept_from_leaving_is_in_nobodys_way(world, monkeypatch):
    w = sealed_day(world)
    w.at("2026-03-18 00:10")
    with monkeypatch.context() as crash:
        crash.setattr(retention, "clear_leaving", lambda _: None)
        w.run()
    ledger, day = w.pipeline.lake.ledger, w.pipeline.range("events_daily", "2026-03-10")
    with ledger.transaction():  # the day is lost, so its windows are wanted again
        for current in ledger.current("events_daily", day):
            ledger.remove(current, "lost", w.now)
        ledger.cover("events_daily", [day], Intervals())
    assert w.by_hand("events", "2026-03-10T00:00", "2026-03-10T00:10").count("published") == 2
    w.clock.advance(timedelta(minutes=20))
    clear_leaving(w.pipeline.site)
    assert len(files(w, "events", "2026-03-10")) == 2


# The ledger's own records.


def test_records_of_single_publications_become_sums_of_each_day(world):
    w = sealed_day(world)
    ledger = w.pipeline.lake.ledger
    before = (
        ledger.history.published(w.now.date() - timedelta(days=10)),
        ledger.history.worked(w.now.date() - timedelta(days=10), w.now),
    )
    seq = ledger.seq()
    w.at("2026-09-18 00:06")
    w.shop.is_down = True
    assert [work.removes for work in w.run() if work.removes == "history"] == ["history"]
    assert ledger.database.rows("select * from publication where committed_at < '2026-03-12'") == []
    assert ledger.seq() >= seq
    days = {p.day for p in before[0]}
    assert [p for p in ledger.history.published(min(days)) if p.day in days] == before[0]
    assert [x for x in ledger.history.worked(min(days), w.now) if x.day in days] == before[1]
    assert w.run() == []


def test_records_of_years_become_sums_in_pieces_of_a_month(world):
    w = sealed_day(world)
    before = w.pipeline.lake.ledger.history.published(w.now.date() - timedelta(days=10))
    w.at("2026-11-18 00:06")
    assert [work.span.duration.days for work in w.run() if work.removes == "history"] == [31, 31, 11]
    after = w.pipeline.lake.ledger.history.published(w.now.date() - timedelta(days=300))
    assert [p for p in after if p.day <= before[-1].day] == before


def test_a_consumer_that_was_away_while_records_were_folded_makes_what_it_has_again(world):
    w = sealed_day(world)
    w.define(dashboard)
    w.shop.add(w.instant("2026-03-10 00:07"), w.now + SECOND)
    w.clock.advance(timedelta(hours=2))
    w.run()
    w.at("2026-09-18 00:06").run()
    w.define(dashboard, report)
    w.run()
    assert w.revisions("report")["2026-03-10"] == 2
    assert w.revisions("report")["2026-03-09"] == 1
    no_difference(w)


def test_work_that_removes_is_told_as_work(world):
    w = sealed_day(world)
    w.at("2026-03-18 00:10")
    assert w.tick(HEAL) == []  # no run is asked for: it is done within the tick
    claim = w.pipeline.lake.ledger.work.recent(1)[0]
    assert (claim.automation, claim.tables, claim.state) == (HEAL, ("events",), "done")
    assert claim.span == w.pipeline.range("events_daily", "2026-03-10")
    removed = w.pipeline.lake.ledger.history.published(w.now.date())
    assert [(p.table, p.removed) for p in removed] == [("events", 288)]


def test_a_tick_that_dies_while_it_removes_has_asked_for_no_run_that_nobody_does(world, monkeypatch):
    w = sealed_day(world, end=None)
    w.at("2026-03-18 00:20")
    ledger, removes, beside = w.pipeline.lake.ledger, pipeline.remove_planned, []

    def watched(site, work, request):
        beside.extend(flying.tables for flying in ledger.work.in_flight(w.now))
        return removes(site, work, request)

    monkeypatch.setattr(pipeline, "remove_planned", watched)
    assert "; removes next 2026-03-10T00:00+0000 to 2026-03-10T23:55+0000 of events (" in w.says(HEAL)
    _, requests = w.pipeline.request(HEAL)
    assert [work.removes for work, _ in requests] == [None]
    assert beside == []
    for work, lease in requests:
        w.pipeline.run_work(work, lease.id)
    while w.tick(HEAL):
        pass
    assert beside == [("events",)]
    assert files(w, "events", "2026-03-10") == []


def test_what_a_removal_that_breaks_off_leaves_is_free_at_once(world, monkeypatch):
    w = sealed_day(world)
    w.at("2026-03-18 00:10")

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "remove_planned", stopped)
    with pytest.raises(KeyboardInterrupt):
        w.tick(HEAL)
    monkeypatch.undo()
    assert w.pipeline.lake.ledger.work.in_flight(w.now) == ()
    w.tick(HEAL)
    assert files(w, "events", "2026-03-10") == []


def test_a_failure_to_fold_records_waits_like_any_other(world, monkeypatch):
    w = sealed_day(world)
    w.at("2026-09-18 00:06").run()
    w.clock.advance(timedelta(days=1))

    def full(*_asked):
        raise LakeUnavailable("the ledger cannot be used now (disk full)")

    monkeypatch.setattr(HistoryRecords, "fold", full)
    assert [work.removes for work in w.run()] == ["history"]
    assert "disk full" in w.failures("__ledger")[0]
    assert w.plan().works == ()
    assert "removal of _ledger 2026-03-22 tried again at" in w.says(HEAL)
    monkeypatch.undo()
    w.clock.advance(timedelta(minutes=20))
    assert [work.removes for work in w.run()] == ["history"]
    assert w.failures("__ledger") == []


def test_what_somebody_else_removed_meanwhile_is_gone_and_no_failure(world, monkeypatch):
    w = sealed_day(world)
    w.at("2026-03-18 00:10")
    removes, others = retention.remove, []

    def late(*arguments):
        if not others:
            others.append("removed")
            removes(*arguments)
        return removes(*arguments)

    monkeypatch.setattr(retention, "remove", late)
    reports = [r for _, reports in w.pipeline.run() for r in reports]
    assert others
    assert [o for r in reports for o in r.outcomes] == []
    assert w.pipeline.lake.ledger.work.failures() == {}
    assert files(w, "events", "2026-03-10") == []
    assert w.plan().works == ()
