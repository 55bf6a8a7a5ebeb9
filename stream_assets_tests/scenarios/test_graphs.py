"""Consumers of consumers, joins of two streams, lookback."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from stream_assets import consumer
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import at_freshness, ranges

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

    from stream_assets.core.window import TimeWindow


@consumer(freshness="5 min", grain="5 min")
def ranking(dashboard: pd.DataFrame) -> pd.DataFrame:
    """The best country of each window, of another consumer's rows."""
    return dashboard.nlargest(1, "amount_sum")[["country", "amount_sum"]]


@consumer(freshness="5 min")
def by_the_day(dashboard: pa.Table, window: TimeWindow) -> pa.Table:
    """All windows of the day so far, of a 5-minute consumer's rows."""
    total = dashboard.group_by(["country", "day"]).aggregate([("event_id_count", "sum")])
    first = min(dashboard["window_start"].to_pylist())
    assert first == f"{window.start:%Y%m%dT%H%MZ}"
    return total.rename_columns({"day": "of"}).sort_by("country")


@consumer(freshness="1 day")
def of_days(by_the_day: pd.DataFrame, report: pd.DataFrame) -> pd.DataFrame:
    """Two day-grain consumers side by side."""
    return by_the_day.merge(report, on="country")[["country", "event_id_count_sum", "amount_count"]]


def test_a_consumer_reads_another_at_either_grain(world):
    w = world(dashboard, ranking, by_the_day, of_days, report, now="2026-03-10 01:02", start="2026-03-09")
    w.live("01:06")
    assert w.standing("ranking").is_kept
    assert w.standing("by_the_day").is_kept
    rows = {
        row["country"]: row["event_id_count_sum"]
        for row in map(dict, w.table("by_the_day"))
        if row["day"] == "2026-03-10"
    }
    assert sum(rows.values()) == 65
    assert all(row["event_id_count_sum"] == row["amount_count"] for row in map(dict, w.table("of_days")))
    assert len(w.table("of_days")) == 3
    assert len(w.revisions("ranking")) == 288 + 13


def test_each_boundary_costs_one_run_a_grain_however_long_the_chain(world):
    w = world(dashboard, ranking, by_the_day, now="2026-03-10 01:02", start="2026-03-10")
    w.live("01:06")
    assert ranges(w.live("01:11")) == [
        "events+dashboard+ranking 03-10 01:05 03-10 01:10",
        "by_the_day 03-10 00:00 03-11 00:00",
    ]


def test_a_chain_names_what_is_missing_where_a_window_of_its_source_is(world):
    w = world(dashboard, ranking, by_the_day, now="2026-03-10 01:02", start="2026-03-10")
    w.shop.break_(w.instant("2026-03-10 00:30"))
    w.live("01:06")
    for name in ("dashboard", "ranking", "by_the_day"):
        assert w.standing(name).complete_through == w.instant("2026-03-10 00:30")
    assert sum(dict(row)["event_id_count_sum"] for row in w.table("by_the_day")) == 60
    w.shop.mend()
    w.live("01:11")
    assert sum(dict(row)["event_id_count_sum"] for row in w.table("by_the_day")) == 70


@consumer(freshness="1 hour")
def loose_reader(tight_day: pa.Table) -> pa.Table:
    return tight_day


@consumer(freshness="5 min", reads={"events": ["amount"]})
def tight_day(events: pa.Table) -> pa.Table:
    return events.group_by([]).aggregate([("amount", "sum"), ("amount", "count")])


def test_a_loose_reader_of_an_open_day_says_what_it_really_contains(world):
    w = world(tight_day, loose_reader, now="2026-03-10 01:02", start="2026-03-10")
    w.live("02:02")
    mine = w.receipts("loose_reader")["2026-03-10"]
    [row] = w.table("loose_reader")
    assert dict(row)["amount_count"] == (mine.complete_through - mine.span.start) // timedelta(minutes=1)


@consumer(freshness="5 min", grain="5 min", reads={"orders": ["amount"], "clicks": ["amount"]})
def joined(orders: pa.Table, clicks: pa.Table) -> pa.Table:
    import pyarrow as pa

    return pa.table({"orders": [orders.num_rows], "clicks": [clicks.num_rows]})


@consumer(freshness="5 min", reads={"orders": ["amount"], "clicks": ["amount"]})
def joined_day(orders: duckdb.DuckDBPyRelation, clicks: pd.DataFrame) -> pa.Table:
    import pyarrow as pa

    return pa.table({"orders": [orders.aggregate("count(*)").fetchall()[0][0]], "clicks": [len(clicks)]})


def two_streams(**slow):
    return {"orders": Shop("o"), "clicks": Shop("c", **slow)}


def test_a_join_goes_as_far_as_both_streams_and_names_the_slower(world):
    w = world(
        joined, joined_day, now="2026-03-10 01:02", start="2026-03-10", sources=two_streams(lag=timedelta(minutes=20))
    )
    w.live("01:06")
    for name in ("joined", "joined_day"):
        standing = w.standing(name)
        assert standing.complete_through == w.instant("2026-03-10 00:45")
        assert standing.held_by == "clicks"
        assert "held by clicks" in str(standing)
        assert not standing.is_kept
    assert {dict(row)["orders"] for row in w.table("joined")} == {5}
    [day] = w.table("joined_day")
    assert (dict(day)["orders"], dict(day)["clicks"]) == (45, 45)
    w.sources["clicks"].lag = timedelta(0)
    w.live("01:11")
    assert w.standing("joined").is_kept
    assert w.standing("joined").held_by == ""
    assert (dict(w.table("joined_day")[0])["orders"], dict(w.table("joined_day")[0])["clicks"]) == (70, 70)


def test_the_faster_stream_is_not_held_by_the_slower(world):
    w = world(joined, now="2026-03-10 01:02", start="2026-03-10", sources=two_streams())
    w.live("01:06")
    w.sources["clicks"].is_down = True
    w.live("01:21")
    assert w.coverage("orders").hull.end >= w.instant("2026-03-10 01:05")
    assert w.standing("joined").complete_through == w.instant("2026-03-10 01:05")
    assert w.standing("joined").held_by == "clicks"
    w.sources["clicks"].is_down = False
    w.live("01:26")
    assert w.standing("joined").is_kept


@consumer(freshness="1 day", lookback="2 days", reads={"events": ["event_id"]})
def three_days(events: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    return events.aggregate("count(*) as events")


@consumer(freshness="5 min", lookback="2 days", reads={"events": ["event_id"]})
def three_days_now(events: pd.DataFrame) -> pd.DataFrame:
    return events.agg({"event_id": ["count"]}).rename(columns={"event_id": "events"}).reset_index(drop=True)


@consumer(freshness="5 min", grain="5 min", lookback="10 min", reads={"events": ["event_id"]})
def moving(events: pa.Table) -> pa.Table:
    import pyarrow as pa

    return pa.table({"events": [events.num_rows]})


def test_lookback_hands_over_the_days_before_clipped_at_the_first_kept(world):
    w = world(three_days, three_days_now, now="2026-03-13 00:32", start="2026-03-10")
    w.run()
    # The open day was made before the days before it were there: it is made again with its next window.
    w.live("00:36")
    assert [dict(row)["events"] for row in sorted(w.table("three_days"), key=lambda r: dict(r)["day"])] == [
        1440,
        2880,
        4320,
    ]
    by_day = {dict(row)["day"]: dict(row)["events"] for row in w.table("three_days_now")}
    assert by_day == {"2026-03-10": 1440, "2026-03-11": 2880, "2026-03-12": 4320, "2026-03-13": 2880 + 35}


def test_lookback_at_5_minute_grain(world):
    w = world(moving, now="2026-03-10 00:32", start="2026-03-10")
    w.live("00:36")
    assert [r.rows for r in w.receipts("moving").values()] == [1] * 7
    ordered = sorted(map(dict, w.table("moving")), key=lambda row: row["window_start"])
    assert [row["events"] for row in ordered] == [5, 10, 15, 15, 15, 15, 15]


@pytest.mark.parametrize("late", ["2026-03-10 12:00", "2026-03-11 12:00"])
def test_a_late_event_reaches_every_partition_whose_lookback_holds_it_and_no_other(world, late):
    w = world(three_days, now="2026-03-14 00:32", start="2026-03-10")
    w.run()
    w.shop.add(w.instant(late), w.instant("2026-03-14 00:40"))
    w.at("2026-03-14 02:00").run()
    day = int(late[8:10])
    changed = {key for key, revision in w.revisions("three_days").items() if revision == 2}
    assert changed == {f"2026-03-{d}" for d in range(day, min(day + 3, 14))}


def test_five_windows_and_a_join_with_lookback_at_a_lower_bound(world):
    w = world(moving, at_freshness(three_days_now, "1 hour"), now="2026-03-11 00:32", start="2026-03-10")
    w.run()
    assert w.standing("moving").is_kept
    assert not w.standing("moving").holes
