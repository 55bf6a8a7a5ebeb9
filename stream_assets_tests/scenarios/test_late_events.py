"""Events that arrive after their window was sealed."""

from datetime import timedelta

import pytest

from stream_assets.pipeline.verify import verify
from stream_assets_tests.scenarios.buyers import dashboard, ledger_book, report
from stream_assets_tests.scenarios.world import at_freshness, ranges

LATE = "2026-03-11T00:10+0000"
book = at_freshness(report, "5 min")


@pytest.fixture
def lived(world):
    w = world(dashboard, book, ledger_book, now="2026-03-11 01:02", start="2026-03-11")
    w.live("01:06")
    return w


def everything(w):
    return {
        (t, key): r
        for t in ("events", "events_daily", "dashboard", "report", "ledger_book")
        for key, r in w.revisions(t).items()
    }


def changed(w, before):
    return {k for k, r in everything(w).items() if k in before and r != before[k]}


def test_on_the_open_day_its_window_and_what_reads_it_are_published_again_and_nothing_else(lived, world):
    w, before = lived, everything(lived)
    w.shop.add(w.instant("2026-03-11 00:12"), w.instant("2026-03-11 01:07"))
    w.live("01:08", every="1 min")
    assert changed(w, before) == set()
    w.live("01:11")
    assert changed(w, before) == {("events", LATE), ("dashboard", LATE), ("report", "2026-03-11")}
    receipt = w.receipts("events")[LATE]
    assert (receipt.revision, receipt.rows) == (2, 6)
    assert receipt.reason == "events arrived late"
    assert w.receipts("dashboard")[LATE].reason == "events changed"
    fresh = world(dashboard, book, ledger_book, now="2026-03-11 01:11", start="2026-03-11", sources={"events": w.shop})
    fresh.run()
    for table in ("events", "dashboard", "report"):
        assert w.table(table) == fresh.table(table)


def test_it_rides_the_next_run_of_the_cadence(lived):
    lived.shop.add(lived.instant("2026-03-11 00:12"), lived.instant("2026-03-11 01:07"))
    lived.live("01:08", every="1 min")
    assert ranges(lived.live("01:11")) == [
        "events+dashboard 03-11 00:10 03-11 01:10",
        "report 03-11 00:00 03-12 00:00",
    ]
    assert lived.shop.reads[-2:] == [
        r for r in lived.shop.reads if r.start in (lived.instant("2026-03-11 00:10"), lived.instant("2026-03-11 01:05"))
    ]


def test_on_a_closed_day_the_day_its_window_file_and_their_readers_are_published_again(lived):
    w = lived
    w.live("2026-03-12 00:21", every="1 hour")
    before = everything(w)
    assert ("events", LATE) in before
    w.shop.add(w.instant("2026-03-11 00:12"), w.instant("2026-03-12 00:22"))
    reads = len(w.shop.reads)
    w.live("02:01", every="30 min")
    assert changed(w, before) - {("report", "2026-03-12")} == {
        ("events", LATE),
        ("events_daily", "2026-03-11"),
        ("dashboard", LATE),
        ("report", "2026-03-11"),
        ("ledger_book", "2026-03-11"),
    }
    assert any(str(r) == "[2026-03-11T00:10Z, 2026-03-11T00:15Z)" for r in w.shop.reads[reads:])
    assert len(w.ids()) == len(set(w.ids()))
    assert w.receipts("events_daily")["2026-03-11"].rows == 1441
    assert "events arrived late" in w.receipts("events_daily")["2026-03-11"].reason


def test_a_closed_day_heals_at_most_once_an_hour(world):
    w = world(report, now="2026-03-11 00:32", start="2026-03-10")
    w.run()
    for minute in range(0, 300, 10):
        w.shop.add(w.instant("2026-03-10 08:01"), w.now + timedelta(minutes=minute + 1))
    w.live("05:32", every="10 min")
    assert 4 <= w.revisions("events_daily")["2026-03-10"] - 1 <= 5
    w.live("07:02", every="10 min")
    assert w.receipts("events_daily")["2026-03-10"].rows == 1440 + 30
    assert sum(dict(row)["amount_count"] for row in w.table("report")) == 1440 + 30


def test_a_closed_day_heals_at_most_once_an_hour_also_beside_a_window_that_cannot_be_read(world):
    w = world(report, now="2026-03-11 00:32", start="2026-03-10")
    w.run()
    bad = w.instant("2026-03-10 08:00")
    w.shop.add(bad, w.now + timedelta(minutes=1), id="in the bad window")
    w.shop.break_(bad)
    for minute in range(0, 180, 5):
        w.shop.add(w.instant("2026-03-10 20:01"), w.now + timedelta(minutes=minute + 1), id=f"late-{minute}")
    w.live("01:36")
    # The first heal waits for nothing but its hour.
    assert w.ids().count("late-0") == 1
    w.live("03:32")
    assert 2 <= w.revisions("events_daily")["2026-03-10"] - 1 <= 4
    w.shop.mend()
    w.live("05:32")
    assert sum(i.startswith("late-") or i == "in the bad window" for i in w.ids()) == 36 + 1


def test_only_the_touched_window_of_a_day_is_read_again(world):
    w = world(report, now="2026-03-11 00:32", start="2026-03-10")
    w.run()
    w.shop.add(w.instant("2026-03-10 08:01"), w.instant("2026-03-11 00:40"))
    w.shop.reads.clear()
    w.live("02:02", every="10 min")
    assert [str(r) for r in w.shop.reads] == ["[2026-03-10T08:00Z, 2026-03-10T08:05Z)"]


def test_equal_content_moves_nothing(lived):
    w, before = lived, everything(lived)
    # A copy of an event that is there already, with all its values.
    minute = w.instant("2026-03-11 00:12")
    row = w.shop.events(w.calendar.partitions(w.calendar.day_around(minute), "5 min")[2])[2]
    w.shop.add(
        row["event_time"],
        w.instant("2026-03-11 01:07"),
        id=row["event_id"],
        amount=row["amount"],
        country=row["country"],
    )
    w.live("01:08", every="1 min")
    works = w.live("01:11")
    assert ranges(works)[0] == "events+dashboard 03-11 00:10 03-11 01:10"
    assert changed(w, before) == {("report", "2026-03-11")}
    assert w.receipts("events")[LATE].revision == 1
    assert w.run() == []


def test_by_hand_equal_content_moves_nothing_and_asks_for_nothing(lived):
    before = everything(lived)
    made = lived.by_hand("events", "2026-03-11T00:00", "2026-03-11T01:00")
    assert made.count("unchanged") == 12
    assert lived.by_hand("dashboard", "2026-03-11T00:00", "2026-03-11T01:00").count("unchanged") == 12
    assert lived.by_hand("report", "2026-03-11").count("unchanged") == 1
    assert everything(lived) == before
    assert lived.run() == []


def test_a_closed_day_made_again_by_hand_moves_nothing_where_it_is_equal(world):
    w = world(report, ledger_book, now="2026-03-11 00:32", start="2026-03-10")
    w.run()
    for table in ("events_daily", "report", "ledger_book"):
        assert w.by_hand(table, "2026-03-10").count("unchanged") == 1
    assert w.run() == []


def test_a_late_event_of_a_sealed_day_before_any_window_file(world):
    w = world(dashboard, now="2026-03-11 00:32", start="2026-03-10")
    w.run()
    assert "2026-03-10T08:00+0000" not in w.revisions("events")
    w.shop.add(w.instant("2026-03-10 08:01"), w.instant("2026-03-11 00:40"))
    w.live("02:02", every="30 min")
    assert w.revisions("dashboard")["2026-03-10T08:00+0000"] == 2
    assert sum(r == 2 for r in w.revisions("dashboard").values()) == 1
    assert "2026-03-10T08:00+0000" not in w.revisions("events")


def test_windows_of_a_sealed_day_are_delivered_by_the_day(world):
    w = world(report, now="2026-03-11 00:32", start="2026-03-10")
    w.run()
    made = w.by_hand("events", "2026-03-10T08:00", "2026-03-10T09:00")
    assert made.count("delivered by the day") == 12
    assert w.revisions("events") == {}


def test_events_that_the_source_no_longer_has_are_not_taken_away(world):
    w = world(report, now="2026-03-11 00:32", start="2026-03-10")
    w.run()
    before = w.table("report")
    w.shop.expired_before = w.instant("2026-03-10 12:00")
    [outcome] = w.by_hand("events_daily", "2026-03-10").outcomes
    assert "the source no longer gives 5 of 5 events that the lake has (such as e" in outcome.error
    assert "--accept-loss" in outcome.error
    assert w.receipts("events_daily")["2026-03-10"].rows == 1440
    assert w.table("report") == before
    assert w.by_hand("events_daily", "2026-03-10", accepts_loss=True).count("published") == 1
    assert w.receipts("events_daily")["2026-03-10"].rows == 720


def test_an_event_whose_time_was_corrected_moves_to_its_new_window(world):
    w = world(dashboard, now="2026-03-11 01:02", start="2026-03-11")
    w.shop.add(w.instant("2026-03-11 00:12"), w.instant("2026-03-11 00:12"), id="moving")
    w.live("01:06")
    w.shop.move("moving", w.instant("2026-03-11 00:42"), at=w.instant("2026-03-11 01:07"))
    w.live("01:08", every="1 min")
    w.live("01:11")
    assert w.ids().count("moving") == 1
    assert w.receipts("events")[LATE].rows == 5
    assert w.receipts("events")["2026-03-11T00:40+0000"].rows == 6
    assert w.failures("events") == []
    assert w.standing("dashboard").is_kept


def test_a_window_that_lost_events_keeps_them_and_holds_up_no_other(world):
    w = world(report, now="2026-03-11 00:32", start="2026-03-10")
    w.run()
    w.shop.expired_before = w.instant("2026-03-10 12:00")
    w.shop.add(w.instant("2026-03-10 08:01"), w.now + timedelta(minutes=1), id="beside lost ones")
    w.shop.add(w.instant("2026-03-10 20:01"), w.now + timedelta(minutes=1), id="elsewhere")
    w.live("2026-03-11 04:32", every="10 min")
    assert w.ids().count("elsewhere") == 1
    assert w.ids().count("beside lost ones") == 0
    assert w.receipts("events_daily")["2026-03-10"].rows == 1441
    [failure] = w.failures("events_daily")
    assert "the source no longer gives 5 of 5 events that the lake has" in failure
    found = verify(w.pipeline.site, ["events_daily"], w.pipeline.range("events_daily", "2026-03-10")).differences
    assert len(found) == 144
    assert not any(difference.is_known for difference in found)
    w.shop.expired_before = w.pipeline.lake.start
    assert w.retry("events_daily") == 1
    w.live("05:32", every="10 min")
    assert w.ids().count("beside lost ones") == 1
    assert w.receipts("events_daily")["2026-03-10"].rows == 1442


def test_heal_says_until_when_late_events_of_closed_days_wait(world):
    w = world(report, now="2026-03-11 00:32", start="2026-03-10")
    w.run()
    w.shop.add(w.instant("2026-03-10 08:01"), w.now + timedelta(minutes=1))
    w.at("00:40")
    assert "late events of closed days wait until 01:32:00Z" in w.says("heal")


def test_a_steady_trickle_of_late_events_makes_no_storm(world):
    w = world(dashboard, report, ledger_book, now="2026-03-11 00:47", start="2026-03-10")
    w.run()
    hours, later = 3, w.now
    # One a minute, now of the open day, now of the closed one, never twice of the same window.
    for minute in range(60 * hours):
        day = "2026-03-11 00:0" if minute % 2 else "2026-03-10 08:0"
        happened = w.instant(f"{day}1") + timedelta(minutes=minute % 40 if minute % 2 else minute)
        w.shop.add(happened, later + timedelta(minutes=minute), id=f"trickle-{minute}")
    before = w.pipeline.lake.ledger.seq()
    works = w.live("03:47", every="1 min")
    live = [work for work in works if not work.is_catch_up]
    assert len([work for work in live if "events" in work.tables]) <= hours * 12 + 1
    assert len([work for work in works if "events_daily" in work.tables]) <= hours + 1
    assert w.revisions("events_daily")["2026-03-10"] <= 1 + hours + 1
    # Each run of the cadence publishes its new window, and at most what arrived since the run before.
    publications = w.pipeline.lake.ledger.database.row(
        "select count(*) as n from publication where tbl = 'events' and seq > ?", (before,)
    )
    assert publications["n"] <= hours * 12 + 60 * hours / 2
    w.live("05:06")
    assert sum(i.startswith("trickle") for i in w.ids()) == 60 * hours
    assert w.run() == []


def test_a_publication_of_equal_content_changes_no_file(lived):
    w = lived
    files = {
        path: (path.stat().st_ino, path.stat().st_mtime_ns)
        for table in ("events", "dashboard", "report")
        for path in (w.folder / table).rglob("*")
    }
    folders = {path.parent for path in files} - {w.folder}
    seq = w.pipeline.lake.ledger.seq()
    for table in ("events", "dashboard"):
        assert w.by_hand(table, "2026-03-11T00:00", "2026-03-11T01:00").count("unchanged") == 12
    assert w.by_hand("report", "2026-03-11").count("unchanged") == 1
    assert {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in files} == files
    assert {p for f in folders for p in f.iterdir()} == set(files)
    ledger = w.pipeline.lake.ledger
    assert all(not ledger.history.touched_since(seq, table) for table in ("events", "dashboard", "report"))
    assert w.pipeline.plan().works == ()
