"""A dashboard that people look at all day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_assets import consumer

if TYPE_CHECKING:
    import pandas as pd


@consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id", "country", "amount"]})
def revenue_dashboard(events: pd.DataFrame) -> pd.DataFrame:
    """Orders and revenue per country in each five minutes."""
    return events.groupby("country", as_index=False).agg(orders=("event_id", "count"), revenue=("amount", "sum"))
