"""Files that are not as they should be: each is named, stops the windows that it may matter to, and no others."""

from __future__ import annotations

import gzip
import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_assets.core.window import TimeWindow
from stream_assets.errors import SourceError, SourceIncomplete
from stream_assets.events.conform import conform
from stream_assets.sources.files import FileEvents, delimited, jsonl
from stream_assets.sources.protocol import MemoryState
from stream_assets_tests.sources.test_file_events import HOUR, NOW, TEN, event, ids, put, read, window_at

HEADER = "event_id,event_time,x"


def row(minute: float, x: str = "1") -> str:
    return f"e{minute:g},{(TEN + timedelta(minutes=minute)).isoformat()},{x}"


def changed(path: Path, minute: float) -> Path:
    """Let a file have changed last at that minute."""
    at = (TEN + timedelta(minutes=minute)).timestamp()
    os.utime(path, (at, at), follow_symlinks=False)
    return path


def refused(source: FileEvents, window: TimeWindow = HOUR) -> str:
    """Return what is said of a window, the same with and without what is remembered of files."""
    said: set[str] = set()
    for state in (None, MemoryState(), _looked(source)):
        with pytest.raises(SourceError) as caught:
            read(source, window, state)
        said.add(str(caught.value))
    (only,) = said
    return only


def _looked(source: FileEvents) -> MemoryState:
    state = MemoryState()
    source.arrivals(None, now=NOW, state=state)
    return state


# --- what is in the folder


def test_what_cannot_be_opened_stops_what_it_may_have_and_is_told_when_it_is_mended(tmp_path: Path) -> None:
    put(tmp_path, "good.jsonl", event(50))
    outside, gone = tmp_path.parent / "outside.jsonl", tmp_path / "gone.jsonl"
    outside.write_text("")
    source = FileEvents(str(tmp_path))
    for target, what in (
        (outside, "is a link out of the source's folder, to .*: copy or move the file there"),
        (gone, "is a link to .*gone.jsonl, which is not there: put it back, or remove the link"),
        (tmp_path / "bad.jsonl", "is a link to .*bad.jsonl, which is not there"),
    ):
        bad = tmp_path / "bad.jsonl"
        bad.symlink_to(target)
        changed(bad, 20)
        with pytest.raises(SourceError, match=f"bad.jsonl {what}"):
            read(source, window_at(15))
        assert ids(source, window_at(50)) == ["e50"]
        state = _looked(source)
        assert ids(source, window_at(50), state) == ["e50"]
        cursor = max(str(fact.seen) for fact in state.facts_since(0))
        bad.unlink()
        put(tmp_path, "bad.jsonl", event(16))
        mended = source.arrivals(cursor, now=NOW, state=state)
        assert mended is not None
        assert mended.mended[0].covers(window_at(15))
        assert ids(source, window_at(15), state) == ["e16"]
        bad.unlink()


def test_what_is_no_regular_file_is_named_and_a_folder_named_like_a_file_is_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "1.jsonl/part-0.jsonl", event(1))
    assert ids(FileEvents(str(tmp_path))) == ["e1"]
    os.mkfifo(tmp_path / "2.jsonl")
    assert "2.jsonl is no regular file: replace it by one, or remove it" in refused(FileEvents(str(tmp_path)))


def test_names_of_any_text_are_read_and_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    names = ["a b.jsonl", "u\u0308.jsonl", "new\nline.jsonl", "hash#q?.jsonl", "per%20cent.jsonl", "it's.jsonl"]
    for minute, name in enumerate(names):
        put(tmp_path, name, event(minute))
    source = FileEvents(str(tmp_path))
    assert len(ids(source, state=_looked(source))) == len(names)
    put(tmp_path, "new\nline.jsonl", "nonsense")
    assert "new\\nline.jsonl: line 1 is not JSON" in refused(source)
    (tmp_path / "new\nline.jsonl").unlink()
    (tmp_path / os.fsdecode(b"\xff.jsonl")).write_text("\n")
    assert "\\udcff.jsonl has a name that is not UTF-8: rename it" in refused(source)


def test_a_lake_in_the_folder_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "1.parquet", "")
    put(tmp_path, "lake/_lake.json", "{}")
    with pytest.raises(SourceError, match="lake is a lake, whose files are no new events"):
        read(FileEvents(str(tmp_path), "parquet"))


def test_a_file_that_may_not_be_read_stops_no_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "1.jsonl", event(1))
    locked = changed(put(tmp_path, "2.jsonl", event(2)), 20)
    really = os.open

    def refuse(path: Any, *args: Any, **named: Any) -> int:
        if path == locked:
            raise PermissionError(13, "Permission denied")
        return really(path, *args, **named)

    monkeypatch.setattr(os, "open", refuse)
    source = FileEvents(str(tmp_path))
    assert "2.jsonl may not be read by this user: give it the permission" in refused(source)
    known = _looked(source).fact("2.jsonl")
    assert known is not None
    assert known.error is not None
    assert ids(source, window_at(30), _looked(source)) == []


# --- JSON lines


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"event_id": "x", "event_id": "y"}', "line 17 is not JSON (the key 'event_id' is there twice)"),
        ('{"event_id": "x", "deep": ' + "[" * 400 + "]" * 400 + "}", "line 17 is nested more than 64 levels deep"),
        ('{"event_id": "x", "deep": ' + '{"a":' * 30_000 + "1" + "}" * 30_001, "line 17 is nested more than 64 levels"),
        ('{"event_id": ', "line 17 is not JSON (Expecting value at character 14)"),
        ("\0\0\0", "line 17 is not JSON (Expecting value at character 1)"),
        ("[]", "line 17 is JSON, but no object: mend or remove it (a file holds one object a line)"),
    ],
)
def test_a_line_that_is_no_object_stops_its_own_windows_alone(tmp_path: Path, line: str, what: str) -> None:
    lines: list[dict[str, Any] | str] = [event(minute) for minute in range(60)]
    lines[16] = line
    put(tmp_path, "1.jsonl", *lines)
    source = FileEvents(str(tmp_path))
    assert what in refused(source)
    assert ids(source, window_at(20)) == [f"e{n}" for n in range(20, 25)]


def test_a_file_that_is_one_array_says_so_also_without_a_newline_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text(json.dumps([event(1), event(2)]))
    assert "1.json: line 1 is JSON, but no object: mend or remove it (a file holds one object a line)" in refused(
        FileEvents(str(tmp_path))
    )


def test_a_line_longer_than_what_is_parsed_at_once_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 100)
    monkeypatch.setattr(jsonl, "_PARSED_AT_ONCE", 50)
    put(tmp_path, "1.jsonl", event(1), event(2, x="y" * 5000), event(3))
    assert ids(FileEvents(str(tmp_path))) == ["e1", "e2", "e3"]


def test_a_line_without_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 100)
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 1000)
    put(tmp_path, "1.jsonl", event(1, x="y" * 5000))
    with pytest.raises(SourceError, match="1.jsonl has a line of more than 0 MiB: write one object a line"):
        read(FileEvents(str(tmp_path)))


def test_times_that_are_numbers_among_text_are_rejected_and_the_others_read(tmp_path: Path) -> None:
    lines = [event(1), {"event_id": "n", "event_time": 1772359320}, {**event(3), "seen": 5}]
    put(tmp_path, "1.jsonl", *lines, {**event(4), "seen": (TEN + timedelta(minutes=5)).isoformat()})
    source = FileEvents(str(tmp_path), arrival="seen")
    done = [conform(batch, source.names, "", NOW) for batch in source.read(HOUR, now=NOW)]
    assert sorted(i for d in done for i in d.table["event_id"].to_pylist()) == ["e1", "e4"]
    rejected = [row for d in done for row in d.rejected.to_pylist()]
    assert sorted(row["reason"] for row in rejected) == [
        "event_time cannot be read as an instant",
        "seen cannot be read as an instant",
    ]
    assert {json.loads(row["raw"])["event_id"] for row in rejected} == {"n", "e3"}


# --- CSV


def test_blank_lines_before_the_header_and_line_ends_of_windows(tmp_path: Path) -> None:
    text = "\r\n\r\n" + "\r\n".join([HEADER, row(1), "", row(2)]) + "\r\n"
    (tmp_path / "1.csv").write_bytes(text.encode())
    assert ids(FileEvents(str(tmp_path), "csv")) == ["e1", "e2"]


def test_line_ends_of_old_macs_and_endless_headers_are_named(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes("\r".join([HEADER, row(1)]).encode())
    assert "1.csv ends its lines with CR alone: write LF" in refused(FileEvents(str(tmp_path), "csv"))
    (tmp_path / "1.csv").write_bytes(b"x" * 2_000_000)
    assert "1.csv has a header of more than 1 MiB: is it CSV" in refused(FileEvents(str(tmp_path), "csv"))


def test_names_and_cells_may_hold_newlines_commas_and_quotes(tmp_path: Path) -> None:
    put(tmp_path, "1.csv", 'event_id,event_time,"a ""b"",\nc"', f'"e,""1""\n",{TEN.isoformat()},"\n"')
    (only,) = read(FileEvents(str(tmp_path), "csv"))
    assert only == {"event_id": 'e,"1"\n', "event_time": TEN.isoformat(), 'a "b",\nc': "\n"}


@pytest.mark.parametrize("block", [100, 4 << 20])
@pytest.mark.parametrize("bad", [f'"e5,{TEN.isoformat()},1', row(5, '"oops')])
def test_a_quote_that_is_not_closed_swallows_no_row_unnoticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str, block: int
) -> None:
    monkeypatch.setattr(delimited, "BLOCK_BYTES", max(block, 2000))
    lines = [row(n) for n in range(40)]
    path = changed(put(tmp_path, "1.csv", HEADER, *lines[:5], bad, *lines[6:]), 45)
    put(tmp_path, "2.csv", HEADER, row(55))
    source, state = FileEvents(str(tmp_path), "csv"), MemoryState()
    for known in (None, state, _looked(source)):
        with pytest.raises(SourceIncomplete, match=r"1.csv: a quote in line 7 is not closed.*close it if nobody"):
            read(source, window_at(30), known)
        assert ids(source, window_at(55), known) == ["e55"]
    put(tmp_path, "1.csv", HEADER, *lines)
    assert ids(source, window_at(30), state) == [f"e{n}" for n in range(30, 35)]
    packed = changed(put(tmp_path, "1.csv.gz", HEADER, *lines[:5], bad, *lines[6:]), 45)
    path.unlink()
    with pytest.raises(SourceError, match=r"1.csv.gz: a quote in line 7 is not closed: close it, or rename"):
        read(source, window_at(30))
    packed.unlink()


def test_a_quoted_cell_that_is_still_being_written_is_no_row_yet(tmp_path: Path) -> None:
    path = put(tmp_path, "1.csv", HEADER, row(1, "7"))
    with path.open("a") as stream:
        stream.write(row(8, '"a'))
    source, state = FileEvents(str(tmp_path), "csv"), MemoryState()
    source.arrivals(None, now=NOW, state=state)
    assert ids(source, TimeWindow(TEN - timedelta(hours=1), TEN - timedelta(minutes=5)), state) == []
    with pytest.raises(SourceIncomplete, match="a quote in line 3 is not closed"):
        read(source, HOUR, state)
    with path.open("a") as stream:
        stream.write('\nb"\n')
    found = source.arrivals("1", now=NOW, state=state)
    assert found is not None
    assert window_at(5) in found.windows
    assert [r["x"] for r in read(source, HOUR, state)] == ["7", "a\nb"]


def test_a_quote_amid_a_cell_is_named_with_its_line(tmp_path: Path) -> None:
    put(tmp_path, "1.csv", HEADER, row(1), row(2, '"oops'), row(3), row(4, '"fine"'))
    assert "1.csv: line 5 has a quote amid a cell: close the one before it, or write two for one" in refused(
        FileEvents(str(tmp_path), "csv")
    )
    put(tmp_path, "1.csv", HEADER, row(1, '5" pipe'), row(2))
    assert [r["x"] for r in read(FileEvents(str(tmp_path), "csv"))] == ['5" pipe', "1"]


def test_a_row_that_is_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 1 << 20)
    put(tmp_path, "1.csv", HEADER, row(1), row(2, "y" * (3 << 20)))
    assert "1.csv: a row has more than 1 MiB; is a quote not closed?" in refused(FileEvents(str(tmp_path), "csv"))


def test_a_wrong_row_at_the_end_may_be_of_any_window_until_the_file_changed(tmp_path: Path) -> None:
    changed(put(tmp_path, "1.csv", HEADER, row(1), row(8), "e20,2026"), 20)
    source = FileEvents(str(tmp_path), "csv")
    assert "row 4 has 2 cells, the header 3" in refused(source, window_at(20))
    assert ids(source, window_at(0)) == ["e1"]
    assert ids(source, window_at(25)) == []


def test_a_column_of_a_declared_type_must_be_there(tmp_path: Path) -> None:
    put(tmp_path, "1.csv", HEADER, row(1))
    said = refused(FileEvents(str(tmp_path), "csv", types="zip:text"))
    assert (
        "has no column 'zip', of which types= says the type: mend either; there are 'event_id', 'event_time', 'x'"
        in said
    )


# --- a last line that nobody ends


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_last_line_that_nobody_ends_stops_no_window_after_its_last_change(tmp_path: Path, kind: str) -> None:
    lines = [event(1), event(30)] if kind == "jsonl" else [HEADER, row(1), row(30)]
    path = put(tmp_path, f"1.{kind}", *lines)
    with path.open("a") as stream:
        stream.write('{"event_' if kind == "jsonl" else "e31,2")
    changed(path, 33)
    put(tmp_path, f"2.{kind}", *([event(50)] if kind == "jsonl" else [HEADER, row(50)]))
    source = FileEvents(str(tmp_path), kind)
    for state in (None, MemoryState(), _looked(source)):
        assert ids(source, window_at(0), state) == ["e1"]
        for minute in (25, 30):
            with pytest.raises(SourceIncomplete, match="last line of .* is not whole"):
                read(source, window_at(minute), state)
        assert ids(source, window_at(50), state) == ["e50"]


def test_a_header_or_first_line_that_is_not_whole_stops_no_window_after_its_last_change(tmp_path: Path) -> None:
    for name, text in (("1.csv", "event_id,event_ti"), ("1.jsonl", '{"event_id": "e')):
        (tmp_path / name).write_text(text)
        changed(tmp_path / name, 33)
        source = FileEvents(str(tmp_path), name[2:])
        with pytest.raises(SourceIncomplete):
            read(source, window_at(0))
        assert ids(source, window_at(50)) == []


# --- Parquet, and files of any format


@pytest.mark.parametrize("micros", [2**62, -(2**62)], ids=["after 9999", "before 1"])
@pytest.mark.parametrize("statistics", [True, False])
def test_times_beyond_all_calendars_are_rejected_rows(tmp_path: Path, micros: int, statistics: bool) -> None:
    times = pa.array([micros, (TEN - datetime.fromtimestamp(0, TEN.tzinfo)) // timedelta(microseconds=1)], pa.int64())
    table = pa.table({"event_id": ["a", "b"], "event_time": times.cast(pa.timestamp("us", "UTC"))})
    pq.write_table(table, tmp_path / "1.parquet", write_statistics=statistics)
    source = FileEvents(str(tmp_path), "parquet")
    for state in (None, MemoryState(), _looked(source)):
        done = [conform(b, source.names, "", NOW) for b in source.read(window_at(0), now=NOW, state=state)]
        assert [i for d in done for i in d.table["event_id"].to_pylist()] == ["b"]
        assert sum(d.rejected.num_rows for d in done) == 1


def test_an_empty_file_has_no_events_but_in_parquet_where_it_is_cut_short(tmp_path: Path) -> None:
    for name in ("1.jsonl", "1.csv", "1.jsonl.gz", "1.csv.gz", "1.parquet"):
        (tmp_path / name).write_bytes(b"")
    assert ids(FileEvents(str(tmp_path), "jsonl")) == ids(FileEvents(str(tmp_path), "csv")) == []
    changed(tmp_path / "1.parquet", 20)
    source = FileEvents(str(tmp_path), "parquet")
    assert "1.parquet is no whole Parquet file" in refused(source)
    assert read(source, window_at(25)) == []


def test_what_is_named_like_gzip_and_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl.gz").write_text(json.dumps(event(1)) + "\n")
    assert "1.jsonl.gz is no whole gzip file (Not a gzipped file" in refused(FileEvents(str(tmp_path)))
    whole = gzip.compress((json.dumps(event(1)) + "\n").encode())
    for cut in (4, 12, len(whole) - 4):
        (tmp_path / "1.jsonl.gz").write_bytes(whole[:cut])
        assert "1.jsonl.gz is no whole gzip file" in refused(FileEvents(str(tmp_path)))
