"""What Dagster shows of a partition and of an asset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from pathlib import Path

    from stream_assets.pipeline import Outcome, Pipeline

PREVIEW_ROWS = 5


def facts(pipeline: Pipeline, outcome: Outcome) -> dict[str, Any]:
    """Return the metadata of one partition: what became of it, row count, path, columns, first rows, receipt."""
    shown: dict[str, Any] = {"state": outcome.state}
    receipt = outcome.receipt
    if receipt is None:
        if outcome.state == "delivered by the day":
            shown["served_from"] = "day"
        return shown
    current = next(iter(pipeline.lake.ledger.current(receipt.table, receipt.span)), None)
    shown |= {
        "dagster/row_count": receipt.rows,
        "rows_read": receipt.rows_read,
        "duplicates": receipt.duplicates,
        "rejected": receipt.rejected,
        "revision": receipt.revision,
        "digest": str(receipt.digest),
        "complete_through": receipt.complete_through.isoformat(),
        "missing": str(receipt.missing),
        "receipt": dg.MetadataValue.json(receipt.facts()),
    }
    if receipt.latency:
        shown["event_to_queryable_p95_s"] = receipt.latency.p95
    if current is None:
        return shown
    path = pipeline.lake.layout.root / current.file
    shown["path"] = dg.MetadataValue.path(str(path))
    try:
        shown |= _content(path)
    except FileNotFoundError:
        shown["preview"] = "replaced meanwhile: look at the newest materialization"
    return shown


def _content(path: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    first = next(file.iter_batches(batch_size=PREVIEW_ROWS), None)
    columns = [dg.TableColumn(f.name, str(f.type)) for f in file.schema_arrow]
    content: dict[str, Any] = {"dagster/column_schema": dg.TableSchema(columns=columns)}
    if first is not None:
        records = [dg.TableRecord({k: _plain(v) for k, v in row.items()}) for row in first.to_pylist()]
        content["preview"] = dg.MetadataValue.table(records, schema=dg.TableSchema(columns=columns))
    return content


def _plain(value: Any) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def said(outcomes: Iterable[Outcome]) -> str:
    """Return one line a failed partition."""
    return "\n".join(f"{o.table} {o.span}: {o.error}" for o in outcomes)
