"""Files that unfold into more than there is room for: stopped by a limit that is named, in bounded memory, where they may matter."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_assets.core.window import EPOCH
from stream_assets.errors import DeclarationError, SourceError
from stream_assets.sources.files import FileEvents, columnar, limits
from stream_assets.sources.url import source_from_url
from stream_assets_tests.sources.test_broken_files import changed
from stream_assets_tests.sources.test_file_events import NOW, TEN, event, ids, put, window_at

MOST_MEMORY = 900 << 20
"""What a child that reads a bomb may take beyond what it has when it begins; each bomb is of many times as much."""

CHILD = """
import json, resource, sys
from stream_assets.errors import SourceError
from stream_assets.sources.files import FileEvents, limits
from stream_assets.sources.protocol import MemoryState
from stream_assets_tests.sources.test_file_events import NOW, read, window_at
limits.FREE_BYTES = 32 << 20
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source = FileEvents(sys.argv[1], sys.argv[2])
said = []
for state in (None, MemoryState()):
    if state:
        source.arrivals(None, now=NOW, state=state)
    try:
        for _ in source.read(window_at(15), now=NOW, state=state):
            pass
    except SourceError as error:
        said.append(str(error))
later = [row["event_id"] for row in read(source, window_at(50), state)]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"said": said, "later": later, "peak": (peak - before) << 10}))
"""


def line(minute: float, **columns: object) -> bytes:
    return json.dumps(event(minute, **columns)).encode() + b"\n"


def many(*members: bytes, times: int = 1) -> bytes:
    """Return a gzip file of the first member, and the others over and over."""
    first, *others = (gzip.compress(member, 9) for member in members)
    return first + b"".join(others) * times


def zeros(path: Path) -> None:
    path.write_bytes(many(line(15), bytes(64 << 20), times=160))


def good_lines_without_end(path: Path) -> None:
    path.write_bytes(many(line(15), line(16, word="x" * 1000) * 10_000, times=30))


def a_line_of_a_gigabyte(path: Path) -> None:
    with path.open("wb") as stream:
        stream.write(line(15))
        stream.truncate(1 << 30)


def keys_without_end(path: Path) -> None:
    path.write_bytes(b"".join(line(15 + n / 1e6, **{f"k{n}": n}) for n in range(50_000)))


def fields_without_end(path: Path) -> None:
    path.write_bytes(line(15) + line(16, inside={f"k{n}": n for n in range(20_000)}))


def no_json(path: Path) -> None:
    path.write_bytes(line(15) + b"x\n" * 3_000_000)


def a_header_of_many(path: Path) -> None:
    names = ",".join(f"c{n}" for n in range(100_000))
    path.write_text(f"event_id,event_time,{names}\ne15,{TEN.isoformat()}\n")


def a_header_of_a_million(path: Path) -> None:
    path.write_text("event_id,event_time," + ",".join(f"c{n}" for n in range(1_000_000)) + "\n")


def a_cell_of_a_gigabyte(path: Path) -> None:
    with path.open("wb") as stream:
        stream.write(f'event_id,event_time\ne15,"{TEN.isoformat()}'.encode())
        stream.truncate(1 << 30)


def rows_of_too_few_cells(path: Path) -> None:
    path.write_text(f"event_id,event_time,x\ne15,{TEN.isoformat()},1\n" + "1\n" * 3_000_000)


def csv_without_end(path: Path) -> None:
    rows = f"e15,{(TEN + timedelta(minutes=15)).isoformat()}\n".encode()
    path.write_bytes(many(b"event_id,event_time\n" + rows, rows * 100_000, times=20))


def _events(rows: int) -> dict[str, pa.Array]:
    times = np.full(rows, (TEN + timedelta(minutes=16) - EPOCH) // timedelta(microseconds=1))
    same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["e15"]))
    return {"event_id": same, "event_time": pa.array(times).view(pa.timestamp("us", "UTC"))}


def long_text_in_every_row(path: Path) -> None:
    rows = 200_000
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * (16 << 20)]))
    pq.write_table(
        pa.table({**_events(rows), "word": words}), path, dictionary_pagesize_limit=1 << 30, store_schema=False
    )


def rows_without_end(path: Path) -> None:
    table = pa.table(_events(2_000_000))
    with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
        for _ in range(5):
            writer.write_table(table)


def a_list_without_end(path: Path) -> None:
    # A byte in Arrow is four in Parquet.
    numbers = pa.ListArray.from_arrays(pa.array([0, 10_000_000], pa.int32()), pa.array(np.zeros(10_000_000, np.int8)))
    pq.write_table(pa.table({**_events(1), "numbers": numbers}), path)


def columns_of_parquet_without_end(path: Path) -> None:
    pq.write_table(pa.table({**_events(1), **{f"c{n}": pa.nulls(1, pa.int8()) for n in range(20_000)}}), path)


@pytest.mark.parametrize(
    ("format", "suffix", "make", "said"),
    [
        ("jsonl", ".jsonl.gz", zeros, "has a line of more than 64 MiB: write one object a line"),
        (
            "jsonl",
            ".jsonl.gz",
            good_lines_without_end,
            ".* bytes that unfold into more than [0-9,]+, 250 times as many",
        ),
        ("jsonl", ".jsonl", a_line_of_a_gigabyte, "has a line of more than 64 MiB: write one object a line"),
        ("jsonl", ".jsonl", keys_without_end, r"has more than 10,000 columns .* say max_columns= in the source"),
        ("jsonl", ".jsonl", fields_without_end, r"has more than 10,000 columns \(20,003 so far\)"),
        ("jsonl", ".jsonl", no_json, "has more than 1,000 lines that are no rows: is the format right"),
        ("csv", ".csv", a_header_of_many, r"has more than 10,000 columns \(100,002 so far\)"),
        ("csv", ".csv", a_header_of_a_million, "has a header of more than 1 MiB: is it CSV"),
        ("csv", ".csv", a_cell_of_a_gigabyte, "a row has more than 4 MiB; is a quote not closed"),
        ("csv", ".csv", rows_of_too_few_cells, "has more than 1,000 lines that are no rows: is the format right"),
        ("csv", ".csv.gz", csv_without_end, ".* bytes that unfold into more than [0-9,]+, 250 times as many"),
        (
            "parquet",
            ".parquet",
            long_text_in_every_row,
            ".* bytes that unfold into more than [0-9,]+, 250 times as many",
        ),
        ("parquet", ".parquet", rows_without_end, ".* bytes that unfold into more than [0-9,]+, 250 times as many"),
        ("parquet", ".parquet", a_list_without_end, ".* bytes that unfold into more than [0-9,]+, 250 times as many"),
        ("parquet", ".parquet", columns_of_parquet_without_end, r"has more than 10,000 columns \(20,002 so far\)"),
    ],
)
def test_a_bomb_is_named_with_its_limit_in_bounded_memory_and_stops_no_other_window(
    tmp_path: Path, format: str, suffix: str, make: Callable[[Path], None], said: str
) -> None:
    bomb = tmp_path / f"bomb{suffix}"
    make(bomb)
    changed(bomb, 30)
    if format == "parquet":
        times = pa.array([TEN + timedelta(minutes=50)], pa.timestamp("us", "UTC"))
        pq.write_table(pa.table({"event_id": ["e50"], "event_time": times}), tmp_path / "good.parquet")
    elif format == "csv":
        put(tmp_path, "good.csv", "event_id,event_time", f"e50,{(TEN + timedelta(minutes=50)).isoformat()}")
    else:
        put(tmp_path, "good.jsonl", event(50))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), format], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    facts = json.loads(done.stdout)
    assert len(facts["said"]) == 2
    assert len(set(facts["said"])) == 1
    with pytest.raises(SourceError, match=f"bomb{suffix}:? {said}"):
        raise SourceError(facts["said"][0])
    assert facts["later"] == ["e50"]
    assert facts["peak"] < MOST_MEMORY


def test_what_is_read_under_a_limit_is_configured_by_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREE_BYTES", 1 << 16)
    lines = [line(15 + n / 1e5, word="x" * 300) for n in range(20_000)]
    (tmp_path / "1.jsonl.gz").write_bytes(gzip.compress(b"".join(lines)))
    with pytest.raises(SourceError, match="times as many: say max_ratio="):
        ids(FileEvents(str(tmp_path), max_ratio=5), window_at(15))
    assert len(ids(source_from_url(f"file://{tmp_path}?max_ratio=100"), window_at(15))) == 20_000
    with pytest.raises(SourceError, match=r"more than 2 columns \(3 so far\)"):
        ids(FileEvents(str(tmp_path), max_columns=2), window_at(15))
    for wrong in ({"max_ratio": 0}, {"max_columns": 0}):
        with pytest.raises(DeclarationError, match="must be at least 1"):
            FileEvents(str(tmp_path), **wrong)


def test_ordinary_lines_that_compress_a_hundred_times_are_no_bomb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FREE_BYTES", 1 << 16)
    lines = [line(15 + n / 1e5, note="the same words in every row " * 40) for n in range(20_000)]
    packed = gzip.compress(b"".join(lines), 9)
    assert sum(map(len, lines)) / len(packed) > 80
    (tmp_path / "1.jsonl.gz").write_bytes(packed)
    assert len(ids(FileEvents(str(tmp_path)), window_at(15))) == 20_000


@pytest.mark.parametrize("rows", [1, 3])
def test_one_long_text_in_many_rows_of_parquet_is_read_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(columnar, "BATCH_BYTES", rows * 1_000_100)
    words = pa.array(["x" * 1_000_000]).take(pa.array([0] * 30))
    table = pa.table({**_events(30), "inside": pa.StructArray.from_arrays([words], ["word"])})
    pq.write_table(table, tmp_path / "1.parquet", dictionary_pagesize_limit=1 << 30)
    batches = list(FileEvents(str(tmp_path), "parquet").read(window_at(15), now=NOW))
    assert [batch.num_rows for batch in batches] == [rows] * (30 // rows)


def test_folders_in_folders_without_end_stop_what_they_may_have(tmp_path: Path) -> None:
    put(tmp_path, "good.jsonl", event(50))
    tmp_path.joinpath(*["d"] * 70).mkdir(parents=True)
    changed(tmp_path.joinpath(*["d"] * 65), 30)
    source = FileEvents(str(tmp_path))
    with pytest.raises(SourceError, match="d/d is a folder inside of 64 others: move its files up"):
        ids(source, window_at(15))
    assert ids(source, window_at(50)) == ["e50"]
