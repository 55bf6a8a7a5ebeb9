"""What a folder of files gives, and what it says of files that cannot be read."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_assets.core.window import GRID, TimeWindow
from stream_assets.errors import DeclarationError, SourceError, SourceUnavailable
from stream_assets.events.columns import Columns
from stream_assets.events.conform import conform
from stream_assets.sources.files import FileEvents, opening
from stream_assets.sources.protocol import MemoryState

TEN = datetime(2026, 3, 1, 10, tzinfo=UTC)
NOW = TEN + timedelta(hours=5)
HOUR = TimeWindow(TEN, TEN + timedelta(hours=1))


def event(minute: float, name: str = "", **more: Any) -> dict[str, Any]:
    time = TEN + timedelta(minutes=minute)
    return {"event_id": name or f"e{minute:g}", "event_time": time.isoformat(), **more}


def put(folder: Path, name: str, *lines: dict[str, Any] | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def read(source: FileEvents, window: TimeWindow = HOUR, state: MemoryState | None = None) -> list[dict[str, Any]]:
    rows = [row for batch in source.read(window, now=NOW, state=state) for row in batch.to_pylist()]
    return sorted(rows, key=lambda row: (row["event_time"] or "", row["event_id"] or ""))


def ids(source: FileEvents, window: TimeWindow = HOUR, state: MemoryState | None = None) -> list[str]:
    return [row["event_id"] for row in read(source, window, state)]


def columns_of(source: FileEvents) -> Columns:
    """The columns of all that is read, as a stream gets to know them."""
    batches = source.read(HOUR, now=NOW)
    known = (Columns.of(conform(batch, source.names, HOUR, NOW).table) for batch in batches)
    return reduce(Columns.plus, known, Columns())


def window_at(minute: float) -> TimeWindow:
    return TimeWindow(TEN + timedelta(minutes=minute), TEN + timedelta(minutes=minute) + GRID)


# --- which files


def test_nested_folders_are_read_and_temporary_and_hidden_files_are_not(tmp_path: Path) -> None:
    put(tmp_path, "a/b/1.jsonl", event(1))
    put(tmp_path, "2.ndjson.gz", event(2))
    for name in (
        ".hidden.jsonl",
        "_bad.jsonl",
        "3.jsonl.tmp",
        "_staging/4.jsonl",
        ".git/5.jsonl",
        "README.txt",
    ):
        put(tmp_path, name, event(3))
    assert ids(FileEvents(str(tmp_path))) == ["e1", "e2"]


def test_a_missing_folder_says_what_to_do_and_is_an_outage_where_it_was_there(tmp_path: Path) -> None:
    source, state = FileEvents(str(tmp_path / "landing")), MemoryState()
    with pytest.raises(SourceError, match=r"no folder .*landing: create it"):
        read(source)
    path = put(tmp_path / "landing", "1.jsonl", event(1))
    read(source, state=state)
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(SourceUnavailable, match="was there before"):
        read(source, state=state)


def test_an_empty_folder_has_no_events_yet(tmp_path: Path) -> None:
    source = FileEvents(str(tmp_path))
    assert read(source) == []
    assert source.schema(now=NOW) is None


def test_a_folder_of_other_files_alone_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "1.csv", "event_id,event_time")
    with pytest.raises(SourceError, match=r"none of which ends in .jsonl"):
        read(FileEvents(str(tmp_path)))


def test_links_out_of_the_folder_are_refused_and_links_inside_read_once(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    put(folder, "data/1.jsonl", event(1))
    (folder / "again.jsonl").symlink_to(folder / "data/1.jsonl")
    (folder / "loop").symlink_to(folder)
    assert ids(FileEvents(str(folder))) == ["e1"]
    (folder / "out.jsonl").symlink_to(put(tmp_path, "secret.jsonl", event(2)))
    with pytest.raises(SourceError, match=r"out.jsonl is a link out of the source's folder"):
        read(FileEvents(str(folder)))


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    put(tmp_path / "real", "1.jsonl", event(1))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert ids(FileEvents(str(tmp_path / "link"))) == ["e1"]


# --- times that cannot be used


def test_a_row_without_a_usable_time_is_given_in_one_window_that_of_its_neighbours(tmp_path: Path) -> None:
    bad = ["soon", None, "0001-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "1969-12-31T23:59:59Z"]
    lines = [{"event_id": "head", "event_time": "never"}, event(1), event(12)]
    lines += [{"event_id": f"bad{n}", "event_time": time} for n, time in enumerate(bad)]
    put(tmp_path, "1.jsonl", *lines, event(31), {"event_id": "naive", "event_time": "2026-03-01T10:43:00"})
    source, state = FileEvents(str(tmp_path)), MemoryState()
    for _ in range(2):
        found: dict[str, list[str]] = {}
        for window in HOUR.windows():
            for batch in source.read(window, now=NOW, state=state):
                done = conform(batch, source.names, window, NOW)
                assert not done.rejected.num_rows or not done.table.num_rows
                raws: list[Any] = done.rejected.column("raw").to_pylist()
                for raw in raws:
                    found.setdefault(f"{window.start:%H:%M}", []).append(json.loads(raw)["event_id"])
                assert all(around in window for around in done.around.to_pylist())
        assert found == {"10:00": ["head"], "10:10": [f"bad{n}" for n in range(5)], "10:40": ["naive"]}
    assert len(read(source)) == 10


def test_a_file_without_any_usable_time_is_counted_where_it_changed(tmp_path: Path) -> None:
    path = put(tmp_path, "1.jsonl", {"event_id": "a", "event_time": None}, {"event_id": "b", "event_time": "x"})
    os.utime(path, (TEN.timestamp() + 600, TEN.timestamp() + 600))
    assert len(read(FileEvents(str(tmp_path)), window_at(10))) == 2
    assert read(FileEvents(str(tmp_path)), window_at(5)) == []


# --- files that cannot be read


def test_a_line_that_is_not_json_is_named_and_stops_its_own_windows_alone(tmp_path: Path) -> None:
    lines: list[dict[str, Any] | str] = [event(n) for n in range(60)]
    lines[16] = '{"event_id": "e16", "event_time":'
    put(tmp_path, "1.jsonl", *lines)
    for state in (None, MemoryState()):
        source = FileEvents(str(tmp_path))
        for _ in range(2):
            with pytest.raises(SourceError, match=r"1.jsonl: line 17 is not JSON"):
                read(source, window_at(15), state)
            assert ids(source, window_at(20), state) == ["e20", "e21", "e22", "e23", "e24"]
            with pytest.raises(SourceError, match="line 17"):
                read(source, HOUR, state)


@pytest.mark.parametrize(("line", "what"), [("[1]", "no object"), ("{}x", "not JSON"), ('{"a": 1}}', "not JSON")])
def test_lines_of_another_shape_are_named(tmp_path: Path, line: str, what: str) -> None:
    put(tmp_path, "1.jsonl", event(1), event(2), line, event(3))
    with pytest.raises(SourceError, match=rf"1.jsonl: line 3 is .*{what}"):
        read(FileEvents(str(tmp_path)))


def test_rows_of_other_types_are_given_apart_so_that_they_stop_no_others(tmp_path: Path) -> None:
    put(tmp_path, "1.jsonl", event(1, x=1), event(2, x="1"), event(3, x="2"))
    assert [row["x"] for row in read(FileEvents(str(tmp_path)))] == [1, "1", "2"]


def test_a_column_that_changes_its_type_again_and_again_is_named(tmp_path: Path) -> None:
    put(tmp_path, "1.jsonl", *(event(n % 50, x=1 if n % 2 else "1") for n in range(200)))
    with pytest.raises(SourceError, match=r"1.jsonl: in lines 1 to 200 column 'x' changes from"):
        read(FileEvents(str(tmp_path)))


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_text_that_is_not_utf8_is_named_by_line(tmp_path: Path, kind: str) -> None:
    lines = {
        "jsonl": [json.dumps(event(1)), '{"event_id": "\xe4"}'],
        "csv": ["event_id,event_time", "\xe4,2026-03-01T10:00:00Z"],
    }[kind]
    (tmp_path / f"1.{kind}").write_bytes("".join(f"{line}\n" for line in lines).encode("latin-1"))
    with pytest.raises(SourceError, match=rf"1.{kind}: line 2 is not UTF-8"):
        read(FileEvents(str(tmp_path), kind))


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    for name, text in (
        ("1.jsonl", json.dumps(event(1))),
        ("1.csv", "event_id,event_time\ne1,2026-03-01T10:01:00Z"),
    ):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\n")
    assert ids(FileEvents(str(tmp_path))) == ids(FileEvents(str(tmp_path), "csv")) == ["e1"]


def test_a_csv_row_with_cells_missing_is_named_and_stops_its_own_windows_alone(tmp_path: Path) -> None:
    lines = [f"e{n},{(TEN + timedelta(minutes=n)).isoformat()},1" for n in range(60)]
    lines[20] = "e20,2026-03-01T10:20:00Z"
    put(tmp_path, "1.csv", "event_id,event_time,x", *lines)
    source = FileEvents(str(tmp_path), "csv")
    with pytest.raises(SourceError, match=r"1.csv: row 22 has 2 cells, the header 3"):
        read(source)
    assert ids(source, window_at(30)) == [f"e{n}" for n in range(30, 35)]


def test_a_truncated_gzip_stops_what_its_rest_may_hold_and_no_later_window(tmp_path: Path) -> None:
    path = put(tmp_path, "1.jsonl.gz", *(event(n % 60, f"{n * n * n}") for n in range(5000)))
    path.write_bytes(path.read_bytes()[:-100])
    changed = TEN + timedelta(minutes=72)
    os.utime(path, (changed.timestamp(), changed.timestamp()))
    put(tmp_path, "2.jsonl", event(80))
    source = FileEvents(str(tmp_path))
    for state in (None, MemoryState()):
        with pytest.raises(SourceError, match=r"1.jsonl.gz is no whole gzip file"):
            read(source, HOUR, state)
        assert ids(source, window_at(80), state) == ["e80"]


def test_a_truncated_parquet_file_is_named(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"event_id": [1], "event_time": pa.array([TEN], pa.timestamp("us", "UTC"))}),
        tmp_path / "1.parquet",
    )
    whole = (tmp_path / "1.parquet").read_bytes()
    for broken in (whole[:-30], whole[:3], b"", b"PAR1" + b"\0" * 300 + b"PAR1"):
        (tmp_path / "1.parquet").write_bytes(broken)
        for state in (None, MemoryState()):
            with pytest.raises(SourceError, match=r"1.parquet is no whole Parquet file"):
                read(FileEvents(str(tmp_path), "parquet"), HOUR, state)


def test_damaged_parquet_pages_are_a_terminal_error(tmp_path: Path) -> None:
    path = tmp_path / "1.parquet"
    times = pa.array([TEN + timedelta(seconds=n) for n in range(3000)], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"event_id": list(range(3000)), "event_time": times}), path, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[200:2000] = b"\x55" * 1800
    path.write_bytes(bytes(data))
    with pytest.raises(SourceError, match=r"1.parquet"):
        read(FileEvents(str(tmp_path), "parquet"))


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_last_line_that_is_not_whole_is_transient_where_it_may_matter(tmp_path: Path, kind: str) -> None:
    source = FileEvents(str(tmp_path), kind)
    if kind == "jsonl":
        path = put(tmp_path, "1.jsonl", event(1), event(8))
        rest = '{"event_id": "e9", "event_ti', f'me": "{(TEN + timedelta(minutes=9)).isoformat()}"}}\n'
    else:
        path = put(
            tmp_path,
            "1.csv",
            "event_id,event_time,x",
            "e1,2026-03-01T10:01:00Z,1",
            "e8,2026-03-01T10:08:00Z,1",
        )
        rest = "e9,2026-03-01T10", ":09:00Z,1\n"
    with path.open("a") as stream:
        stream.write(rest[0])
    with pytest.raises(SourceUnavailable, match=r"last line of .*1.* is not whole"):
        read(source)
    # 2 minutes of lateness before the last whole line, nothing can come any more, or it is a late event.
    assert ids(source, window_at(0)) == ["e1"]
    with path.open("a") as stream:
        stream.write(rest[1])
    assert ids(source) == ["e1", "e8", "e9"]


def test_a_whole_last_line_needs_no_newline(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_text(json.dumps(event(1)) + "\n" + json.dumps(event(2)))
    (tmp_path / "1.csv").write_text("event_id,event_time\ne1,2026-03-01T10:01:00Z")
    assert ids(FileEvents(str(tmp_path))) == ["e1", "e2"]
    assert ids(FileEvents(str(tmp_path), "csv")) == ["e1"]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_missing_columns_are_named_with_the_file(tmp_path: Path, kind: str) -> None:
    if kind == "parquet":
        pq.write_table(pa.table({"event_id": [1], "at": [2]}), tmp_path / "1.parquet")
    elif kind == "csv":
        put(tmp_path, "1.csv", "event_id,at", "1,2")
    else:
        put(tmp_path, "1.jsonl", {"event_id": "1", "at": "2"})
    for state in (None, MemoryState()):
        with pytest.raises(SourceError, match=rf"1.{kind} has no column 'event_time': .*time=.*'event_id', 'at'"):
            read(FileEvents(str(tmp_path), kind), HOUR, state)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "1.jsonl", event(1))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(opening, "inside", refuse)
    with pytest.raises(SourceError, match=r"1.jsonl may not be read by this user"):
        read(FileEvents(str(tmp_path)))


def test_an_empty_answer_takes_its_columns_from_a_file_that_can_be_read(tmp_path: Path) -> None:
    source = FileEvents(str(tmp_path / "in"), "csv")
    assert source.schema(now=NOW) is None
    put(tmp_path / "in", "1.csv", "event_id,event_time,x", "e1,2026-03-01T10:01:00Z,1")
    (tmp_path / "in" / "2.csv").write_bytes(b"\xff\xfe\n")
    schema = source.schema(now=NOW)
    assert schema is not None
    assert {name: str(kind) for name, kind in zip(schema.names, schema.types, strict=True)} == {
        "event_id": "string",
        "event_time": "string",
        "x": "int64",
    }


# --- declarations


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"path": ""}, "path is empty"),
        ({"path": "x", "format": "xml"}, "format 'xml' is not known: write jsonl, csv or parquet"),
        ({"path": "x", "lateness": timedelta(seconds=-1)}, "lateness must not be negative"),
        ({"path": "x", "id": "a", "time": "a"}, "different columns"),
        ({"path": "x", "types": "a:int"}, "types are for csv alone"),
        ({"path": "x", "format": "csv", "types": "a:number"}, r"types 'a:number' is not understood"),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(fields: dict[str, Any], what: str) -> None:
    with pytest.raises(DeclarationError, match=what):
        FileEvents(**fields)
