"""The consumers of a run: of both grains, one of a consumer, with lookback, in every form; exact but for sums of floats."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from stream_assets import consumer
from stream_assets.core.declaration import Consumer
from stream_assets.core.freshness import parse_duration

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa


@consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id", "country", "amount"]})
def dashboard(events: pd.DataFrame) -> pd.DataFrame:
    """Orders and revenue per country in each five minutes."""
    return events.groupby("country", as_index=False).agg(orders=("event_id", "count"), revenue=("amount", "sum"))


@consumer(freshness="5 min", grain="5 min", lookback="15 min", reads={"dashboard": ["country", "orders"]})
def busiest(dashboard: pa.Table) -> pa.Table:
    """Orders per country in the last twenty minutes, from what another consumer counted."""
    return dashboard.group_by("country").aggregate([("orders", "sum")]).sort_by("country")


@consumer(freshness="1 hour", reads={"events": ["country", "amount"]})
def report(events: pa.Table) -> pa.Table:
    """Orders and revenue per country and day."""
    return events.group_by("country").aggregate([("amount", "sum"), ("amount", "count")]).sort_by("country")


@consumer(freshness="1 hour", reads={"events": ["country", "amount"]})
def dear_report(events: pa.Table) -> pa.Table:
    """The same of dear orders alone, as after an edit of `report`; columns stay, since plain engines want them equal."""
    import pyarrow.compute as pc

    dear = events.filter(pc.greater(events.column("amount"), 20.0))
    return dear.group_by("country").aggregate([("amount", "sum"), ("amount", "count")]).sort_by("country")


@consumer(freshness="1 day", lookback="1 day", reads={"events": ["country", "user_id"]})
def features(events: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Buyers of two days per country."""
    return events.aggregate("country, count(distinct user_id) as buyers", "country").order("country")


_WINDOWS = ("5 min", "5 min", "5 min", "10 min", "1 hour")
_DAYS = ("5 min", "20 min", "1 hour", "1 day")


def declared(seed: int, epoch: int) -> list[Consumer]:
    """Return the consumers as they are declared in one epoch of a run: other freshnesses, and another body of `report`."""
    draw = random.Random(f"{seed} declared in epoch {epoch}")
    body = replace(dear_report, name="report") if epoch % 4 > 1 else report
    choices = ((dashboard, _WINDOWS), (busiest, _WINDOWS), (body, _DAYS), (features, _DAYS))
    return [replace(c, freshness=parse_duration(draw.choice(known))) for c, known in choices]
