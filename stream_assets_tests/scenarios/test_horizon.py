"""Windows begin on a later day: what is older lives in days alone, nothing of it is wanted any more, and nothing is lost."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stream_assets import consumer
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import HEAL, RECORDS, Work
from stream_assets.core.window import TimeWindow
from stream_assets.errors import LakeError, UsageError
from stream_assets.lake import founding
from stream_assets.lake.custody import backup, restore
from stream_assets.lake.rebuild import rebuild
from stream_assets.pipeline.horizon import advance, latest, usual
from stream_assets.pipeline.recognise import recognise
from stream_assets.pipeline.verify import Verification, verify
from stream_assets.pipeline.verify.consumers import BEFORE
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import World

if TYPE_CHECKING:
    import pyarrow as pa

OLD, FIRST, OPEN = "2026-03-08", "2026-03-09", "2026-03-10"
LAST_OLD, FIRST_NEW = "2026-03-08T23:55+0000", "2026-03-09T00:00+0000"


@consumer(freshness="5 min", grain="5 min", lookback="1 hour", reads={"events": ["amount"]})
def hourly(events: pa.Table) -> pa.Table:
    return events.group_by([]).aggregate([("amount", "sum")])


@consumer(freshness="5 min", grain="5 min", lookback="1 hour", reads={"dashboard": ["amount_sum"]})
def summed(dashboard: pa.Table) -> pa.Table:
    return dashboard.group_by([]).aggregate([("amount_sum", "sum")])


ALL = (dashboard, report, hourly, summed)


@pytest.fixture(scope="module")
def template(shared_world, tmp_path_factory) -> tuple[World, Path, Shop]:
    """Two closed days with all their windows, and twenty minutes of an open one."""
    w = shared_world(*ALL, now="2026-03-10 00:12", start=OLD)
    w.by_hand("events", OLD, "2026-03-08T01:00")  # some windows of the old day have files of their own
    w.run()
    w.live("2026-03-10 00:21")
    assert w.plan().works == ()
    kept = tmp_path_factory.mktemp("kept") / "lake"
    w.pipeline.lake.ledger.database.close()
    shutil.copytree(w.folder, kept)
    return w, kept, copy.deepcopy(w.shop)


@pytest.fixture
def lived(template) -> World:
    """That lake, put back where it was."""
    made, kept, shop = template
    made.pipeline.lake.ledger.database.close()
    shutil.rmtree(made.folder)
    shutil.copytree(kept, made.folder)
    vars(made.shop).update(vars(copy.deepcopy(shop)))
    made.clock.set(made.calendar.instant("2026-03-10T00:21"))
    return made.define(*ALL)


def advanced(w: World) -> World:
    advance(w.pipeline, w.instant(FIRST))
    return w


def verified(w: World) -> Verification:
    everything = TimeWindow(w.pipeline.lake.start, w.calendar.day_around(w.now).end)
    return verify(w.pipeline.site, list(w.pipeline.declarations.tables), everything)


def marked(w: World) -> datetime:
    return datetime.fromisoformat(json.loads((w.folder / "_lake.json").read_text())["windows_from"])


def both(w: World) -> set[datetime]:
    """Where windows begin, as the ledger and the marker beside it say."""
    return {w.pipeline.lake.windows_from, marked(w)}


# What becomes of the windows of before.


def test_nothing_of_before_is_wanted_missed_or_due_and_every_row_can_still_be_read(lived):
    w = lived
    rows = {t: w.table(t) for t in ("events", "dashboard", "hourly", "summed", "report")}
    advanced(w)
    assert both(w) == {w.instant(FIRST)}
    assert w.plan().works == ()
    assert {t: w.table(t) for t in rows} == rows
    assert [list(w.standing(c.name).holes) for c in ALL] == [[]] * 4
    w.run()
    w.live("2026-03-10 00:31")
    assert w.coverage("dashboard").covers(TimeWindow(w.instant(OLD), w.instant("2026-03-10 00:30")))


@pytest.mark.slow
def test_verify_finds_everything_in_order_and_leaves_old_consumers_rows_alone(lived):
    w = lived
    before = verified(w)
    assert before.differences == []
    found = verified(advanced(w))
    assert found.differences == []
    # Those that look back over the border come out as they did.
    assert found.reasons == {BEFORE: 3 * 288}
    assert found.partitions == before.partitions - 3 * 288
    assert found.files == before.files


def test_a_late_event_of_before_heals_its_day_and_what_is_made_of_days(lived):
    w = advanced(lived)
    before = w.receipts("dashboard")
    w.shop.add(w.instant("2026-03-08 00:32"), w.instant("2026-03-10 00:31"), id="late")
    w.at("2026-03-10 01:30").run()
    assert w.ids().count("late") == 1
    assert w.revisions("events_daily") == {OLD: 2, FIRST: 1}
    assert {k: r for k, r in w.receipts("dashboard").items() if k in before} == before
    assert w.revisions("report")[OLD] == 2
    assert w.pipeline.lake.ledger.reopened.all() == {}
    assert w.plan().works == ()
    assert verified(w).differences == []


@pytest.mark.slow
def test_a_late_event_of_before_reaches_the_first_windows_that_look_back_at_it(lived):
    w = advanced(lived)
    before = {t: w.revisions(t) for t in ("hourly", "summed", "dashboard")}
    w.shop.add(w.instant("2026-03-08 23:42"), w.instant("2026-03-10 00:31"), id="late")
    w.at("2026-03-10 01:30").run()
    changed = {t: {k for k, revision in before[t].items() if w.revisions(t)[k] != revision} for t in before}
    assert changed["hourly"] == {f"2026-03-09T00:{m:02}+0000" for m in range(0, 45, 5)}
    # What looks back at windows that are not made any more takes them as they are.
    assert changed["summed"] == changed["dashboard"] == set()
    assert verified(w).differences == []


def test_what_failed_or_waited_before_is_forgotten_and_other_code_of_before_is_not_stale(lived):
    w = lived
    ledger, old = w.pipeline.lake.ledger, TimeWindow(w.instant(OLD), w.instant("2026-03-08 00:05"))
    ledger.work.fail("dashboard", old, "boom", w.now, transient=False)
    ledger.work.fail("events", old, "boom", w.now, transient=False)
    ledger.reopened.add("dashboard", Intervals.of(old), "the test says so", w.now, w.now)
    advanced(w)
    assert ledger.work.failures() == {}
    assert ledger.reopened.all() == {}
    w.define(replace(dashboard, function=_other), report, hourly, summed)
    assert w.standing("dashboard").stale_code == 288 + 4
    w.define(replace(dashboard, code_version="2"), report, hourly, summed)
    assert [r.span.start for r in ledger.reopened.all()["dashboard"]] == [w.instant(FIRST)]


def _other(events: pa.Table) -> pa.Table:
    return events.group_by("country").aggregate([("amount", "sum")])


def test_a_consumer_that_is_new_begins_with_the_windows_that_there_are(lived):
    w = advanced(lived)
    other = replace(dashboard, name="other")
    w.define(
        *ALL, other, replace(summed, name="new", inputs=("other",), forms={"other": "arrow"}, reads={}, function=_new)
    )
    w.run()
    assert min(w.receipts("other")) == min(w.receipts("new")) == FIRST_NEW
    assert (len(w.receipts("other")), len(w.receipts("new"))) == (292, 292)
    assert list(w.standing("new").holes) == []
    assert verified(w).differences == []


def _new(other: pa.Table) -> pa.Table:
    return other.group_by([]).aggregate([("amount_sum", "sum")])


# Others who have the lake open.


def test_whoever_has_the_lake_open_plans_by_it_at_once_and_refuses_an_old_key(lived):
    w = lived
    other = w.project.open(ALL, w.clock)
    ledger = w.pipeline.lake.ledger
    old = TimeWindow(w.instant(OLD), w.instant("2026-03-08 00:05"))
    advanced(w)
    assert other.state().windows_from == w.instant(FIRST)
    with other.running("dashboard", old) as running, pytest.raises(UsageError) as refused:
        other.fill("dashboard", old, running)
    assert "dashboard 2026-03-08T00:00+0000: its first partition is 2026-03-09T00:00+0000" in str(refused.value)
    assert "has to reload its code location" in str(refused.value)
    # A run that was asked for before, and begins only now.
    asked = ledger.work.request(Work(HEAL, "5 min", old, ("dashboard",), True, "the test says so"), w.now)
    ledger.reopened.add("dashboard", Intervals.of(old), "the test says so", w.now, w.now)
    with other.running("dashboard", old, request=asked.id) as running:
        report = other.fill("dashboard", old, running)
    assert [o.state for o in report.outcomes] == ["confirmed"]
    assert w.revisions("dashboard")["2026-03-08T00:00+0000"] == 1


# What is refused.


def refused(w: World, to: datetime) -> str:
    before = both(w)
    with pytest.raises(UsageError) as raised:
        advance(w.pipeline, to)
    assert both(w) == before
    return str(raised.value)


def test_it_never_goes_back_and_again_changes_nothing(lived):
    w = advanced(advanced(lived))
    assert both(w) == {w.instant(FIRST)}
    assert "5-minute keys begin on 2026-03-09, and never earlier again" in refused(w, w.instant(OLD))
    assert usual(w.pipeline) == w.instant(FIRST)


def test_the_live_span_keeps_its_windows(lived):
    w = lived
    assert latest(w.pipeline) == w.instant(FIRST)
    assert "the live span begins on 2026-03-09, and its windows are needed" in refused(w, w.instant(OPEN))
    w.define(*ALL, replace(dashboard, name="weekly", freshness=dashboard.freshness * 12 * 24 * 2))
    assert "the live span begins on 2026-03-08" in refused(w, w.instant(FIRST))


def test_only_a_day_can_be_the_first(lived):
    w = lived
    assert "2026-03-08T12:00:00Z is no local midnight in UTC: name a day" in refused(w, w.instant("2026-03-08 12:00"))


def test_windows_that_are_in_no_sealed_day_stay(world):
    w = world(dashboard, now="2026-03-08 23:40", start="2026-03-08")
    w.by_hand("events", "2026-03-08T10:00", "2026-03-08T10:30")
    w.at("2026-03-10 00:12").plan()
    said = refused(w, w.instant(FIRST))
    assert "events_daily 2026-03-08 is not sealed, so its windows may be all that there is of it" in said
    assert "stream-assets accept-gap events_daily --from 2026-03-08" in said
    w.by_hand("events_daily", "2026-03-08")
    advanced(w)
    assert len(w.ids()) == 1440


def test_work_in_flight_on_what_would_go_is_waited_for_and_other_work_is_not(lived):
    w = lived
    ledger = w.pipeline.lake.ledger
    new, old = (TimeWindow(w.instant(f"{day} 00:00"), w.instant(f"{day} 00:10")) for day in (FIRST, OLD))
    ledger.work.request(Work(HEAL, "5 min", new, ("dashboard",), True, "the test says so"), w.now)
    day = TimeWindow(w.instant(OLD), w.instant(FIRST))
    ledger.work.request(Work(HEAL, "day", day, ("events_daily", "report"), True, "the test says so"), w.now)
    asked = ledger.work.request(Work(HEAL, "5 min", old, ("dashboard",), True, "the test says so"), w.now)
    assert "dashboard [2026-03-08T00:00Z, 2026-03-08T00:10Z) is being filled" in refused(w, w.instant(FIRST))
    ledger.work.drop(asked.id, "stopped", w.now)
    advanced(w)


@pytest.mark.parametrize("table", ["dashboard", "unmet"])
def test_work_in_flight_of_what_others_declare_is_waited_for_where_windows_of_it_would_go(lived, table):
    w = lived.define(report)
    ledger = w.pipeline.lake.ledger
    ledger.register("finance", "day", None)
    old = TimeWindow(w.instant(OLD), w.instant("2026-03-08 00:10"))
    for days in ("finance", RECORDS):
        ledger.work.request(Work(HEAL, "day", old, (days,), True, "the test says so"), w.now)
    asked = ledger.work.request(Work("theirs", "5 min", old, (table,), True, "the test says so"), w.now)
    assert f"{table} [2026-03-08T00:00Z, 2026-03-08T00:10Z) is being filled" in refused(w, w.instant(FIRST))
    ledger.work.drop(asked.id, "stopped", w.now)
    advanced(w)


def test_a_copy_is_left_as_it_is(lived, memory):
    w = lived
    shutil.copytree(w.folder, memory / "copy")
    other = replace(w.project, lake=str(memory / "copy")).open(ALL, w.clock)
    with pytest.raises(LakeError, match="is a copy"):
        advance(other, w.instant(FIRST))
    assert other.lake.windows_from == w.instant(OLD)


# It lasts.


def test_a_crash_between_ledger_and_marker_is_healed_when_the_lake_is_opened(lived, monkeypatch):
    w = lived

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    w.pipeline.lake.refuse_copy()
    with monkeypatch.context() as patch:
        patch.setattr(founding, "write_marker", crash)
        with pytest.raises(KeyboardInterrupt):
            advanced(w)
    assert both(w) == {w.instant(OLD), w.instant(FIRST)}
    w.define(*ALL)
    assert both(w) == {w.instant(FIRST)}
    assert w.plan().works == ()


def test_a_ledger_made_anew_keeps_it(lived):
    w = advanced(lived)
    w.pipeline.lake.ledger.database.close()
    rebuild(w.folder, w.now)
    w.define(*ALL)
    assert both(w) == {w.instant(FIRST)}
    assert recognise(w.pipeline.site) == 0
    assert w.plan().works == ()
    assert verified(w).differences == []


def test_a_backup_of_before_does_not_bring_the_old_windows_back(lived, tmp_path):
    w = lived
    backup(w.pipeline.lake.layout, tmp_path / "before.sqlite")
    advanced(w)
    backup(w.pipeline.lake.layout, tmp_path / "after.sqlite")
    for file in ("before.sqlite", "after.sqlite"):
        w.pipeline.lake.ledger.database.close()
        restore(w.folder, tmp_path / file, w.now)
        w.define(*ALL)
        assert both(w) == {w.instant(FIRST)}
        assert w.plan().works == ()
