"""A report that is read in the morning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_assets import consumer

if TYPE_CHECKING:
    import duckdb


@consumer(freshness="1 day", reads={"events": ["country", "event_type", "amount"]})
def finance_report(events: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Purchases, revenue and refunds per country and day."""
    return events.aggregate(
        """
        country,
        count(*) filter (event_type = 'purchase') as purchases,
        coalesce(sum(amount) filter (event_type = 'purchase'), 0) as revenue,
        coalesce(sum(amount) filter (event_type = 'refund'), 0) as refunds
        """,
        "country",
    ).order("country")
