"""What files hold is data: nothing in them is run, and what is opened is what was listed."""

from __future__ import annotations

import os
import pickle
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_assets.errors import SourceError
from stream_assets.sources.files import FileEvents, listing
from stream_assets.sources.protocol import MemoryState
from stream_assets_tests.sources.test_file_events import TEN, event, ids, put, window_at

OWNED = "owned-by-a-file"


class Run:
    """Makes a folder where it is unpickled."""

    def __reduce__(self) -> object:
        return os.mkdir, (OWNED,)


@pytest.mark.parametrize(
    "name", ["arrow.py_extension_type", "arrow.fixed_shape_tensor", "pandas.period", "pandas.interval", "arrow.opaque"]
)
@pytest.mark.parametrize("about", [pickle.dumps(Run()), b"{}", b"\xff", b"[" * 100])
def test_types_that_a_file_names_and_what_it_says_of_them_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, about: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    import pandas as pd

    pd.period_range("2026", periods=1, freq="D")  # registers types of its own with Arrow
    said = {b"ARROW:extension:name": name.encode(), b"ARROW:extension:metadata": about}
    schema = pa.schema(
        [pa.field("event_id", pa.string()), pa.field("event_time", pa.timestamp("us", "UTC")), pa.field("x", pa.int64(), metadata=said)],
        metadata={b"pandas": about, b"PANDAS_ATTRS": about},
    )  # fmt: skip
    table = pa.Table.from_arrays([pa.array(["e1"]), pa.array([TEN], schema.types[1]), pa.array([1])], schema=schema)
    pq.write_table(table, tmp_path / "1.parquet")
    source = FileEvents(str(tmp_path), "parquet")
    with suppress(SourceError):  # of what is said of a type and is none, by pyarrow's own rules
        batches = list(source.read(window_at(0), now=TEN))
        assert [batch.num_rows for batch in batches] == [1]
        assert pa.Table.from_batches(batches).to_pandas()["event_id"].tolist() == ["e1"]
    assert not (tmp_path / OWNED).exists()


def test_objects_that_were_pickled_stay_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    times = pa.array([TEN], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"event_id": ["e1"], "event_time": times, "x": [pickle.dumps(Run())]}), "1.parquet")
    (batch,) = FileEvents(str(tmp_path), "parquet").read(window_at(0), now=TEN)
    assert batch.to_pandas()["x"].tolist() == [pickle.dumps(Run())]
    assert not (tmp_path / OWNED).exists()


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
@pytest.mark.parametrize("kind", ["link", "parent", "pipe"])
def test_a_file_that_becomes_something_else_after_it_was_listed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, kind: str
) -> None:
    folder, outside = tmp_path / "in", tmp_path / "out"
    for where in (folder / "sub", outside):
        where.mkdir(parents=True)
        if format == "jsonl":
            put(where, "1.jsonl", event(1))
        else:
            times = pa.array([TEN], pa.timestamp("us", "UTC"))
            pq.write_table(pa.table({"event_id": ["e1"], "event_time": times}), where / "1.parquet")
    source = FileEvents(str(folder), format)
    file = folder / "sub" / f"1.{format}"
    listed = listing.list_files(source, None)

    def raced(*_: object) -> list[listing.Found]:
        return listed

    monkeypatch.setattr("stream_assets.sources.files.reading.list_files", raced)
    assert ids(source, window_at(0)) == ["e1"]
    file.unlink()
    if kind == "link":
        file.symlink_to(outside / file.name)
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        (folder / "sub").rmdir()
        (folder / "sub").symlink_to(outside)
    said = "is no regular file" if kind == "pipe" else "is a link out of the source's folder, to "
    for state in (None, MemoryState()):
        with pytest.raises(SourceError, match=said):
            ids(source, window_at(0), state)


def test_a_link_to_a_folder_outside_is_refused_and_stops_what_it_may_have(tmp_path: Path) -> None:
    folder, outside = tmp_path / "in", tmp_path / "out"
    put(folder, "good.jsonl", event(1))
    put(outside, "secret.jsonl", event(1, event_id="secret"))
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to("../../out")
    with pytest.raises(SourceError, match="sub/up is a link out of the source's folder, to "):
        ids(FileEvents(str(folder)), window_at(0))
