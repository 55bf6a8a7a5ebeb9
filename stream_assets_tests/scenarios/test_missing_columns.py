"""A consumer that names a column which is not there is told which, of what, and in which partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stream_assets import consumer

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa


def one(function, grain="5 min", reads=None):
    freshness = "5 min" if grain == "5 min" else "1 day"
    return consumer(freshness=freshness, grain=grain, reads={"events": reads} if reads else None)(function)


def by_key(events: pd.DataFrame) -> pd.DataFrame:
    return events[["event_id"]].assign(x=events["price"])


def by_keys(events: pd.DataFrame) -> pd.DataFrame:
    return events[["event_id", "price"]]


def by_attribute(events: pd.DataFrame) -> pd.DataFrame:
    return events[["event_id"]].assign(x=events.price)


def by_group(events: pd.DataFrame) -> pd.DataFrame:
    return events.groupby("price", as_index=False).agg(n=("event_id", "count"))


def by_aggregate(events: pd.DataFrame) -> pd.DataFrame:
    return events.groupby("country", as_index=False).agg(n=("price", "sum"))


def by_column(events: pa.Table) -> pa.Table:
    return events.append_column("x", events.column("price"))


def by_select(events: pa.Table) -> pa.Table:
    return events.select(["price"])


def by_expression(events: pa.Table) -> pa.Table:
    import pyarrow.compute as pc

    return events.filter(pc.field("price") > 1)


def by_grouping(events: pa.Table) -> pa.Table:
    return events.group_by("price").aggregate([("event_id", "count")])


def by_relation(events: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    return events.aggregate("sum(price) as n")


def by_projection(events: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    return events.select("price")


IN_FUNCTION = [
    by_key, by_keys, by_attribute, by_group, by_aggregate, by_column, by_select, by_expression, by_grouping, by_relation,
    by_projection,
]  # fmt: skip


def error_of(world, made):
    w = world(made, now="2026-03-12 00:32", start="2026-03-11")
    stream, key = ("events", "2026-03-12T00:00+0000") if made.grain == "5 min" else ("events_daily", "2026-03-11")
    (filled,), (outcome,) = (w.by_hand(table, key).outcomes for table in (stream, made.name))
    assert filled.is_good
    return outcome.error, key


@pytest.mark.parametrize("function", IN_FUNCTION, ids=lambda f: f.__name__)
def test_in_its_function(world, function):
    error, key = error_of(world, one(function))
    assert error.startswith(f"consumer '{function.__name__}', partition {key}: ")
    assert "its input 'events' has no column 'price'" in error
    assert "it has: event_id, event_time, arrival_time, country, amount" in error
    assert "test_missing_columns.py, line" in error


@pytest.mark.parametrize("grain", ["5 min", "day"])
@pytest.mark.parametrize("function", [by_key, by_column, by_relation], ids=["pandas", "arrow", "duckdb"])
def test_in_what_it_reads(world, function, grain):
    error, key = error_of(world, one(function, grain, reads=["event_id", "price"]))
    assert f"consumer '{function.__name__}', partition {key}: table 'events' has no column 'price'" in error


@pytest.mark.parametrize("function", [by_key, by_column, by_projection], ids=["pandas", "arrow", "duckdb"])
def test_at_day_grain(world, function):
    error, key = error_of(world, one(function, "day"))
    assert error.startswith(f"consumer '{function.__name__}', partition {key}: ")
    assert "its input 'events' has no column 'price'" in error


def test_a_key_that_is_no_column_is_an_error_of_the_function(world):
    def lookup(events: pd.DataFrame) -> pd.DataFrame:
        return {"country": events}["price"]

    error, _ = error_of(world, one(lookup))
    assert "the function raised KeyError: 'price'" in error
