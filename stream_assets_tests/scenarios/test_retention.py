"""What is not kept goes: windows of sealed days, days of a stream, rejected rows. Nobody misses or doubles an event."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from stream_assets import consumer
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import HEAL
from stream_assets.core.retention import Retention
from stream_assets.core.window import TimeWindow
from stream_assets.errors import Conflict, DeclarationError, UsageError
from stream_assets.lake import remove
from stream_assets.lake.custody import backup, restore
from stream_assets.lake.rebuild import rebuild
from stream_assets.lake.store import Lake
from stream_assets.pipeline.compute import Compute
from stream_assets.pipeline.verify import verify
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import World, at_freshness

SECOND = timedelta(seconds=1)


@consumer(freshness="1 day", reads={"report": ["country", "amount_sum"]})
def totals_of_report(report: pa.Table) -> pa.Table:
    """Revenue per country, from what another consumer summed."""
    return report.group_by("country").aggregate([("amount_sum", "sum")]).sort_by("country")


week = replace(report, name="week", lookback=timedelta(days=3))


def hourly() -> Shop:
    return Shop(every=timedelta(hours=1))


def sealed_day(world, *consumers, **options) -> World:
    """The 10th was filled by windows and is sealed; of the 9th there is the day alone."""
    consumers = consumers or (dashboard, report)
    options = {"end": "2026-03-11", **options}
    w = world(*consumers, now="2026-03-10 23:58", start="2026-03-09", sources={"events": hourly()}, **options)
    w.run()
    w.at("2026-03-11 00:01").run()
    w.at("00:06").run()
    assert len(files(w, "events", "2026-03-10")) == 288
    return w


def no_difference(w: World) -> None:
    found = verify(w.pipeline.site, list(w.pipeline.declarations.tables), everything(w), is_deep=True)
    assert [d for d in found.differences if not d.is_known] == []


def everything(w: World) -> TimeWindow:
    return TimeWindow(w.pipeline.lake.start, w.now + timedelta(days=1))


def files(w: World, table: str, day: str) -> list[Path]:
    return sorted((w.folder / table / f"day={day}").rglob("*.parquet"))


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
    ledger, listed = lake.ledger, lake.ledger.current_of
    day = ledger.current("events_daily", span)[0]
    windows = ledger.current("events", span)

    def stale(tables, asked):
        """The list of before the day was sealed, once; the windows' files go before they are opened."""
        monkeypatch.setattr(ledger, "current_of", listed)
        w.at("2026-03-18 00:10").run()
        return windows

    monkeypatch.setattr(ledger, "current_of", stale)
    assert lake.read("events", span).equals(before)
    assert ledger.current("events_daily", span) == [day]
    assert files(w, "events", "2026-03-10") == []


# Days of a stream.


def month(world, *consumers, **options) -> World:
    w = world(
        *consumers, now="2026-03-10 00:06", start="2026-03-01", sources={"events": hourly()}, keep="5 days", **options
    )
    w.run()
    return w


def test_days_go_when_they_are_older_than_what_is_kept_and_tables_of_consumers_stay(world):
    w = month(world, report)
    assert list(w.revisions("events_daily")) == [f"2026-03-0{n}" for n in range(5, 10)]
    assert list(w.revisions("report")) == [f"2026-03-0{n}" for n in range(5, 10)]
    w.at("2026-03-12 00:06")
    w.run()
    assert next(iter(w.revisions("events_daily"))) == "2026-03-07"
    assert next(iter(w.revisions("report"))) == "2026-03-05"
    assert w.standing("report").is_kept
    assert w.standing("report").holes.spans == ()
    assert not (w.folder / "events_daily" / "day=2026-03-05").exists()
    no_difference(w)


def test_what_went_is_asked_of_the_source_never_again_also_where_more_is_kept_from_now_on(world):
    w = month(world, report)
    w.at("2026-03-12 00:06").run()
    w.project = replace(w.project, streams=tuple(replace(s, keep=None) for s in w.project.streams))
    w.define(report)
    assert w.run() == []
    assert next(iter(w.revisions("events_daily"))) == "2026-03-07"
    with pytest.raises(UsageError, match="not kept any more .* begins with 2026-03-07"):
        w.by_hand("events_daily", "2026-03-06")


def test_a_ledger_made_anew_still_knows_what_went(world):
    w = month(world, report)
    w.at("2026-03-12 00:06").run()
    w.pipeline.lake.ledger.database.close()
    w.project = replace(w.project, streams=tuple(replace(s, keep=None) for s in w.project.streams))
    rebuild(w.folder, w.now)
    w.define(report)
    w.run()
    assert next(iter(w.revisions("events_daily"))) == "2026-03-07"
    assert next(iter(w.revisions("report"))) == "2026-03-05"


def test_a_partition_that_looks_back_at_days_that_went_is_left_as_it_is(world):
    w = month(world, week)
    assert list(w.revisions("week")) == ["2026-03-08", "2026-03-09"]
    w.at("2026-03-12 00:06").run()
    before = w.receipts("week")["2026-03-09"]
    w.shop.add(w.instant("2026-03-09 00:07"), w.now + SECOND)
    w.clock.advance(timedelta(minutes=61))
    w.run()
    assert w.revisions("events_daily")["2026-03-09"] == 2
    after = w.revisions("week")
    # That of the 9th read the 6th, which went: made again it would lack what it had.
    assert (w.receipts("week")["2026-03-09"], after["2026-03-10"], after["2026-03-11"]) == (before, 2, 2)


def test_late_events_of_days_that_went_are_no_news(world):
    w = month(world, report)
    w.at("2026-03-12 00:06").run()
    w.shop.add(w.instant("2026-03-06 12:00"), w.now + SECOND)
    w.clock.advance(timedelta(hours=2))
    assert [work for work in w.run() if "report" in work.tables or "events_daily" in work.tables] == []
    assert next(iter(w.revisions("events_daily"))) == "2026-03-07"


def test_failures_of_days_that_go_are_forgotten(world):
    shop = hourly()
    w = world(report, now="2026-03-10 00:06", start="2026-03-05", sources={"events": shop}, keep="5 days")
    shop.break_(w.instant("2026-03-06 00:00"), w.instant("2026-03-06 00:05"))
    for _ in range(4):
        w.run()
        w.clock.advance(timedelta(minutes=20))
    assert w.failures("events_daily")
    w.at("2026-03-13 00:06").run()
    assert w.failures("events_daily") == []


class Honest(Shop):
    """Has no events of the future, whatever the clock says."""

    def events(self, window):
        return super().events(window) if window.start < datetime(2026, 3, 10, tzinfo=UTC) else []


@pytest.mark.parametrize("is_down", [True, False])
def test_a_clock_that_runs_ahead_removes_nothing(world, is_down):
    w = world(
        report,
        now="2026-03-10 00:06",
        start="2026-03-01",
        sources={"events": Honest(every=timedelta(hours=1))},
        keep="5 days",
    )
    w.run()
    w.shop.is_down = is_down
    w.at("2026-04-02 00:06")
    for _ in range(3):
        w.tick(HEAL)
    assert next(iter(w.revisions("events_daily"))) == "2026-03-05"


def test_consumers_of_consumers_have_no_holes_where_what_they_read_is_not_made_any_more(world):
    second = replace(totals_of_report, lookback=timedelta(days=3))
    w = month(world, report, totals_of_report, replace(second, name="third"))
    assert [w.standing(name).holes.spans for name in ("report", "totals_of_report", "third")] == [(), (), ()]
    assert next(iter(w.revisions("totals_of_report"))) == "2026-03-05"
    assert next(iter(w.revisions("third"))) == "2026-03-08"
    no_difference(w)


def test_days_stay_while_a_run_of_what_others_declare_is_in_flight(world):
    w = month(world, week)
    w.at("2026-03-11 00:06")
    other = w.project.open((), w.clock)
    with w.pipeline.running("week", w.pipeline.range("week", "2026-03-08")):
        list(other.run())
        assert "2026-03-05" in w.revisions("events_daily")
    list(other.run())
    assert "2026-03-05" not in w.revisions("events_daily")


def test_what_goes_between_a_consumers_look_and_its_reading_is_no_smaller_answer(world):
    w = month(world, week)
    w.at("2026-03-11 00:06")
    span = w.pipeline.range("week", "2026-03-08")
    files, left = type(w.pipeline.lake).files, [True]

    def late(lake, *args):
        if left:
            left.pop()
            lake.ledger.cover("events_daily", [w.pipeline.range("events_daily", "2026-03-05")], Intervals())
        return files(lake, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(w.pipeline.lake), "files", late)
        state = w.pipeline.state()
        with pytest.raises(Conflict, match="was removed while it was about to be read"):
            Compute(w.pipeline.site, week, state).inputs([span])


def test_what_was_to_be_made_again_and_cannot_be_is_forgotten(world):
    w = month(world, week)
    w.shop.add(w.instant("2026-03-08 00:07"), w.now + SECOND)
    w.clock.advance(2 * SECOND)
    w.pipeline.observe()
    ledger = w.pipeline.lake.ledger
    ledger.work.fail("week", w.pipeline.range("week", "2026-03-08"), "poison", w.now, transient=False, code=week.code)
    w.at("2026-03-12 00:06").run()
    assert (ledger.work.failures(), ledger.reopened()) == ({}, {})


def test_a_backup_of_before_knows_what_went_since(world, tmp_path):
    w = month(world, report)
    backup(w.pipeline.lake.layout, tmp_path / "backup")
    w.at("2026-03-12 00:06").run()
    before = w.ids()
    w.pipeline.lake.ledger.database.close()
    restore(w.folder, tmp_path / "backup", w.now)
    w.project = replace(w.project, streams=tuple(replace(s, keep=None) for s in w.project.streams))
    w.define(report)
    assert w.ids() == before
    w.run()
    assert next(iter(w.revisions("events_daily"))) == "2026-03-07"
    no_difference(w)


def test_what_cannot_leave_the_lake_is_said_and_stops_nothing_else(world, monkeypatch):
    w = month(world, report)
    w.at("2026-03-11 00:06")
    move = remove.move_new

    def stuck(source, target):
        if source.name == "day=2026-03-05":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        move(source, target)

    monkeypatch.setattr(remove, "move_new", stuck)
    w.run()
    w.at("2026-03-12 00:06").run()
    assert (w.folder / "events_daily" / "day=2026-03-05").exists()
    assert not (w.folder / "events_daily" / "day=2026-03-06").exists()
    assert list(w.revisions("report"))[-1] == "2026-03-11"
    (said,) = w.failures("__ledger")
    assert "day=2026-03-05" in said
    no_difference(w)
    monkeypatch.undo()
    w.clock.advance(timedelta(minutes=20))
    w.run()
    assert w.failures("__ledger") == []
    assert not (w.folder / "events_daily" / "day=2026-03-05").exists()


def test_a_marker_that_a_crash_kept_behind_is_brought_up_to_date(world, monkeypatch):
    w = month(world, report)
    w.at("2026-03-11 00:06")
    monkeypatch.setattr(Lake, "mark", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    w.run()
    assert "full" in w.failures("__ledger")[0]
    monkeypatch.undo()
    w.clock.advance(timedelta(minutes=20))
    w.run()
    assert json.loads(w.pipeline.lake.layout.marker.read_text()) == w.pipeline.lake.ledger.meta()
    assert w.failures("__ledger") == []


def test_days_stay_while_a_run_reads_them(world):
    w = month(world, week)
    w.at("2026-03-11 00:06")
    with w.pipeline.running("week", w.pipeline.range("week", "2026-03-08")):
        w.run()
        assert "2026-03-05" in w.revisions("events_daily")
    w.run()
    assert "2026-03-05" not in w.revisions("events_daily")


def test_what_keeps_less_than_a_reader_looks_back_is_refused(world):
    with pytest.raises(DeclarationError, match="it needs at least 5 days"):
        world(week, now="2026-03-10 00:06", keep="4 days")
    with pytest.raises(DeclarationError, match="it needs at least 8 days"):
        world(at_freshness(report, "7 days"), now="2026-03-10 00:06", keep="7 days")
    with pytest.raises(DeclarationError, match="at least 1 day"):
        Retention(windows=timedelta(hours=5))


# Rejected rows.


def test_rejected_rows_go_by_themselves_and_with_their_days(world, tmp_path):
    from stream_assets.sources.files import FileEvents

    landing = tmp_path / "landing"
    landing.mkdir()
    rows = [f'{{"event_id": "{d}", "event_time": "2026-03-0{d} 12:00:00"}}\n' for d in range(1, 10)]
    good = [f'{{"event_id": "g{d}", "event_time": "2026-03-0{d}T12:00:00Z"}}\n' for d in range(1, 10)]
    (landing / "a.jsonl").write_text("".join(rows + good))
    source = FileEvents(str(landing), lateness=timedelta(seconds=30))
    w = world(now="2026-03-10 00:06", start="2026-03-01", sources={"events": source}, keep_rejected="3 days")
    w.run()
    kept = sorted(p.name for p in (w.folder / "_rejected" / "events").iterdir())
    assert kept
    assert kept[0] >= "day=2026-03-07"
    assert next(iter(w.revisions("events_daily"))) == "2026-03-01"
    w.project = replace(w.project, streams=tuple(replace(s, keep="2 days") for s in w.project.streams))
    w.define()
    w.run()
    assert list(w.revisions("events_daily")) == ["2026-03-08", "2026-03-09"]
    assert all(p.name >= "day=2026-03-08" for p in (w.folder / "_rejected" / "events").iterdir())


# The ledger's own records.


def test_records_of_single_publications_become_sums_of_each_day(world):
    w = sealed_day(world)
    ledger = w.pipeline.lake.ledger
    before = (
        ledger.history.published(w.now.date() - timedelta(days=10)),
        ledger.history.worked(w.now.date() - timedelta(days=10)),
    )
    seq = ledger.seq()
    w.at("2026-06-20 00:06")
    w.shop.is_down = True
    assert [work.removes for work in w.run() if work.removes == "history"] == ["history"]
    assert ledger.database.rows("select * from publication where committed_at < '2026-03-12'") == []
    assert ledger.seq() >= seq
    days = {p.day for p in before[0]}
    assert [p for p in ledger.history.published(min(days)) if p.day in days] == before[0]
    assert [x for x in ledger.history.worked(min(days)) if x.day in days] == before[1]
    assert w.run() == []


def test_a_consumer_that_was_away_while_records_were_folded_makes_what_it_has_again(world):
    w = sealed_day(world)
    w.define(dashboard)
    w.shop.add(w.instant("2026-03-10 00:07"), w.now + SECOND)
    w.clock.advance(timedelta(hours=2))
    w.run()
    w.at("2026-06-20 00:06").run()
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
