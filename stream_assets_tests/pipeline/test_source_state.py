"""What a source may keep between calls, in memory and in the ledger alike, and how little of it a look reads."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.lake.store import Lake
from stream_assets.pipeline.project import Project, Stream
from stream_assets.pipeline.site import LedgerSourceState
from stream_assets.sources.files import FileEvents
from stream_assets.sources.protocol import FileFact, MemoryState, SourceState
from stream_assets.testing import SettableClock

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = START + timedelta(hours=30)
FILES = 24


def in_ledger(folder: Path) -> LedgerSourceState:
    return LedgerSourceState(Lake.open(folder / "lake", "UTC", NOW, start="2026-03-01").ledger.sources, "events")


@pytest.fixture(params=["memory", "ledger"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> SourceState:
    return MemoryState() if request.param == "memory" else in_ledger(tmp_path)


def span(first: int, last: int | None = None) -> Intervals:
    """Return the windows from number `first` to `last`, both included."""
    return Intervals.of(TimeWindow(START + first * GRID, START + ((first if last is None else last) + 1) * GRID))


def window(number: int) -> TimeWindow:
    return TimeWindow(START + number * GRID, START + (number + 1) * GRID)


# Both states.


def test_a_fact_is_given_back_as_it_was_under_a_number_of_its_look(state: SourceState) -> None:
    first = FileFact("a/1.jsonl", 10, 1_700_000_000_123_456_789, 3, START, START + GRID, "line 2", span(0, 1), span(1))
    other = FileFact("2.jsonl", 5, 7)
    state.remember([first, other])
    state.remember([replace(other, size=6)])
    assert state.fact("a/1.jsonl") == replace(first, seen=1)
    assert state.fact("2.jsonl") == replace(other, size=6, seen=2)
    assert state.fact("3.jsonl") is None
    assert {path: (v.size, v.mtime_ns, v.seen) for path, v in state.versions().items()} == {
        "a/1.jsonl": (10, 1_700_000_000_123_456_789, 1),
        "2.jsonl": (6, 7, 2),
    }


def test_facts_since_a_look_are_those_that_were_remembered_after_it(state: SourceState) -> None:
    for name in "abc":
        state.remember([FileFact(name, 1, 1)])
    state.remember([FileFact("a", 2, 1)])
    assert [sorted(fact.path for fact in state.facts_since(n)) for n in range(5)] == [
        ["a", "b", "c"], ["a", "b", "c"], ["a", "c"], ["a"], [],
    ]  # fmt: skip


def test_what_is_forgotten_is_unknown_and_gives_its_number_to_nobody(state: SourceState) -> None:
    state.remember([FileFact("a", 1, 1)])
    state.remember([FileFact("b", 1, 1)])
    state.forget(["a", "never"])
    state.remember([FileFact("c", 1, 1)])
    assert state.fact("a") is None
    assert {path: version.seen for path, version in state.versions().items()} == {"b": 2, "c": 3}


def test_files_that_have_or_may_have_something_there_are_not_among_those_without(state: SourceState) -> None:
    state.remember(
        [
            FileFact("before", 1, 1, windows=span(0, 3)),
            FileFact("touching", 1, 1, windows=span(3, 4)),
            FileFact("around", 1, 1, windows=span(0) | span(9)),
            FileFact("after", 1, 1, windows=span(5)),
            FileFact("broken there", 1, 1, error="line 3", windows=span(9), broken=span(4)),
            FileFact("broken elsewhere", 1, 1, error="line 3", broken=span(5, 9)),
            FileFact("empty", 1, 1),
        ]
    )
    assert set(state.versions(without=window(4))) == {"before", "after", "broken elsewhere", "empty"}
    inside = TimeWindow(START + 4 * GRID + timedelta(seconds=0.5), START + 4 * GRID + timedelta(seconds=1))
    assert set(state.versions(without=inside)) == {"before", "after", "broken elsewhere", "empty"}
    assert set(state.versions(without=TimeWindow(START, START + 12 * GRID))) == {"empty"}
    assert len(state.versions()) == 7


# What a look and a read cost in a folder of many files.


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """One file an hour, an event every five minutes."""
    folder = tmp_path / "landing"
    folder.mkdir()
    for number in range(FILES):
        put(folder, number, 12)
    return folder


def put(folder: Path, hour: int, events: int) -> None:
    times = [START + hour * timedelta(hours=1) + n * GRID for n in range(events)]
    rows = [{"event_id": f"{time:%d%H%M}", "event_time": time.isoformat()} for time in times]
    (folder / f"{hour:02}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of all facts that were read from the ledger."""
    paths: list[str] = []
    parse = FileFact.from_json

    def count(text: str | bytes, *, seen: int = 0) -> FileFact:
        fact = parse(text, seen=seen)
        paths.append(fact.path)
        return fact

    monkeypatch.setattr(FileFact, "from_json", staticmethod(count))
    return paths


def test_a_tick_reads_no_fact_where_nothing_changed_and_only_those_of_what_did(
    tmp_path: Path, landing: Path, parsed: list[str]
) -> None:
    project = Project((Stream("events", FileEvents(str(landing))),), lake=str(tmp_path / "lake"), start="2026-03-01")
    pipeline = project.open([], SettableClock(NOW))
    pipeline.observe()
    assert len(parsed) == FILES
    parsed.clear()
    for _ in range(3):
        pipeline.observe()
    assert parsed == []
    put(landing, 7, 9)
    put(landing, FILES, 1)
    pipeline.observe()
    assert sorted(set(parsed)) == ["07.jsonl", f"{FILES}.jsonl"]
    parsed.clear()
    pipeline.observe()
    assert parsed == []


def test_a_look_that_was_not_handed_over_reads_what_it_tells_again(
    tmp_path: Path, landing: Path, parsed: list[str]
) -> None:
    source, state = FileEvents(str(landing)), in_ledger(tmp_path)
    first = source.arrivals(None, now=NOW, state=state)
    parsed.clear()
    again = source.arrivals(None, now=NOW, state=state)
    assert first == again
    assert len(parsed) == FILES


def test_a_read_reads_the_facts_of_the_files_around_it(tmp_path: Path, landing: Path, parsed: list[str]) -> None:
    source, state = FileEvents(str(landing)), in_ledger(tmp_path)
    source.arrivals(None, now=NOW, state=state)
    parsed.clear()
    assert count(source, TimeWindow(START + 5.5 * timedelta(hours=1), START + 6.5 * timedelta(hours=1)), state) == 12
    assert sorted(parsed) == ["05.jsonl", "06.jsonl"]
    parsed.clear()
    put(landing, 20, 11)
    assert count(source, window(0), state) == 1
    # A file that changed is read again, whatever was known of it.
    assert sorted(parsed) == ["00.jsonl", "20.jsonl"]


def count(source: FileEvents, asked: TimeWindow, state: Any) -> int:
    return sum(batch.num_rows for batch in source.read(asked, now=NOW, state=state))
