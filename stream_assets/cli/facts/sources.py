"""What sources gave that is no event, and whether they gave anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from stream_assets.core.window import TimeWindow
from stream_assets.errors import StreamAssetsError

if TYPE_CHECKING:
    from stream_assets.core.declaration import StreamSpec
    from stream_assets.core.planning import LedgerState
    from stream_assets.core.receipt import Receipt
    from stream_assets.pipeline.pipeline import Pipeline

MOST_WINDOWS = 100
"""Reasons are looked up in so many windows, so that the answer costs the same however many rows are rejected."""


def rejected_facts(pipeline: Pipeline, table: str, receipts: Iterable[Receipt]) -> dict[str, Any]:
    """Return how many rows the receipts of a stream's table count as rejected, why, and the folder that keeps them."""
    declared = pipeline.declarations.tables.get(table)
    stream = declared.stream if declared else None
    told = [receipt for receipt in receipts if receipt.rejected]
    if stream is None or not told:
        return {"rejected_rows": 0, "rejected_reasons": {}, "rejected_in": None}
    windows = (window for receipt in told for window in _windows(receipt))
    reasons: Counter[str] = Counter()
    for window in islice(windows, MOST_WINDOWS):
        reasons.update(pipeline.lake.rejected(stream.name, window))
    return {
        "rejected_rows": sum(receipt.rejected for receipt in told),
        "rejected_reasons": dict(reasons.most_common()),
        "rejected_in": str(pipeline.lake.layout.all_rejected(stream.name)),
    }


def discarded_facts(pipeline: Pipeline, stream: StreamSpec, receipts: Iterable[Receipt]) -> dict[str, Any]:
    """Return the drift policy of a stream, and what it has left out: values by receipts, and names of their columns."""
    values = sum(receipt.discarded for receipt in receipts)
    nothing = TimeWindow(pipeline.lake.start, pipeline.lake.start)
    columns = pipeline.site.columns(stream.name, nothing).discarded if values else ()
    return {"drift": stream.drift, "discarded_values": values, "discarded_columns": list(columns)}


def _windows(receipt: Receipt) -> list[TimeWindow]:
    return [fact.window for fact in receipt.windows if fact.rejected] or [receipt.span]


def is_empty(pipeline: Pipeline, stream: StreamSpec, state: LedgerState) -> bool:
    """Whether `stream` is sealed and never had a row, none has failed, and its source has nothing that even tells columns."""
    tables = [state.table(name) for name in (stream.name, stream.daily)]
    if any(t.failures for t in tables) or not any(t.coverage for t in tables):
        return False
    if any(pipeline.lake.ledger.newest(name, with_rows=True) for name in (stream.name, stream.daily)):
        return False
    try:
        return pipeline.site.sources[stream.name].schema(now=pipeline.clock.now()) is None
    except StreamAssetsError:
        return False
