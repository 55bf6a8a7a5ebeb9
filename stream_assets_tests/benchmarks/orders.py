"""The one consumer of the command line's tick: cheap, and without pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_assets import consumer

if TYPE_CHECKING:
    import pyarrow as pa


@consumer(freshness="5 min", grain="5 min", reads={"events": ["country", "amount"]})
def orders(events: pa.Table) -> pa.Table:
    """Revenue per country in each five minutes."""
    return events.group_by("country").aggregate([("amount", "sum")]).sort_by("country")
