"""Everything stands still for hours or days, and goes on."""

from datetime import timedelta

from stream_assets_tests.scenarios.buyers import dashboard, ledger_book, report
from stream_assets_tests.scenarios.world import at_freshness, ranges


def test_three_hours_heal_in_one_range_run(world):
    w = world(dashboard, report, now="2026-03-10 03:02", start="2026-03-09")
    w.ticks()
    w.ticks()
    w.live("03:07")
    w.at("06:12")
    assert not w.standing("dashboard").is_kept
    assert ranges(w.ticks()) == ["events+dashboard 03-10 03:05 03-10 06:10"]
    assert w.standing("dashboard").is_kept
    assert w.lag("dashboard") == timedelta(minutes=2)
    assert w.ticks() == []


def test_three_hours_across_midnight(world):
    w = world(dashboard, report, now="2026-03-10 22:32", start="2026-03-09")
    w.ticks()
    w.ticks()
    w.at("2026-03-11 01:32")
    reads = len(w.shop.reads)
    works = w.ticks() + w.ticks()
    assert ranges(works) == [
        "events+dashboard 03-11 00:00 03-11 01:30",
        "events_daily+report 03-10 00:00 03-11 00:00",
        "dashboard 03-10 22:30 03-11 00:00",
    ]
    assert len(w.shop.reads) == reads + 2
    assert w.standing("dashboard").is_kept
    assert w.standing("report").is_kept
    assert len(w.ids()) == len(set(w.ids())) == 2 * 1440 + 90
    assert set(w.revisions("dashboard").values()) == {1}


def test_the_promise_is_kept_as_soon_as_the_live_span_is_filled(world):
    w = world(dashboard, report, now="2026-03-10 22:32", start="2026-03-09")
    w.run()
    w.at("2026-03-11 01:32")
    w.tick("every_5_min")
    # Yesterday's last windows are a part of the live span: a hole there holds complete_through back.
    assert w.standing("dashboard").complete_through == w.instant("2026-03-10 22:30")
    w.tick("heal")
    w.tick("heal")
    assert w.standing("dashboard").is_kept


def test_three_days_serve_the_live_span_first_and_count_older_holes_apart(world):
    w = world(dashboard, report, now="2026-03-10 22:32", start="2026-03-09")
    w.run()
    w.at("2026-03-13 22:32")
    standing = w.standing("dashboard")
    assert str(standing.holes) == "[2026-03-10T22:30Z, 2026-03-12T00:00Z)"
    works = ranges(w.ticks())
    assert works[0] == "events+dashboard 03-13 00:00 03-13 22:30"
    assert works[1:] == ["events_daily+report 03-10 00:00 03-13 00:00"]
    assert ranges(w.ticks()) == ["dashboard 03-10 22:30 03-13 00:00"]
    standing = w.standing("dashboard")
    assert standing.is_kept
    assert not standing.holes
    assert w.ticks() == []


def test_catch_up_never_delays_live_windows(world):
    w = world(at_freshness(report, "5 min"), ledger_book, now="2026-03-20 00:32", start="2026-03-09")
    w.tick("every_5_min")
    behind = []

    def a_day_took_five_minutes(_):
        w.clock.advance(timedelta(minutes=5))
        w.tick("every_5_min")
        behind.append(w.now - w.receipts("report")["2026-03-20"].complete_through)

    while True:
        _, requests = w.pipeline.request("heal")
        assert len(requests) <= 1
        if not requests:
            break
        work, lease = requests[0]
        assert work.span.duration <= timedelta(days=7)
        w.pipeline.run_work(work, lease.id, progress=a_day_took_five_minutes)
    assert len(behind) == 11 * 3
    assert max(behind) <= timedelta(minutes=7)
    assert len(w.revisions("report")) == len(w.revisions("ledger_book")) + 1 == 12


def test_an_idle_machine_that_comes_back_after_midnight_reads_the_day_whole(world):
    w = world(dashboard, report, now="2026-03-10 23:52", start="2026-03-10")
    w.run()
    w.at("2026-03-11 00:12")
    w.shop.reads.clear()
    w.run()
    assert [str(r) for r in w.shop.reads] == [
        "[2026-03-11T00:00Z, 2026-03-11T00:10Z)",
        "[2026-03-10T00:00Z, 2026-03-11T00:00Z)",
    ]
