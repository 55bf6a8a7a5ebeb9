"""A ledger that is gone, damaged, of an older release or behind its lake: everything but history comes back."""

from __future__ import annotations

import copy
import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stream_assets import consumer
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Receipt
from stream_assets.core.window import TimeWindow
from stream_assets.errors import LakeError
from stream_assets.events.columns import Columns
from stream_assets.lake.custody import Restored, backup, damage, restore
from stream_assets.lake.layout import Layout
from stream_assets.lake.rebuild import Rebuilt, rebuild
from stream_assets.lake.store import Lake
from stream_assets.pipeline.recognise import WHY, recognise
from stream_assets.pipeline.verify import verify
from stream_assets_tests.lake.processes import ended, start
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import World

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = ("events", "events_daily", "dashboard", "report", "week", "hour")


@consumer(freshness="1 day", lookback="2 days", reads={"events": ["amount"]})
def week(events: pa.Table) -> pa.Table:
    return events.group_by([]).aggregate([("amount", "sum")])


@consumer(freshness="5 min", grain="5 min", lookback="1 hour", reads={"dashboard": ["amount_sum"]})
def hour(dashboard: pa.Table) -> pa.Table:
    return dashboard.group_by([]).aggregate([("amount_sum", "sum")])


ALL = (dashboard, report, week, hour)


@pytest.fixture(scope="module")
def template(shared_world, tmp_path_factory) -> tuple[World, Path, Shop]:
    """Two closed days, of which one kept some windows, and an open one, with late events in both kinds."""
    w = shared_world(*ALL, now="2026-03-10 23:42", start="2026-03-09")
    w.live("2026-03-11 00:21")
    kept = tmp_path_factory.mktemp("kept")
    backup(w.pipeline.lake.layout, kept / "backup.sqlite")
    w.shop.add(w.instant("2026-03-10 23:12"), w.instant("2026-03-11 00:22"))
    w.shop.add(w.instant("2026-03-11 00:12"), w.instant("2026-03-11 00:22"))
    w.live("2026-03-11 01:11", every="15 min")
    w.live("2026-03-11 01:26")
    assert w.plan().works == ()
    assert max(w.revisions("events_daily").values()) == max(w.revisions("dashboard").values()) == 2
    w.pipeline.lake.ledger.database.close()
    shutil.copytree(w.folder, kept / "lake")
    return w, kept, copy.deepcopy(w.shop)


@pytest.fixture
def lived(template) -> World:
    """That lake, put back where it was."""
    made, kept, shop = template
    made.pipeline.lake.ledger.database.close()
    shutil.rmtree(made.folder)
    shutil.copytree(kept / "lake", made.folder)
    vars(made.shop).update(vars(copy.deepcopy(shop)))
    made.stop().clock.set(made.calendar.instant("2026-03-11T01:26"))
    return made.define(*ALL)


def files(w: World) -> dict[str, list[str]]:
    """Return the parts that lie in each table's folder, and nothing else that moved."""
    return {t: sorted(p.name for p in (w.folder / t).rglob("*.parquet")) for t in TABLES}


def content(w: World) -> dict[str, tuple[dict[str, Receipt], Intervals]]:
    return {t: (w.receipts(t), w.coverage(t)) for t in TABLES}


def rebuilt(w: World) -> Rebuilt:
    w.pipeline.lake.ledger.database.close()
    made = rebuild(w.folder, w.now)
    w.define(*w.pipeline.declarations.consumers)
    return made


def assert_whole(w: World) -> None:
    everything = TimeWindow(w.pipeline.lake.start, w.calendar.day_around(w.now).end)
    found = verify(w.pipeline.site, list(w.pipeline.declarations.tables), everything)
    assert found.differences == []


def gone(path: Path) -> None:
    for side in ("", "-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)


def without_header(path: Path) -> None:
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])


def with_a_page_of_noise(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    for page in range(4096, len(whole), 4096):
        whole[page : page + 4096] = b"\xa5" * 4096
    path.write_bytes(whole)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 8192 * 4096])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "happens",
    [
        with_a_page_of_noise,
        *(pytest.param(what, marks=pytest.mark.slow) for what in (gone, without_header, cut_in_half, emptied)),
    ],
)
def test_whatever_became_of_it_everything_but_history_is_back_and_nothing_is_published_again(lived, happens):
    w = lived
    before, lay, seq = content(w), files(w), w.pipeline.lake.ledger.seq()
    lake, start, windows_from = w.pipeline.lake.id, w.pipeline.lake.start, w.pipeline.lake.windows_from
    epoch = w.pipeline.lake.meta["epoch"]
    w.pipeline.lake.ledger.database.close()
    happens(w.folder / "_ledger.sqlite")
    assert damage(w.folder / "_ledger.sqlite") != []
    if happens is not cut_in_half:  # which may still answer
        with pytest.raises(LakeError, match="stream-assets ledger rebuild"):
            w.define(*ALL)
    made = rebuilt(w)
    assert (made.broken, made.kept is None) == ([], happens is gone)
    assert damage(w.folder / "_ledger.sqlite") == []
    assert content(w) == before
    known = w.pipeline.lake
    assert (known.id, known.start, known.windows_from) == (lake, start, windows_from)
    assert known.meta["epoch"] != epoch
    assert known.ledger.seq() > max(r.inputs_seq for t in TABLES for r in w.receipts(t).values())
    assert seq
    assert recognise(w.pipeline.site) == 0
    assert w.plan().works == ()
    assert_whole(w)
    w.run()
    w.live("2026-03-11 01:36")
    old = {t: {k: r for k, r in w.revisions(t).items() if k in before[t][0]} for t in TABLES}
    grown = {"report", "week"}  # whose open day goes on
    assert {t: r for t, r in old.items() if t not in grown} == {
        t: {k: r.revision for k, r in before[t][0].items()} for t in TABLES if t not in grown
    }
    assert all(set(lay[t]) <= set(files(w)[t]) for t in TABLES if t not in grown)
    assert_whole(w)


def test_of_an_older_release_it_is_refused_with_the_way_on(lived):
    w = lived
    ledger = w.pipeline.lake.ledger
    ledger.database.change("update meta set value = '1' where key = 'format'")
    with pytest.raises(LakeError, match=r"another release .*format 1, not 3.*stream-assets ledger rebuild"):
        w.define(*ALL)
    rebuilt(w)
    assert recognise(w.pipeline.site) == 0
    assert w.plan().works == ()


def test_consumers_are_known_since_their_oldest_receipt(lived):
    w = lived
    oldest = min(r.committed_at for r in w.receipts("dashboard").values())
    standing = w.standing("dashboard")
    rebuilt(w)
    assert w.pipeline.lake.ledger.sources.consumers()["dashboard"].first_seen == oldest
    assert w.standing("dashboard").complete_through == standing.complete_through
    assert w.standing("dashboard").holes == standing.holes


def test_the_columns_of_streams_are_known_again_and_no_file_is_looked_at_for_them(lived, monkeypatch):
    w, nothing = lived, TimeWindow(lived.pipeline.lake.start, lived.pipeline.lake.start)
    before = w.pipeline.site.columns("events", nothing)
    assert before.kinds.keys() >= {"event_id", "event_time", "country", "amount"}
    rebuilt(w)
    monkeypatch.setattr(Lake, "columns_of", lambda *_: pytest.fail("files were looked at"))
    assert w.pipeline.site.columns("events", nothing) == before


def test_cursors_and_sequences_start_afresh_and_a_late_event_that_was_waiting_is_found_again(lived):
    w = lived
    w.shop.add(w.instant("2026-03-11 00:47"), w.instant("2026-03-11 01:27"), id="waits")
    w.at("2026-03-11 01:28").plan()
    rebuilt(w)
    assert w.pipeline.lake.ledger.sources.cursor("events") is None
    recognise(w.pipeline.site)
    w.live("2026-03-11 01:36")
    assert w.ids().count("waits") == 1
    assert w.revisions("dashboard")["2026-03-11T00:45+0000"] == 2
    assert_whole(w)


def test_a_consumers_partition_whose_inputs_are_others_is_made_again_and_no_other(lived):
    w = lived
    w.stop("every_5_min", "heal")
    w.shop.add(w.instant("2026-03-11 00:47"), w.instant("2026-03-11 01:27"))
    w.at("2026-03-11 01:28")
    w.by_hand("events", "2026-03-11T00:45")
    rebuilt(w)
    assert recognise(w.pipeline.site) == 1
    reopened = w.pipeline.lake.ledger.reopened.all()
    assert [(r.span.start, r.reason) for r in reopened["dashboard"]] == [(w.instant("2026-03-11 00:45"), WHY)]
    assert "hour" not in reopened
    before = w.revisions("hour")
    w.stop()
    w.live("2026-03-11 01:31")
    assert w.revisions("dashboard")["2026-03-11T00:45+0000"] == 2
    changed = [k for k, r in w.revisions("hour").items() if k in before and r != before[k]]
    assert changed[0] == "2026-03-11T00:45+0000"
    assert_whole(w)


def test_before_consumers_are_recognised_all_count_as_stale_and_come_out_equal(lived):
    w = lived
    before = {t: w.revisions(t) for t in ("dashboard", "report")}
    rebuilt(w)
    assert w.plan().works != ()
    w.run()
    assert {t: w.revisions(t) for t in ("dashboard", "report")} == before


def test_an_edited_consumer_is_stale_code_as_before(lived):
    w = lived
    rebuilt(w)

    @consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id", "country", "amount"]})
    def dashboard(events: pa.Table) -> pa.Table:
        return events.group_by("country").aggregate([("event_id", "count"), ("amount", "max")])

    w.define(dashboard, report, week)
    assert w.standing("dashboard").stale_code > 0
    assert w.standing("report").stale_code == 0


def test_of_two_parts_in_one_folder_the_newer_whole_one_wins_and_a_broken_one_is_named(lived):
    w = lived
    folders = sorted((w.folder / "events").rglob("window_start=*"))
    (old,) = folders[0].iterdir()
    newer = folders[0] / "part-r9-00000000.parquet"
    newer.write_bytes(old.read_bytes()[:-40])
    (strange,) = folders[1].iterdir()
    shutil.copyfile(strange, folders[2] / "part-r9-00000000.parquet")
    before = w.receipts("events")
    made = rebuilt(w)
    assert [path for path, _ in made.broken] == [newer, folders[2] / "part-r9-00000000.parquet"]
    assert "no whole Parquet file" in made.broken[0][1]
    assert "says of itself that it is events" in made.broken[1][1]
    assert w.receipts("events") == before


def test_a_ledger_that_another_process_has_open_is_left_alone(lived, tmp_path):
    w = lived
    w.pipeline.lake.ledger.database.close()
    ready, go = tmp_path / "ready", tmp_path / "go"

    def holds() -> None:
        w.define(*ALL)
        w.pipeline.lake.ledger.seq()
        ready.touch()
        while not go.exists():
            pass

    child = start(holds)
    while not ready.exists():
        pass
    with pytest.raises(LakeError, match=f"is open in process {child}: stop what uses the lake"):
        rebuild(w.folder, w.now)
    go.touch()
    assert ended(child) == 0
    assert rebuild(w.folder, w.now).partitions["events"] > 20


def test_a_rebuild_that_dies_leaves_the_ledger_as_it_was(lived, monkeypatch):
    w = lived
    before = content(w)
    w.pipeline.lake.ledger.database.close()
    monkeypatch.setattr("stream_assets.lake.rebuild.put_in_place", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rebuild(w.folder, w.now)
    monkeypatch.undo()
    w.define(*ALL)
    assert content(w) == before
    rebuilt(w)
    assert content(w) == before


def test_without_what_was_fixed_it_is_refused(lived):
    w = lived
    w.pipeline.lake.ledger.database.close()
    (w.folder / "_lake.json").unlink()
    with pytest.raises(LakeError, match=r"_lake.json does not say .* put it back"):
        rebuild(w.folder, w.now)


def put_back(w: World, template: tuple[World, Path, Shop]) -> Restored:
    w.pipeline.lake.ledger.database.close()
    restored = restore(w.folder, template[1] / "backup.sqlite", w.now)
    w.define(*ALL)
    return restored


@pytest.mark.slow
def test_a_backup_put_back_has_at_once_what_was_published_since(lived, template):
    """Windows and consumers' partitions that are new since, and a day, a window and what reads them that were published again."""
    w = lived
    before, lay, rows = content(w), files(w), {t: w.table(t) for t in TABLES}
    seq = max(r.inputs_seq for t in TABLES for r in w.receipts(t).values())
    restored = put_back(w, template)
    assert restored.kept is not None
    assert restored.broken == []
    assert restored.adopted["events_daily"] == 1
    assert restored.adopted["events"] == 15
    assert content(w) == before
    assert {t: w.table(t) for t in TABLES} == rows
    assert w.pipeline.lake.ledger.seq() > seq
    assert recognise(w.pipeline.site) == 0
    assert_whole(w)
    assert [work for work in w.plan().works if set(work.tables) - {"events", "events_daily"}] == []
    w.run()
    w.clock.advance(timedelta(minutes=1))
    w.run()
    assert files(w) == lay
    assert_whole(w)


@pytest.mark.parametrize("are_known", [True, False])
def test_a_backup_put_back_knows_the_columns_of_what_was_published_since_if_it_knew_any(lived, tmp_path, are_known):
    w, nothing = lived, TimeWindow(lived.pipeline.lake.start, lived.pipeline.lake.start)
    everything, sources = w.pipeline.site.columns("events", nothing), w.pipeline.lake.ledger.sources
    fewer = {n: kind for n, kind in everything.kinds.items() if n != "amount"}
    sources.know_columns("events", Columns(fewer).to_text() if are_known else None)
    backup(w.pipeline.lake.layout, tmp_path / "then.sqlite")
    w.live("2026-03-11 01:31")
    w.pipeline.lake.ledger.database.close()
    restore(w.folder, tmp_path / "then.sqlite", w.now)
    w.define(*ALL)
    assert (w.pipeline.lake.ledger.sources.columns("events") is not None) == are_known
    assert w.pipeline.site.columns("events", nothing).kinds == everything.kinds


def test_before_consumers_are_recognised_a_backup_put_back_makes_them_again_and_they_come_out_equal(lived, template):
    w = lived
    lay = files(w)
    put_back(w, template)
    w.run()
    w.clock.advance(timedelta(minutes=1))
    w.run()
    assert files(w) == lay
    assert_whole(w)


def test_a_backup_of_what_is_there_adopts_nothing(lived, tmp_path):
    w = lived
    backup(w.pipeline.lake.layout, tmp_path / "fresh.sqlite")
    before = content(w)
    w.pipeline.lake.ledger.database.close()
    assert restore(w.folder, tmp_path / "fresh.sqlite", w.now).adopted == {}
    w.define(*ALL)
    assert content(w) == before
    assert w.plan().works == ()


def test_what_failed_when_the_backup_was_made_and_was_published_since_no_longer_stands_as_failed(lived, tmp_path):
    w = lived
    (window,) = w.pipeline.calendar.partitions(w.pipeline.range("dashboard", "2026-03-11T01:25"), "5 min")
    w.pipeline.lake.ledger.work.fail("dashboard", window, "broken then", w.now, transient=False)
    backup(w.pipeline.lake.layout, tmp_path / "failed.sqlite")
    w.live("2026-03-11 01:31")
    assert w.failures("dashboard") == []
    w.pipeline.lake.ledger.database.close()
    restore(w.folder, tmp_path / "failed.sqlite", w.now)
    w.define(*ALL)
    assert w.failures("dashboard") == []


def test_a_newer_file_that_is_not_whole_is_named_and_the_partition_stays_as_the_backup_knows_it(lived, template):
    w = lived
    folder = max((w.folder / "dashboard").rglob("window_start=*"))
    (newest,) = folder.iterdir()
    newest.write_bytes(newest.read_bytes()[:-40])
    restored = put_back(w, template)
    assert [path for path, _ in restored.broken] == [newest]
    assert "2026-03-11T01:20+0000" not in w.receipts("dashboard")


def test_a_backup_of_another_lake_or_damaged_is_refused(lived, world, tmp_path):
    w, other = lived, world(dashboard, now="2026-03-10 00:12", start="2026-03-10")
    backup(other.pipeline.lake.layout, tmp_path / "other.sqlite")
    cut = tmp_path / "cut.sqlite"
    cut.write_bytes((tmp_path / "other.sqlite").read_bytes()[:20000])
    w.pipeline.lake.ledger.database.close()
    for file, said in ((tmp_path / "other.sqlite", "choose a backup of this lake"), (cut, "is no whole ledger")):
        with pytest.raises(LakeError, match=said):
            restore(w.folder, file, w.now)
    assert damage(w.folder / "_ledger.sqlite") == []
    assert not list(w.folder.glob("*.restored*"))


def test_a_backup_inside_the_lake_is_refused(lived):
    w = lived
    layout: Layout = w.pipeline.lake.layout
    from stream_assets.errors import UsageError

    with pytest.raises(UsageError, match="lies in the lake itself"):
        backup(layout, w.folder / "copy.sqlite")
