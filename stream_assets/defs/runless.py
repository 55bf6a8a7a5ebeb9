"""Materializations that no run reports: of partitions that the lake has and Dagster has not heard of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from stream_assets.lake.ledger import Current
    from stream_assets.pipeline import Pipeline


def materialization(pipeline: Pipeline, key: dg.AssetKey, current: Current) -> dg.AssetMaterialization:
    """Return what is said of a partition that the lake has, where no run says it."""
    receipt = current.receipt
    grain = pipeline.table(receipt.table).grain
    facts: dict[str, Any] = {
        "state": "adopted",
        "dagster/row_count": current.rows,
        "revision": current.revision,
        "digest": str(current.digest),
        "complete_through": receipt.complete_through.isoformat(),
        "missing": str(receipt.missing),
        "published": current.committed_at.isoformat(),
        "path": dg.MetadataValue.path(str(pipeline.lake.layout.root / current.file)),
    }
    return dg.AssetMaterialization(key, partition=pipeline.calendar.key(current.span, grain), metadata=facts)
