"""What Dagster shows of a partition and of an asset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from stream_assets.errors import printable

if TYPE_CHECKING:
    from pathlib import Path

    from stream_assets.pipeline import Outcome, Pipeline

PREVIEW_ROWS = 5
PREVIEW_COLUMNS = 50
LONGEST_CELL = 200
"""Characters of a value in a preview: it is written into Dagster's event log for every partition."""
SHOWN = 5
_ABOUT = {
    "event_id": "Unique in its stream.",
    "event_time": "When it happened; decides the partition.",
    "arrival_time": "When the source first showed it.",
}


def facts(pipeline: Pipeline, outcomes: Sequence[Outcome]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the key and the metadata of each partition, in order; their files are looked into several at once.

    What people look for comes first: what became of it, rows, where they are, receipt.
    """
    from stream_assets.lake.read import FILES_AT_ONCE

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        yield from zip(_keys(pipeline, outcomes), pool.map(partial(_facts, pipeline), outcomes), strict=True)


def _keys(pipeline: Pipeline, outcomes: Sequence[Outcome]) -> list[str]:
    return [pipeline.calendar.key(o.span, pipeline.table(o.table).grain) for o in outcomes]


def _facts(pipeline: Pipeline, outcome: Outcome) -> dict[str, Any]:
    shown: dict[str, Any] = {"state": outcome.state}
    receipt = outcome.receipt
    if receipt is None:
        if outcome.state == "delivered by the day":
            shown["served_from"] = "day"
        return shown
    is_stream = pipeline.table(receipt.table).stream is not None
    shown |= {"why": receipt.reason or "-", "dagster/row_count": receipt.rows}
    if is_stream:
        shown |= {"rows_read": receipt.rows_read, "duplicates": receipt.duplicates, "rejected": receipt.rejected}
        shown |= {"discarded": receipt.discarded} if receipt.discarded else {}
    shown |= {"complete_through": receipt.complete_through.isoformat(), "missing": str(receipt.missing)}
    if receipt.accepted:
        shown["accepted"] = some(f"{gap.span}: {gap.said}" for gap in receipt.accepted)
    current = next(iter(pipeline.lake.ledger.current(receipt.table, receipt.span)), None)
    if current is not None:
        path = pipeline.lake.layout.root / current.file
        shown["path"] = dg.MetadataValue.path(str(path))
        try:
            shown |= _content(path, _ABOUT if is_stream else {})
        except FileNotFoundError:
            shown["preview"] = "replaced meanwhile: look at the newest materialization"
    if receipt.latency:
        shown["event_to_queryable_p95_s"] = receipt.latency.p95
    return shown | {
        "revision": receipt.revision,
        "digest": str(receipt.digest),
        "receipt": dg.MetadataValue.json(receipt.facts()),
    }


def _content(path: Path, about: Mapping[str, str]) -> dict[str, Any]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    shown = file.schema_arrow.names[:PREVIEW_COLUMNS]
    # A few rows are not worth a thread for each column.
    first = next(file.iter_batches(batch_size=PREVIEW_ROWS, columns=shown, use_threads=False), None)
    columns = [
        dg.TableColumn(printable(f.name, LONGEST_CELL), printable(str(f.type), LONGEST_CELL), about.get(f.name))
        for f in file.schema_arrow
    ]
    content: dict[str, Any] = {}
    if first is not None:
        records = [
            dg.TableRecord({printable(k, LONGEST_CELL): _plain(v) for k, v in row.items()}) for row in first.to_pylist()
        ]
        content["preview"] = dg.MetadataValue.table(records, schema=dg.TableSchema(columns=columns[:PREVIEW_COLUMNS]))
    return content | {"dagster/column_schema": dg.TableSchema(columns=columns)}


def _plain(value: Any) -> str | int | float | bool | None:
    if isinstance(value, float):
        return float(f"{value:.12g}")  # 0.1 + 0.2 reads as 0.3
    return value if value is None or isinstance(value, (int, bool)) else printable(str(value), LONGEST_CELL)


def failed(pipeline: Pipeline, outcomes: Sequence[Outcome]) -> tuple[list[str], str]:
    """Return the keys of failed partitions, and one line each for the first few of them."""
    keys = _keys(pipeline, outcomes)
    lines = (str(o.error) if k in str(o.error) else f"{k}: {o.error}" for k, o in zip(keys, outcomes, strict=True))
    return keys, some(lines, "\n")


def some(things: Iterable[object], between: str = ", ") -> str:
    """Return the first few of what may be many, and how many more there are."""
    said = [str(thing) for thing in things]
    return between.join(said[:SHOWN] + ([f"and {len(said) - SHOWN} more"] if len(said) > SHOWN else []))
