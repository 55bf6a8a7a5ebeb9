"""Consumers that the stories use. They are exact: the same events give the same rows, to the bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_assets import consumer

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa


@consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id", "country", "amount"]})
def dashboard(events: pa.Table) -> pa.Table:
    """Orders and revenue per country in each five minutes."""
    return events.group_by("country").aggregate([("event_id", "count"), ("amount", "sum")]).sort_by("country")


@consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id", "country", "amount"]})
def panda(events: pd.DataFrame) -> pd.DataFrame:
    """The same as `dashboard`, by pandas."""
    return events.groupby("country", as_index=False).agg(orders=("event_id", "count"), revenue=("amount", "sum"))


@consumer(freshness="1 day", reads={"events": ["country", "amount"]})
def report(events: pa.Table) -> pa.Table:
    """Orders and revenue per country and day."""
    grouped = events.group_by("country").aggregate([("amount", "sum"), ("amount", "count")])
    return grouped.sort_by("country")


@consumer(freshness="1 day", reads={"events": ["country", "amount"]})
def ledger_book(events: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The same as `report`, by DuckDB."""
    return events.aggregate("country, count(*) as orders, sum(amount) as revenue", "country").order("country")
