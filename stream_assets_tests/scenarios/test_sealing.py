"""When a partition is sealed, and what that says: empty is not missing, unsettled is not sealed, dead is not idle."""

from datetime import timedelta

import pytest

from stream_assets.errors import UsageError
from stream_assets_tests.scenarios.buyers import dashboard, ledger_book, panda, report
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import at_freshness, ranges


class Late(Shop):
    """Has shown nothing yet, so nobody knows its columns."""

    has_begun = False

    def schema(self, *, now):
        return super().schema(now=now) if self.has_begun else None

    def read(self, window, *, now, state=None):
        if self.has_begun:
            yield from super().read(window, now=now, state=state)


def test_an_empty_window_is_sealed_with_zero_rows(world):
    w = world(dashboard, panda, now="2026-03-10 00:12", start="2026-03-10", sources={"events": Shop(quiet=(0, 24))})
    w.run()
    receipt = w.receipts("events")["2026-03-10T00:00+0000"]
    assert (receipt.rows, receipt.is_sealed) == (0, True)
    for table in ("dashboard", "panda"):
        assert [r.rows for r in w.receipts(table).values()] == [0, 0]
    assert w.standing("dashboard").is_kept


def test_a_day_with_a_quiet_night_is_complete(world):
    w = world(
        dashboard,
        panda,
        report,
        ledger_book,
        now="2026-03-10 04:12",
        start="2026-03-09",
        sources={"events": Shop(quiet=(2, 4))},
    )
    w.run()
    assert w.receipts("events_daily")["2026-03-09"].rows == 22 * 60
    assert len(w.revisions("dashboard")) == len(w.revisions("panda")) == 288 + 50
    assert w.standing("dashboard").is_kept
    assert [f for t in ("dashboard", "panda", "report", "ledger_book") for f in w.failures(t)] == []


def test_an_unsettled_window_is_never_sealed_early(world):
    w = world(dashboard, now="2026-03-10 00:05:29", start="2026-03-10")
    assert w.run() == []
    with pytest.raises(UsageError, match="settles at 2026-03-10T00:05:30Z, not before"):
        w.by_hand("events", "2026-03-10T00:00+0000")
    assert "next window settles at 2026-03-10T00:05:30Z" in w.says("every_5_min")
    w.at("00:05:30")
    assert ranges(w.run()) == ["events+dashboard 03-10 00:00 03-10 00:05"]


def test_an_open_day_is_never_sealed(world):
    w = world(report, now="2026-03-10 14:00", start="2026-03-09")
    with pytest.raises(UsageError, match="the open day is never sealed; materialize `events`"):
        w.by_hand("events_daily", "2026-03-10")


def test_an_idle_source_stays_green_and_a_dead_one_turns_red(world):
    idle, dead = Shop(quiet=(0, 24)), Shop()
    w = world(dashboard, now="2026-03-10 01:02", start="2026-03-10", sources={"events": idle})
    w.ticks()
    w.live("01:32")
    assert w.standing("dashboard").is_kept
    w = world(dashboard, now="2026-03-10 01:02", start="2026-03-10", sources={"events": dead})
    w.ticks()
    dead.is_down = True
    w.live("01:06")
    assert w.standing("dashboard").is_kept
    w.live("01:32")
    assert w.standing("dashboard").lag == timedelta(minutes=32)
    assert not w.standing("dashboard").is_kept
    assert w.pipeline.observe() == {"events": "the shop does not answer"}
    dead.is_down = False
    w.live("01:36")
    assert w.standing("dashboard").is_kept


def test_a_source_that_answers_no_reads_is_tried_again_for_ever(world):
    class Mute(Shop):
        def watermark(self, now):
            return now - self.settling

        def arrivals(self, cursor, *, now, state=None):
            return None

    mute = Mute(is_down=True)
    w = world(dashboard, now="2026-03-10 01:02", start="2026-03-10", sources={"events": mute})
    w.live("03:02")
    assert not w.standing("dashboard").is_kept
    tries = len(mute.reads)
    assert 5 < tries < 30
    mute.is_down = False
    w.live("03:22")
    assert w.standing("dashboard").is_kept
    assert w.failures("events") == []


def test_a_day_read_whole_and_one_compacted_from_its_windows_are_equal(world):
    shop = Shop()
    shop.add(_at("05:03"), _at("09:00"))
    shop.add(_at("06:07"), _at("06:08"), id="twice")
    shop.add(_at("06:08"), _at("06:09"), id="twice")
    batch = world(report, now="2026-03-11 00:32", start="2026-03-10", sources={"events": shop})
    batch.run()
    micro = world(
        report,
        at_freshness(ledger_book, "1 hour"),
        now="2026-03-10 23:58",
        start="2026-03-10",
        sources={"events": shop},
    )
    micro.run()
    micro.at("2026-03-11 00:00:31").run()
    shop.reads.clear()
    micro.at("00:32").run()
    assert [str(r) for r in shop.reads] == ["[2026-03-11T00:00Z, 2026-03-11T00:00Z)"] or shop.reads == []
    whole, compacted = batch.receipts("events_daily")["2026-03-10"], micro.receipts("events_daily")["2026-03-10"]
    assert whole.digest == compacted.digest
    assert whole.windows == compacted.windows
    assert (whole.rows, whole.duplicates, whole.rows_read) == (
        compacted.rows,
        compacted.duplicates,
        compacted.rows_read,
    )
    assert batch.table("report") == micro.table("report")


def _at(text):
    from datetime import datetime

    return datetime.fromisoformat(f"2026-03-10T{text}+00:00")


def test_a_range_by_hand_that_ends_in_the_future_is_filled_as_far_as_it_has_settled(world):
    w = world(now="2026-03-10 01:02", start="2026-03-10")
    report = w.by_hand("events", "2026-03-10T00:00", "2026-03-10T01:15")
    assert report.count("published") == 12
    assert [o.span.start for o in report.failed] == [w.instant(f"2026-03-10 01:{m:02}") for m in (0, 5, 10)]
    assert all("settles at" in o.error for o in report.failed)
    assert w.failures("events") == []


def test_a_lake_that_was_made_before_the_first_event_goes_on_when_it_comes(world):
    w = world(panda, now="2026-03-10 01:02", start="2026-03-10", sources={"events": Late()})
    w.live("01:31")
    assert w.failures("panda") == []
    assert set(w.revisions("panda").values()) == {1}
    w.shop.has_begun = True
    w.live("01:41")
    assert w.standing("panda").is_kept
    assert w.receipts("panda")["2026-03-10T01:35+0000"].rows == 3
