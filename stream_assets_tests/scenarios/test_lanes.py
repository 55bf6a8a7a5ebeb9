"""Which lane does what: batch alone, a lane that begins later, cadences that share a stream."""

from datetime import timedelta

import pyarrow as pa

from stream_assets import consumer
from stream_assets_tests.scenarios.buyers import dashboard, ledger_book, report
from stream_assets_tests.scenarios.world import at_freshness, ranges


@consumer(freshness="1 hour")
def hourly_totals(dashboard: pa.Table) -> pa.Table:
    """Orders of the day so far, from the dashboard."""
    return dashboard.group_by("country").aggregate([("event_id_count", "sum")]).sort_by("country")


def at_grain_5(name_freshness):
    return at_freshness(dashboard, name_freshness)


def test_without_a_micro_batch_consumer_a_day_costs_one_source_query_and_one_run(world):
    w = world(report, ledger_book, now="2026-03-10 14:37", start="2026-03-08")
    w.run()
    w.shop.reads.clear()
    works = w.live("2026-03-12 14:37", every="1 hour")
    assert ranges(works) == [
        "events_daily+ledger_book+report 03-10 00:00 03-11 00:00",
        "events_daily+ledger_book+report 03-11 00:00 03-12 00:00",
    ]
    assert {work.automation for work in works} == {"daily"}
    assert [str(r) for r in w.shop.reads] == [
        "[2026-03-10T00:00Z, 2026-03-11T00:00Z)",
        "[2026-03-11T00:00Z, 2026-03-12T00:00Z)",
    ]
    assert w.revisions("events") == {}


def test_a_micro_batch_consumer_added_later_starts_with_the_open_day_and_rereads_no_sealed_day(world):
    w = world(report, now="2026-03-10 03:02", start="2026-03-09")
    w.run()
    w.shop.reads.clear()
    w.define(report, dashboard)
    w.at("03:07")
    assert ranges(w.ticks()) == ["events+dashboard 03-10 00:00 03-10 03:05", "dashboard 03-09 00:00 03-10 00:00"]
    assert [str(r) for r in w.shop.reads] == ["[2026-03-10T00:00Z, 2026-03-10T03:05Z)"]
    assert len(w.revisions("dashboard")) == 288 + 37
    assert w.standing("dashboard").is_kept
    assert not w.standing("dashboard").holes


def test_consumers_of_15_and_20_minutes_each_keep_their_promise(world):
    fifteen, twenty = at_grain_5("15 min"), at_freshness(report, "20 min")
    w = world(fifteen, twenty, now="2026-03-10 09:02", start="2026-03-10")
    w.ticks()
    worst = {"dashboard": timedelta(0), "report": timedelta(0)}
    asked = []
    while w.now < w.instant("2026-03-10 10:06"):
        # The worst lag is just before the next look.
        before = {n: w.lag(n) for n in worst}
        works = w.live((w.now + timedelta(minutes=1)).strftime("%Y-%m-%d %H:%M:%S"))
        asked += [
            (w.now.strftime("%H:%M"), work.automation, said) for work, said in zip(works, ranges(works), strict=True)
        ]
        worst = {n: max(worst[n], before[n]) for n in worst}
    assert worst["dashboard"] <= timedelta(minutes=17.5)
    assert worst["report"] <= timedelta(minutes=22.5)
    by_twenty = [said for _, automation, said in asked if automation == "every_20_min"]
    assert any("report" in said for said in by_twenty)
    for minute in {at for at, _, _ in asked}:
        for automation in ("every_15_min", "every_20_min"):
            assert sum(a == automation and at == minute for at, a, _ in asked) <= 2, asked


def test_where_boundaries_of_two_cadences_meet_each_asks_for_one_run_a_grain(world):
    fifteen, twenty = at_grain_5("15 min"), at_freshness(dashboard_too, "20 min")
    w = world(fifteen, twenty, now="2026-03-10 02:41", start="2026-03-10")
    w.live("02:46")
    works = w.live("03:06")
    assert [(work.automation, said) for work, said in zip(works, ranges(works), strict=True)] == [
        ("every_15_min", "events+dashboard 03-10 02:45 03-10 03:00"),
        ("every_20_min", "dashboard_too 03-10 02:40 03-10 03:00"),
    ]


@consumer(freshness="20 min", grain="5 min", reads={"events": ["country"]})
def dashboard_too(events: pa.Table) -> pa.Table:
    return events.group_by("country").aggregate([([], "count_all")]).sort_by("country")


def test_a_loose_consumer_read_by_a_tight_one_is_as_fresh_as_its_reader_needs(world):
    w = world(at_grain_5("1 day"), at_freshness(hourly_totals, "15 min"), now="2026-03-10 02:02", start="2026-03-10")
    w.live("02:16")
    assert w.standing("hourly_totals").is_kept
    assert w.lag("dashboard") == timedelta(minutes=1)
    w.live("02:31")
    assert w.receipts("hourly_totals")["2026-03-10"].complete_through == w.instant("2026-03-10 02:30")


def test_five_minute_grain_with_daily_freshness_is_made_once_a_day(world):
    w = world(at_grain_5("1 day"), now="2026-03-10 23:41", start="2026-03-10")
    assert w.run() == []
    w.shop.reads.clear()
    works = w.live("2026-03-11 00:46")
    assert ranges(works) == ["events_daily 03-10 00:00 03-11 00:00", "dashboard 03-10 00:00 03-11 00:00"]
    assert len(w.revisions("dashboard")) == 288
    assert len(w.shop.reads) == 1


def test_day_grain_with_five_minute_freshness_grows_with_every_window(world):
    w = world(at_freshness(report, "5 min"), now="2026-03-10 02:02", start="2026-03-10")
    for minute in ("02:02", "02:07", "02:12"):
        w.at(minute).ticks()
        w.ticks()
        receipt = w.receipts("report")["2026-03-10"]
        assert receipt.complete_through == w.instant(f"2026-03-10 {minute[:4]}{int(minute[4]) // 5 * 5}")
        assert (
            sum(dict(row)["amount_count"] for row in w.table("report"))
            == receipt.complete_through.hour * 60 + receipt.complete_through.minute
        )
    assert w.revisions("report") == {"2026-03-10": 3}
    assert w.standing("report").is_kept


def test_a_stopped_cadence_stops_alone(world):
    w = world(at_grain_5("5 min"), at_freshness(report, "20 min"), now="2026-03-10 02:02", start="2026-03-10")
    w.ticks()
    w.stop("every_5_min")
    w.live("02:41")
    assert w.coverage("dashboard").hull.end == w.instant("2026-03-10 02:00")
    assert w.receipts("report")["2026-03-10"].complete_through == w.instant("2026-03-10 02:40")
    assert w.says("every_5_min") == "stopped by a person"
    w.stop()
    w.live("02:46")
    assert w.standing("dashboard").is_kept
