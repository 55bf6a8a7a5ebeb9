"""Columns are encoded as their values ask for, and every engine reads them as they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from stream_assets.lake.encoding import encoding_of

ROWS = 5000
START = datetime(2026, 3, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", "UTC")


def _written(table: pa.Table, path: Path) -> dict[str, str]:
    """Write a table and return the encoding of each column's values."""
    pq.write_table(table, path, **encoding_of(table))
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    return {
        c.path_in_schema: "dictionary" if c.has_dictionary_page else next(e for e in c.encodings if e != "RLE")
        for c in columns
    }


def test_only_what_repeats_has_a_dictionary(tmp_path: Path) -> None:
    numbers = range(ROWS)
    table = pa.table(
        {
            "id": [f"{n:016x}" for n in numbers],
            "country": [("DE", "FR", "NL")[n % 3] for n in numbers],
            "user": list(numbers),
            "status": [n % 5 for n in numbers],
            "at": pa.array([START + timedelta(microseconds=n) for n in numbers], INSTANT),
            "tags": [["a", "b"] for _ in numbers],
            "nothing": pa.nulls(ROWS),
            "a.b": ["x" for _ in numbers],
        }
    )
    assert _written(table, tmp_path / "t.parquet") == {
        "id": "DELTA_LENGTH_BYTE_ARRAY",
        "country": "dictionary",
        "user": "PLAIN",
        "status": "dictionary",
        "at": "DELTA_BINARY_PACKED",
        "tags.list.element": "dictionary",
        "nothing": "dictionary",
        "a.b": "dictionary",
    }


def test_every_engine_reads_what_has_no_dictionary(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    rows: list[dict[str, Any]] = [
        {
            "id": None if n % 7 == 0 else f"id-{n}" * (n % 3),
            "amount": n / 7,
            "at": START + timedelta(microseconds=n * 1_000_003),
        }
        for n in range(ROWS)
    ]
    table = pa.Table.from_pylist(rows, pa.schema([("id", pa.string()), ("amount", pa.float64()), ("at", INSTANT)]))
    assert "dictionary" not in _written(table, path).values()
    assert pq.read_table(path).to_pylist() == rows
    assert pl.read_parquet(path).to_arrow().cast(table.schema).to_pylist() == rows
    connection = duckdb.connect()
    connection.sql("set timezone = 'UTC'")
    assert connection.sql(f"""select id, amount, epoch_us("at") from '{path}'""").fetchall() == [
        (row["id"], row["amount"], (row["at"] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))
        for row in rows
    ]
