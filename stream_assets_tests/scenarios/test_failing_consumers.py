"""Consumers that fail: a clear error names consumer and partition, and everything else goes on."""

from __future__ import annotations

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

FIRST = "2026-03-10T00:00+0000"


@consumer(freshness="5 min", grain="5 min")
def picky(events: pa.Table) -> pa.Table:
    if 1000.0 in events["amount"].to_pylist():
        raise ValueError("an amount of 1000 is impossible")
    return events.select(["event_id", "amount"])


@consumer(freshness="5 min")
def picky_day(events: pd.DataFrame) -> pd.DataFrame:
    if (events["amount"] == 1000.0).any():
        raise ValueError("an amount of 1000 is impossible")
    return events.groupby("country", as_index=False).agg(orders=("event_id", "count"))


def poisoned(world, *consumers):
    w = world(*consumers, now="2026-03-10 01:02", start="2026-03-10")
    w.live("01:06")
    w.shop.add(w.instant("2026-03-10 01:08"), w.instant("2026-03-10 01:08"))
    w.live("01:16")
    return w


def test_at_5_minute_grain_the_other_windows_go_on(world):
    w = poisoned(world, picky, dashboard)
    [said] = w.failures("picky")
    assert "consumer 'picky', partition 2026-03-10T01:05+0000" in said
    assert "raised ValueError: an amount of 1000 is impossible (test_failing_consumers.py, line " in said
    assert len(w.revisions("picky")) == 14
    assert len(w.revisions("dashboard")) == 15
    assert w.standing("dashboard").is_kept
    assert w.standing("picky").complete_through == w.instant("2026-03-10 01:05")


def test_at_day_grain_the_previous_revision_stays_and_lag_grows(world):
    w = poisoned(world, picky_day, at_freshness(report, "5 min"))
    receipt = w.receipts("picky_day")["2026-03-10"]
    assert receipt.complete_through == w.instant("2026-03-10 01:05")
    assert w.lag("picky_day") == w.now - receipt.complete_through
    assert "picky_day" in w.failures("picky_day")[0]
    assert w.standing("report").is_kept
    w.live("01:46")
    assert w.receipts("picky_day")["2026-03-10"] == receipt


def test_it_pauses_after_three_tries_and_goes_on_when_its_input_changes(world):
    w = poisoned(world, picky)
    w.live("01:41")
    tries = w.pipeline.state().table("picky").failures[0]
    assert (tries.tries, tries.is_paused) == (3, True)
    w.shop.add(w.instant("2026-03-10 01:08"), w.instant("2026-03-10 01:42"), id="e-added-0", amount=10.0)
    w.live("01:43", every="1 min")
    w.live("01:46")
    assert w.failures("picky") == []
    assert w.standing("picky").is_kept


def test_it_goes_on_when_its_code_changes(world):
    w = poisoned(world, picky)
    w.live("01:41")
    w.define(mended)
    w.live("01:46")
    assert w.standing("picky").is_kept


@consumer(freshness="5 min", grain="5 min")
def picky_mended(events: pa.Table) -> pa.Table:
    return events.select(["event_id", "amount"])


mended = picky_mended.__class__(**{**vars(picky_mended), "name": "picky"})


def test_a_finished_day_that_fails_keeps_its_neighbours(world):
    shop = Shop()
    w = world(
        at_freshness(picky_day, "1 day"), report, now="2026-03-13 00:32", start="2026-03-10", sources={"events": shop}
    )
    shop.add(w.instant("2026-03-11 12:00"), w.instant("2026-03-11 12:00"))
    w.run()
    assert sorted(w.revisions("picky_day")) == ["2026-03-10", "2026-03-12"]
    assert sorted(w.revisions("report")) == ["2026-03-10", "2026-03-11", "2026-03-12"]
    assert "partition 2026-03-11" in w.failures("picky_day")[0]
    assert str(w.standing("picky_day").complete_through) == "2026-03-12 00:00:00+00:00" or w.lag("picky_day")


@consumer(freshness="5 min", grain="5 min")
def a_list(events: pa.Table) -> pa.Table:
    return events.to_pylist()  # type: ignore[return-value]


@consumer(freshness="5 min", grain="5 min")
def nothing(events: pd.DataFrame) -> pd.DataFrame:
    return None  # type: ignore[return-value]


@consumer(freshness="5 min", grain="5 min")
def an_index(events: pd.DataFrame) -> pd.DataFrame:
    return events.groupby("country").agg(orders=("event_id", "count"))


@consumer(freshness="5 min", grain="5 min")
def two_kinds(events: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"value": [1, "one"]})


@consumer(freshness="5 min", grain="5 min")
def reserved(events: pa.Table) -> pa.Table:
    return events.select(["amount"]).rename_columns(["day"])


@consumer(freshness="5 min", grain="5 min", reads={"events": ["prize"]})
def unknown_column(events: pa.Table) -> pa.Table:
    return events


@consumer(freshness="5 min", grain="5 min")
def broken_sql(events: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    return events.aggregate("sum(amounts)")


@consumer(freshness="5 min", grain="5 min")
def adds_a_column(events: pd.DataFrame) -> pd.DataFrame:
    events["big"] = events["amount"] > 10
    return events[["event_id", "big"]]


@consumer(freshness="5 min", grain="5 min")
def sets_a_value(events: pd.DataFrame) -> pd.DataFrame:
    events.loc[0, "amount"] = -1.0
    return events[["event_id", "amount"]]


@consumer(freshness="5 min", grain="5 min")
def takes_a_column(events: pd.DataFrame) -> pd.DataFrame:
    return events.pop("amount").to_frame()


@consumer(freshness="5 min", grain="5 min")
def cannot_be_kept(events: pa.Table) -> pa.Table:
    import pyarrow as pa

    return pa.table({"nothing": pa.array([{}], pa.struct([]))})


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (a_list, "it returned builtins.list; return a pd.DataFrame, a pa.Table or a duckdb.DuckDBPyRelation"),
        (nothing, "it returned builtins.NoneType; return"),
        (an_index, "whose index ['country'] would be lost: add .reset_index()"),
        (two_kinds, "a column holds values of more than one kind"),
        (reserved, "a column 'day', which names the lake's folders: rename it"),
        (unknown_column, "no column 'prize'"),
        (broken_sql, "its input 'events' has no column 'amounts'"),
        (adds_a_column, "it changed its input 'events' (added big)"),
        (sets_a_value, "it changed its input 'events' (changed the values of amount)"),
        (takes_a_column, "it changed its input 'events' (removed amount)"),
        (cannot_be_kept, "Parquet cannot hold what it returned"),
    ],
    ids=lambda value: value.name if not isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_and_the_others_go_on(world, bad, said):
    w = world(bad, dashboard, now="2026-03-10 00:07", start="2026-03-10")
    w.run()
    [error] = w.failures(bad.name)
    assert said in error
    assert f"consumer {bad.name!r}, partition {FIRST}: " in error
    assert w.revisions("dashboard") == {FIRST: 1}


@consumer(freshness="5 min", grain="5 min")
def renames(events: pa.Table) -> pa.Table:
    name = "early" if events["event_time"][0].as_py().minute < 10 else "late"
    return events.select(["amount"]).rename_columns([name])


@consumer(freshness="5 min", grain="5 min")
def changes_type(events: pa.Table) -> pa.Table:
    column = "amount" if events["event_time"][0].as_py().minute < 10 else "country"
    return events.select([column]).rename_columns(["value"])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (renames, "it returned the columns late, but other partitions have early"),
        (changes_type, "column 'value' is string here, but double in other partitions"),
    ],
)
def test_columns_that_change_between_partitions_are_refused(world, bad, said):
    w = world(bad, dashboard, now="2026-03-10 00:16", start="2026-03-10")
    w.run()
    [error] = w.failures(bad.name)
    assert said in error
    assert "2026-03-10T00:10+0000" in error
    assert len(w.revisions(bad.name)) == 2
    assert w.standing("dashboard").is_kept


@consumer(freshness="5 min", grain="5 min")
def nothing_for_nothing(events: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return (
        pd.DataFrame() if events.empty else events.groupby("country", as_index=False).agg(orders=("event_id", "count"))
    )


def test_an_empty_first_partition_binds_no_columns(world):
    w = world(nothing_for_nothing, now="2026-03-10 01:06", start="2026-03-10", sources={"events": Shop(quiet=(0, 1))})
    w.run()
    assert w.failures("nothing_for_nothing") == []
    assert len(w.revisions("nothing_for_nothing")) == 13
    assert {key for row in w.table("nothing_for_nothing") for key, _ in row} == {
        "country",
        "orders",
        "day",
        "window_start",
    }


def test_an_empty_partition_later_has_the_columns_of_the_others(world):
    w = world(nothing_for_nothing, now="2026-03-10 01:06", start="2026-03-10", sources={"events": Shop(quiet=(1, 2))})
    w.run()
    empty = w.receipts("nothing_for_nothing")["2026-03-10T01:00+0000"]
    assert empty.rows == 0
    [current] = w.pipeline.lake.ledger.current("nothing_for_nothing", empty.span)
    assert w.pipeline.lake.schema_of([current]).names == ["country", "orders"]


def test_inputs_that_are_not_there_are_no_failure(world):
    w = world(report, now="2026-03-11 00:32", start="2026-03-10")
    made = w.by_hand("report", "2026-03-10")
    assert "needs events, which is not sealed" in made.failed[0].error
    assert "materialize events, events_daily, report for that range together" in made.failed[0].error
    assert w.failures("report") == []
    assert ranges(w.run()) == ["events_daily+report 03-10 00:00 03-11 00:00"]
