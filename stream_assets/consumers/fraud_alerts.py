"""Users that buy suspiciously often: declared in the streaming lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_assets import consumer

if TYPE_CHECKING:
    import pyarrow as pa

MOST_PURCHASES = 3


@consumer(freshness="1 s", grain="5 min", reads={"events": ["event_id", "user_id", "event_type", "amount"]})
def fraud_alerts(events: pa.Table) -> pa.Table:
    """Users with more than three purchases within five minutes."""
    import pyarrow.compute as pc

    purchases = events.filter(pc.field("event_type") == "purchase")
    users = purchases.group_by("user_id").aggregate([("event_id", "count"), ("amount", "sum")])
    users = users.rename_columns({"event_id_count": "purchases", "amount_sum": "spent"})
    return users.filter(pc.field("purchases") > MOST_PURCHASES).sort_by("user_id")
