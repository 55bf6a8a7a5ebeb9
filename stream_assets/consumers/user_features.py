"""Features for a model that is trained once a day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_assets import consumer

if TYPE_CHECKING:
    import duckdb


@consumer(freshness="1 day", lookback="7 days", reads={"events": ["user_id", "event_type", "amount"]})
def user_features(events: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """What each user did in the last eight days, the partition's day included."""
    return events.aggregate(
        """
        user_id,
        count(*) as events,
        count(*) filter (event_type = 'purchase') as purchases,
        coalesce(sum(amount) filter (event_type = 'purchase'), 0) as spent
        """,
        "user_id",
    ).order("user_id")
