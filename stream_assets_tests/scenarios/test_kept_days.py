"""A stream keeps its days for a stated time, with their rejected rows; what went is asked for by nobody again."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import HEAL
from stream_assets.core.retention import Retention
from stream_assets.errors import DeclarationError, UsageError
from stream_assets.lake import remove
from stream_assets.lake.custody import backup, restore
from stream_assets.lake.layout import Layout
from stream_assets.lake.rebuild import rebuild
from stream_assets.lake.store import Lake
from stream_assets.pipeline.verify import verify
from stream_assets.pipeline.verify.consumers import LEFT, UNREADABLE
from stream_assets.sources.files import FileEvents
from stream_assets_tests.scenarios.buyers import report
from stream_assets_tests.scenarios.kept import (
    SECOND,
    everything,
    hourly,
    month,
    no_difference,
    totals_of_report,
    week,
)
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import World, at_freshness


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
    assert w.pipeline.lake.ledger.reopened.all() == {}
    assert verify(w.pipeline.site, ["week"], everything(w)).reasons == {UNREADABLE: 2}


def test_a_partition_that_looks_back_at_days_about_to_go_is_said_to_be_left_as_it_is(world):
    w = month(world, week)
    w.at("2026-03-12 00:06")
    ledger, span = w.pipeline.lake.ledger, w.pipeline.range("week", "2026-03-08")
    with w.pipeline.running("week", span):
        w.run()
        ledger.reopened.add("week", Intervals.of(span), "the test says so", w.now, w.now)
        assert verify(w.pipeline.site, ["week"], everything(w)).reasons == {LEFT: 1}
        w.run()
        assert "week" in ledger.reopened.all()  # they may yet be kept for longer
    w.run()
    assert w.pipeline.lake.ledger.reopened.all() == {}


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
    w.at("2026-07-02 00:06")
    for _ in range(3):
        w.tick(HEAL)
    assert next(iter(w.revisions("events_daily"))) == "2026-03-05"
    assert w.pipeline.lake.ledger.history.folded_upto() == 0


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


def test_what_was_to_be_made_again_and_cannot_be_is_forgotten(world):
    w = month(world, week)
    w.shop.add(w.instant("2026-03-08 00:07"), w.now + SECOND)
    w.clock.advance(2 * SECOND)
    w.pipeline.observe()
    ledger = w.pipeline.lake.ledger
    ledger.work.fail("week", w.pipeline.range("week", "2026-03-08"), "poison", w.now, transient=False, code=week.code)
    w.at("2026-03-12 00:06").run()
    assert (ledger.work.failures(), ledger.reopened.all()) == ({}, {})


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
    (said,) = w.failures("__staging")
    assert "day=2026-03-05" in said
    no_difference(w)
    monkeypatch.undo()
    w.clock.advance(timedelta(minutes=20))
    w.run()
    assert w.failures("__staging") == []
    assert not (w.folder / "events_daily" / "day=2026-03-05").exists()


def test_a_folder_that_cannot_be_looked_into_is_a_failure_and_keeps_nothing_else_from_running(world, monkeypatch):
    w = month(world, report)
    w.at("2026-03-11 00:06")
    newer = remove.newer

    def unreadable(layout, ledger, table, grain, span):
        if f"{span.start:%F}" == "2026-03-05":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return newer(layout, ledger, table, grain, span)

    monkeypatch.setattr(remove, "newer", unreadable)
    w.run()
    assert list(w.revisions("report"))[-1] == "2026-03-10"
    assert any("cannot be written (Input/output error)" in said for said in w.failures("_events_daily"))
    monkeypatch.undo()
    w.clock.advance(timedelta(minutes=20))
    w.run()
    assert w.failures("_events_daily") == []
    no_difference(w)


def test_a_marker_that_a_crash_kept_behind_is_brought_up_to_date(world, monkeypatch):
    w = month(world, report)
    w.at("2026-03-11 00:06")
    monkeypatch.setattr(Lake, "mark", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    w.run()
    assert "full" in w.failures("__staging")[0]
    monkeypatch.undo()
    w.clock.advance(timedelta(minutes=20))
    w.run()
    assert json.loads(w.pipeline.lake.layout.marker.read_text()) == w.pipeline.lake.ledger.meta()
    assert w.failures("__staging") == []


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


def rejecting(world, tmp_path: Path, **keep: str) -> World:
    """Every day has an event, and a row that cannot become one."""
    landing = tmp_path / "landing"
    landing.mkdir()
    rows = [f'{{"event_id": "{d}", "event_time": "2026-03-0{d} 12:00:00"}}\n' for d in range(1, 10)]
    good = [f'{{"event_id": "g{d}", "event_time": "2026-03-0{d}T12:00:00Z"}}\n' for d in range(1, 10)]
    (landing / "a.jsonl").write_text("".join(rows + good))
    source = FileEvents(str(landing), lateness=timedelta(seconds=30))
    w = world(now="2026-03-10 00:06", start="2026-03-01", sources={"events": source}, **keep)
    w.run()
    return w


def keeping(w: World, **keep: str) -> World:
    w.project = replace(w.project, streams=tuple(replace(s, **keep) for s in w.project.streams))
    return w.define()


def rejected_days(w: World) -> list[str]:
    return sorted(p.name.removeprefix("day=2026-03-") for p in (w.folder / "_rejected" / "events").iterdir())


def test_rejected_rows_go_by_themselves_and_with_their_days(world, tmp_path):
    w = rejecting(world, tmp_path, keep_rejected="3 days")
    assert rejected_days(w) == ["07", "08", "09"]
    assert next(iter(w.revisions("events_daily"))) == "2026-03-01"
    keeping(w, keep="2 days").run()
    assert list(w.revisions("events_daily")) == ["2026-03-08", "2026-03-09"]
    assert rejected_days(w) == ["08", "09"]


def test_rejected_rows_stay_while_a_run_may_write_some(world, tmp_path):
    w = keeping(rejecting(world, tmp_path), keep_rejected="3 days")
    with w.pipeline.running("events_daily", w.pipeline.range("events_daily", "2026-03-05")):
        w.run()
        assert rejected_days(w) == ["05", "06", "07", "08", "09"]
    w.run()
    assert rejected_days(w) == ["07", "08", "09"]


def test_a_failure_to_remove_rejected_rows_waits_like_any_other(world, tmp_path, monkeypatch):
    w = keeping(rejecting(world, tmp_path), keep_rejected="3 days")
    monkeypatch.setattr(Layout, "rejected_days", unreadable)
    assert [work.removes for work in w.run()] == ["rejected"]
    assert "Input/output error" in w.failures("_events_daily")[0]
    assert w.plan().works == ()
    assert "removal of events_daily" in w.says(HEAL)
    monkeypatch.undo()
    w.clock.advance(timedelta(minutes=20))
    assert [work.removes for work in w.run()] == ["rejected"]
    assert (rejected_days(w), w.failures("_events_daily")) == (["07", "08", "09"], [])


def unreadable(*_asked):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_rejected_rows_of_a_day_that_was_healed_later_go_with_the_next_ones_and_only_as_planned(world, tmp_path):
    w = rejecting(world, tmp_path, keep_rejected="3 days")
    (w.folder / "_rejected" / "events" / "day=2026-03-02").mkdir()  # as a run leaves it that heals this day
    keeping(w, keep_rejected="2 days")
    with w.pipeline.running("events_daily", w.pipeline.range("events_daily", "2026-03-02")):
        w.run()
        assert rejected_days(w) == ["02", "08", "09"]
    keeping(w, keep_rejected="1 day").run()
    assert rejected_days(w) == ["09"]


def test_windows_of_a_day_that_was_never_sealed_are_said_to_go(world):
    w = world(now="2026-03-08 00:06", start="2026-03-01", sources={"events": hourly()}, keep="5 days")
    w.by_hand("events", "2026-03-01T00:00", "2026-03-08T00:00")
    work = next(x for x in w.plan().works if x.removes == "days")
    lease = w.pipeline.lake.ledger.work.request(work, w.now)
    reports = w.pipeline.run_work(work, lease.id)
    assert [(r.table, r.count("removed")) for r in reports] == [("events", 288)]


def test_a_range_with_days_that_cannot_be_made_makes_the_others(world):
    w = month(world)
    w.at("2026-03-12 00:06").run()
    made = w.by_hand("events_daily", "2026-03-06", "2026-03-13")
    states = {f"{o.span.start:%m-%d}": o.state for o in made.outcomes}
    assert states == {"03-06": "failed", **{f"03-{n:02}": "unchanged" for n in range(7, 12)}, "03-12": "failed"}
    said = [o.error for o in made.failed]
    assert "not kept any more" in said[0]
    assert "the open day is never sealed" in said[1]
    assert w.failures("events_daily") == []
