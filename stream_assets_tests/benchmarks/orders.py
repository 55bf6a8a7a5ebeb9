"""The one consumer of the command line's tick on Arrow: cheap, and without `group_by`, for which pyarrow imports pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_assets import consumer

if TYPE_CHECKING:
    import pyarrow as pa


@consumer(freshness="5 min", grain="5 min", reads={"events": ["country"]})
def orders(events: pa.Table) -> pa.Table:
    """Orders per country in each five minutes."""
    import pyarrow as pa

    counts = events.column("country").value_counts()
    return pa.table({"country": counts.field("values"), "orders": counts.field("counts")}).sort_by("country")
