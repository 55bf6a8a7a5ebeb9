"""Fuzz: receipts, footers and the ledger's records, changed at random, are read or refused by an error of ours."""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Latency, Receipt, WindowFact
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.errors import StreamAssetsError
from stream_assets.lake.parquet import RECEIPT, read_receipt
from stream_assets.sources.protocol import FileFact
from stream_assets_tests.fuzz.drawing import JSON, inputs, mutated_bytes, mutated_record, mutated_text
from stream_assets_tests.sources.test_file_events import NOW, TEN

HOUR = TimeWindow(TEN, TEN + timedelta(hours=1))
RECEIPT_OF_HOUR = Receipt(
    "events", HOUR, 2, 3, Digest(1, 2), Intervals.of(HOUR), NOW, 1, 1, 5, (WindowFact(TEN, 3, Digest(1, 2), 1, 1),),
    TEN, TEN + GRID, Latency(1.0, 2.0, 3.0), {"events": str(Digest(1, 2))}, 7, "code", "why", "run",
)  # fmt: skip
FACT = FileFact(
    "a/b.jsonl", 10, 20, 3, TEN, TEN + GRID, "wrong", Intervals.of(HOUR), Intervals.of(HOUR), mark="ab", last_time=TEN
)


def read_by_people(receipt: Receipt) -> None:
    """Do what is done with every receipt."""
    assert Receipt.from_json(receipt.to_json()) == receipt
    assert json.dumps(receipt.facts())
    assert receipt.is_sealed == (not receipt.missing)


@inputs()
@given(
    st.one_of(mutated_record(json.loads(RECEIPT_OF_HOUR.to_json())).map(json.dumps), mutated_text(RECEIPT_OF_HOUR.to_json()), JSON.map(json.dumps))
)  # fmt: skip
def test_receipts(text: str) -> None:
    with suppress(StreamAssetsError):
        read_by_people(Receipt.from_json(text))


@inputs()
@given(
    st.one_of(mutated_record(json.loads(FACT.to_json())).map(json.dumps), mutated_text(FACT.to_json()), JSON.map(json.dumps))
)  # fmt: skip
def test_facts_of_files(text: str) -> None:
    with suppress(StreamAssetsError):
        fact = FileFact.from_json(text)
        assert FileFact.from_json(fact.to_json()) == fact
        assert fact.may_have(HOUR) in (True, False)


def _part() -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"event_id": ["a"], "x": [1]}).replace_schema_metadata({RECEIPT: RECEIPT_OF_HOUR.to_json()})
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("footers") / "part-r1-00000000.parquet"


@inputs()
@given(data=mutated_bytes(_part()))
def test_footers(part: Path, data: bytes) -> None:
    part.write_bytes(data)
    with suppress(StreamAssetsError):
        read_by_people(read_receipt(part))


COLUMNS: list[tuple[str, str]] = [
    ("current", column) for column in ("key_start", "key_end", "digest", "file", "committed_at", "receipt")
] + [
    ("publication", "touched"), ("coverage", "start"), ("coverage", "end"), ("reopened", "since"), ("reopened", "end"), ("failure", "at"),
    ("failure", "next_try_at"), ("work", "tables"), ("work", "remaining"), ("work", "start"), ("work", "requested_at"), ("work", "lease_expires_at"),
    ("stream", "watermark"), ("stream", "cursor"), ("source_file", "fact"), ("source_file", "start"), ("consumer", "first_seen"),
    ("consumer", "paused_at"), ("automation", "ticked"), ("tbl", "grain"), ("tbl", "stream"),
]  # fmt: skip
