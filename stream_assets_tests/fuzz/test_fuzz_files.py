"""Fuzz: files of every format, changed at random, give rows or an error of ours, and the same at every look."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.core.window import TimeWindow
from stream_assets.errors import SourceError, StreamAssetsError
from stream_assets.events.conform import conform
from stream_assets.events.hashing import digest
from stream_assets.sources.files import FileEvents
from stream_assets.sources.protocol import MemoryState
from stream_assets_tests.fuzz.drawing import ANY_TEXT, JSON, inputs, mutated_bytes
from stream_assets_tests.sources.test_file_events import HOUR, NOW, TEN, event

LINES = [event(n, amount=n / 3, tags=["a", {"b": None}], name="ü\u202e", inside={"x": [[n]]}) for n in range(4)]
JSONL = "".join(json.dumps(line, ensure_ascii=n % 2 == 0) + "\n" for n, line in enumerate(LINES)).encode()
CSV = (
    "event_id,event_time,amount,name\r\n" + "".join(f'e{n},{TEN.isoformat()},0{n}.5,"a ""{n}"",\n"\n' for n in range(4))
).encode()


def _parquet(**options: object) -> bytes:
    sink = pa.BufferOutputStream()
    times = pa.array([TEN] * 40, pa.timestamp("us", "UTC"))
    words = pa.array(["a", "b"] * 20).dictionary_encode()
    inside = pa.array([{"x": [n, None]} for n in range(40)])
    columns = {"event_id": [f"e{n}" for n in range(40)], "event_time": times, "word": words, "inside": inside}
    table = pa.table({**columns, "amount": [n / 3 for n in range(40)]}).replace_schema_metadata({"pandas": "{}"})
    pq.write_table(table, sink, row_group_size=20, **options)
    return sink.getvalue().to_pybytes()


PARQUET = (
    _parquet(),
    _parquet(compression="none", data_page_version="2.0"),
    _parquet(compression="zstd", version="1.0"),
)


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("landing")


def read_all(folder: Path, name: str, data: bytes, format: str) -> None:
    """Look at a folder of this one file, and do with its rows what ingestion does."""
    file = folder / name
    file.write_bytes(data)
    source = FileEvents(str(folder), format)
    state = MemoryState()
    try:
        source.schema(now=NOW)
        said = [_read(source, HOUR, None)]
        arrivals = source.arrivals(None, now=NOW, state=state)
        assert arrivals is not None
        said.append(_read(source, HOUR, state))
        # A look reads times alone: what is wrong with other columns stops the windows that have such rows, and no more.
        assert "refused" in said or said[0] == said[1]
    finally:
        file.unlink()


def _read(source: FileEvents, window: TimeWindow, state: MemoryState | None) -> object:
    """Return how many rows of which digest, or the error that was raised."""
    total = rejected = 0
    hashed = []
    try:
        for batch in source.read(window, now=NOW, state=state):
            done = conform(batch, source.names, "", NOW)
            hashed.append(digest(done.table))
            total += done.table.num_rows
            rejected += done.rejected.num_rows
    except SourceError:
        return "refused"
    except StreamAssetsError:
        return "later"
    return total, rejected, [str(d) for d in hashed if d != type(d)()]


OBJECTS = st.lists(
    st.dictionaries(ANY_TEXT | st.sampled_from(["event_id", "event_time"]), JSON, max_size=4)
    | st.builds(lambda n, more: {**event(n), **more}, st.integers(0, 70), st.dictionaries(ANY_TEXT, JSON, max_size=3)),
    max_size=5,
).map(lambda objects: "".join(json.dumps(o) + "\n" for o in objects).encode())


@inputs(200)
@given(data=mutated_bytes(JSONL) | OBJECTS)
def test_json_lines(landing: Path, data: bytes) -> None:
    read_all(landing, "1.jsonl", data, "jsonl")


@inputs(200)
@given(data=mutated_bytes(CSV))
def test_csv(landing: Path, data: bytes) -> None:
    read_all(landing, "1.csv", data, "csv")


@inputs(200)
@given(data=mutated_bytes(*PARQUET))
def test_parquet(landing: Path, data: bytes) -> None:
    read_all(landing, "1.parquet", data, "parquet")


@inputs(100)
@given(
    data=st.one_of(
        mutated_bytes(gzip.compress(JSONL, mtime=0)),
        mutated_bytes(JSONL).map(gzip.compress),
        mutated_bytes(gzip.compress(JSONL, mtime=0) * 2),
    )
)
def test_gzip(landing: Path, data: bytes) -> None:
    read_all(landing, "1.jsonl.gz", data, "jsonl")
