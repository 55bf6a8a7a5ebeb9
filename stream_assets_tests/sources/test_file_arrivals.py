"""Which windows new and changed files name, and how little is read for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.errors import SourceError
from stream_assets.sources.files import FileEvents, arriving
from stream_assets.sources.protocol import Arrivals, FileFact, FileVersion, MemoryState

TEN = datetime(2026, 3, 1, 10, tzinfo=UTC)
NOW = TEN + timedelta(hours=5)
HOUR = TimeWindow(TEN, TEN + timedelta(hours=1))


def lines(minutes: Iterable[float], kind: str = "jsonl") -> str:
    times = [(f"e{minute:g}", (TEN + timedelta(minutes=minute)).isoformat()) for minute in minutes]
    if kind == "csv":
        return "".join(f"{name},{time}\n" for name, time in times)
    return "".join(f'{{"event_id": "{name}", "event_time": "{time}"}}\n' for name, time in times)


HEADER = {"jsonl": "", "csv": "event_id,event_time\n"}


def put(path: Path, minutes: Iterable[float], kind: str = "jsonl") -> Path:
    path.write_text(HEADER[kind] + lines(minutes, kind))
    return path


def append(path: Path, text: str) -> None:
    with path.open("a") as stream:
        stream.write(text)


def look(source: FileEvents, cursor: str | None, state: MemoryState) -> Arrivals:
    found = source.arrivals(cursor, now=NOW, state=state)
    assert found is not None
    return found


def named(arrivals: Arrivals) -> list[int]:
    """Return the named windows by the minute at which they begin."""
    windows = (window for span in arrivals.windows for window in span.windows())
    return [(window.start - TEN) // timedelta(minutes=1) for window in windows]


def count(source: FileEvents, window: TimeWindow, state: MemoryState | None) -> int:
    return sum(batch.num_rows for batch in source.read(window, now=NOW, state=state))


def test_without_a_state_a_folder_cannot_tell(tmp_path: Path) -> None:
    assert FileEvents(str(tmp_path)).arrivals(None, now=NOW) is None


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_windows_with_events_are_named_not_their_hull(tmp_path: Path, kind: str) -> None:
    put(tmp_path / f"1.{kind}", [1, 2, 33, 58], kind)
    source, state = FileEvents(str(tmp_path), kind), MemoryState()
    first = look(source, None, state)
    assert named(first) == [0, 30, 55]
    assert named(look(source, first.cursor, state)) == []


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_file_that_grew_names_the_windows_of_its_new_lines(tmp_path: Path, kind: str) -> None:
    path = put(tmp_path / f"1.{kind}", range(30), kind)
    source, state = FileEvents(str(tmp_path), kind), MemoryState()
    cursor = look(source, None, state).cursor
    for minutes, windows in (([30, 31], [30]), ([7], [5]), ([36, 2], [0, 35])):
        append(path, lines(minutes, kind))
        grown = look(source, cursor, state)
        assert named(grown) == windows
        cursor = grown.cursor
    fact = state.fact(path.name)
    assert fact is not None
    assert fact.rows == 35
    assert count(source, HOUR, state) == 35
    assert count(source, TimeWindow(TEN + timedelta(minutes=35), TEN + timedelta(minutes=40)), state) == 1


def test_a_line_still_being_written_is_named_when_it_is_whole(tmp_path: Path) -> None:
    path = put(tmp_path / "1.jsonl", [1])
    source, state = FileEvents(str(tmp_path)), MemoryState()
    text = lines([22])
    append(path, lines([8]) + text[:20])
    first = look(source, None, state)
    assert named(first) == [0, 5]
    assert named(look(source, first.cursor, state)) == []
    append(path, text[20:])
    assert named(look(source, first.cursor, state)) == [20]


def test_a_file_that_is_replaced_names_what_it_has_and_had(tmp_path: Path) -> None:
    path = put(tmp_path / "1.jsonl", [1, 12])
    source, state = FileEvents(str(tmp_path)), MemoryState()
    cursor = look(source, None, state).cursor
    put(path, [12, 33, 34, 35])
    assert named(look(source, cursor, state)) == [0, 10, 30, 35]


def test_a_file_that_was_moved_in_with_an_old_time_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "landing"
    folder.mkdir()
    put(folder / "2.jsonl", [1])
    source, state = FileEvents(str(folder)), MemoryState()
    cursor = look(source, None, state).cursor
    old = put(tmp_path / "1.jsonl", [44])
    os.utime(old, (1000, 1000))
    shutil.move(old, folder / "1.jsonl")
    assert named(look(source, cursor, state)) == [40]


def test_nothing_is_forgotten_when_the_caller_dies_before_it_keeps_the_cursor(tmp_path: Path) -> None:
    path = put(tmp_path / "1.jsonl", [1])
    source, state = FileEvents(str(tmp_path)), MemoryState()
    cursor = look(source, None, state).cursor
    for minute in (12, 23, 34):
        append(path, lines([minute]))
        look(source, cursor, state)
    assert named(look(source, cursor, state)) == [10, 20, 30]
    kept = look(source, cursor, state).cursor
    append(path, lines([45]))
    assert named(look(source, kept, state)) == [45]


def test_what_a_read_learns_first_is_named_all_the_same(tmp_path: Path) -> None:
    source, state = FileEvents(str(tmp_path)), MemoryState()
    cursor = look(source, None, state).cursor
    path = put(tmp_path / "1.jsonl", [1])
    assert count(source, HOUR, state) == 1
    append(path, lines([12]))
    assert count(source, HOUR, state) == 2
    assert named(look(source, cursor, state)) == [0, 10]


def test_two_that_look_at_once_forget_nothing(tmp_path: Path) -> None:
    """One reads the facts, another looks and hands its cursor over, and only then the first one remembers."""
    path = put(tmp_path / "1.jsonl", [1])
    source, state = FileEvents(str(tmp_path)), MemoryState()
    cursor = look(source, None, state).cursor

    class Slow(MemoryState):
        def versions(self, *, without: TimeWindow | None = None) -> dict[str, FileVersion]:
            return {} if old is None else {path.name: old.version}

        def fact(self, path: str) -> FileFact | None:
            return old

        def facts_since(self, seen: int) -> Iterable[FileFact]:
            return state.facts_since(seen)

        def remember(self, facts: Iterable[FileFact]) -> None:
            state.remember(facts)

    append(path, lines([12]))
    old = state.fact(path.name)
    fast = look(source, cursor, state)
    append(path, lines([23]))
    slow = source.arrivals(cursor, now=NOW, state=Slow())
    assert slow is not None
    assert set(named(fast)) | set(named(look(source, fast.cursor, state))) >= {10, 20}
    assert set(named(slow)) >= {10, 20}


def test_a_known_file_without_the_window_is_not_opened(tmp_path: Path) -> None:
    path = put(tmp_path / "1.jsonl", [1])
    put(tmp_path / "2.jsonl", [31])
    source, state = FileEvents(str(tmp_path)), MemoryState()
    look(source, None, state)
    before = path.stat()
    path.write_bytes(b"\xff" * (before.st_size - 1) + b"\n")
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert count(source, TimeWindow(TEN + timedelta(minutes=30), TEN + timedelta(minutes=35)), state) == 1
    with pytest.raises(SourceError):
        count(source, TimeWindow(TEN, TEN + GRID), state)


def test_a_broken_file_stops_no_look_and_is_told_when_it_is_mended(tmp_path: Path) -> None:
    put(tmp_path / "1.jsonl", [1])
    path = put(tmp_path / "2.jsonl", [12, 13])
    append(path, "nonsense\n" + lines([14, 28]))
    source, state = FileEvents(str(tmp_path)), MemoryState()
    first = look(source, None, state)
    assert named(first) == [0, 10, 25]
    fact = state.fact("2.jsonl")
    assert fact is not None
    assert fact.error is not None
    assert "line 3" in fact.error
    assert [str(span) for span in fact.broken] == ["[2026-03-01T10:10Z, 2026-03-01T10:15Z)"]
    put(path, [12, 13, 41, 14, 28])
    mended = look(source, first.cursor, state)
    assert named(mended) == [10, 25, 40]
    assert mended.mended == fact.broken.spans


def test_the_count_of_looks_survives_the_file_that_was_seen_last(tmp_path: Path) -> None:
    """A state may count from what it knows, and must not give a number twice, or new files would go unnamed."""

    class Counting(MemoryState):
        def remember(self, facts: Iterable[FileFact]) -> None:
            self._seen = max((version.seen for version in self.versions().values()), default=0)
            super().remember(facts)

    put(tmp_path / "1.jsonl", [1])
    source, state = FileEvents(str(tmp_path)), Counting()
    look(source, None, state)
    path = put(tmp_path / "2.jsonl", [12])
    cursor = look(source, None, state).cursor
    path.unlink()
    cursor = look(source, cursor, state).cursor
    put(tmp_path / "3.jsonl", [23])
    assert named(look(source, cursor, state)) == [20]


def test_a_file_that_has_gone_is_forgotten_and_an_empty_folder_forgets_nothing(tmp_path: Path) -> None:
    paths = [put(tmp_path / f"{n}.jsonl", [n]) for n in range(3)]
    source, state = FileEvents(str(tmp_path)), MemoryState()
    cursor = look(source, None, state).cursor
    put(tmp_path / "3.jsonl", [3])
    cursor = look(source, cursor, state).cursor
    paths[0].unlink()
    gone = look(source, cursor, state)
    assert (named(gone), len(gone.mended)) == ([], 1)  # what failed there is worth another try
    put(tmp_path / "4.jsonl", [4])
    cursor = look(source, gone.cursor, state).cursor
    look(source, cursor, state)
    assert sorted(state.versions()) == ["1.jsonl", "2.jsonl", "3.jsonl", "4.jsonl"]
    for path in tmp_path.iterdir():
        path.unlink()
    look(source, cursor, state)
    assert sorted(state.versions()) == ["1.jsonl", "2.jsonl", "3.jsonl", "4.jsonl"]


def test_a_long_look_goes_on_in_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(6):
        put(tmp_path / f"{n}.jsonl", [n * 10])
    monkeypatch.setattr(arriving, "BYTES_A_LOOK", 100)
    source, state, cursor, seen, looks = FileEvents(str(tmp_path)), MemoryState(), None, [], 0
    while (found := look(source, cursor, state)).windows:
        cursor, looks = found.cursor, looks + 1
        seen += named(found)
    assert looks > 1
    assert seen == [0, 10, 20, 30, 40, 50]


def test_a_parquet_file_is_known_by_the_windows_it_has(tmp_path: Path) -> None:
    times = pa.array([TEN + timedelta(minutes=m) for m in (3, 44)], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"event_id": ["a", "b"], "event_time": times}), tmp_path / "1.parquet")
    source, state = FileEvents(str(tmp_path), "parquet"), MemoryState()
    assert named(look(source, None, state)) == [0, 40]


def test_a_cursor_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no cursor of a folder"):
        FileEvents(str(tmp_path)).arrivals("2026-03-01", now=NOW, state=MemoryState())


def test_a_fact_survives_json() -> None:
    spans = Intervals.of(TimeWindow(TEN, TEN + GRID), TimeWindow(TEN + 3 * GRID, TEN + 9 * GRID))
    fact = FileFact(
        "a/b.jsonl",
        10,
        123456789,
        5,
        TEN,
        TEN + timedelta(microseconds=7),
        "line 3",
        spans,
        spans,
        spans,
        spans,
        "ab",
        TEN,
    )
    assert FileFact.from_json(fact.to_json(), seen=4) == replace(fact, seen=4)
    empty = FileFact("a", 0, 0)
    assert FileFact.from_json(empty.to_json()) == empty
