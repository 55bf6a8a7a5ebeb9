"""Rows that cannot become events: each is counted and kept in one window, however many there are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_assets.core.window import GRID, TimeWindow
from stream_assets.events.schema import AROUND, INSTANT
from stream_assets.pipeline import reading
from stream_assets.pipeline.project import Project, Stream
from stream_assets.pipeline.reading import Read
from stream_assets.sources.files import FileEvents
from stream_assets.sources.protocol import SourceState
from stream_assets.testing import SettableClock
from stream_assets_tests.scenarios.shop import COLUMNS, Shop

START = datetime(2026, 3, 9, tzinfo=UTC)
SPAN = TimeWindow(START, START + 6 * GRID)
NOW = START + timedelta(hours=2)
MINUTE = timedelta(minutes=1)


class Answer(Shop):
    """A shop that answers with what the test says."""

    batches: Callable[[], Iterable[pa.RecordBatch]]

    def read(self, window: TimeWindow, *, now: datetime, state: SourceState | None = None) -> Iterator[pa.RecordBatch]:
        yield from self.batches()


def batch(times: list[datetime | None], *, around: list[datetime | None] | None = None, id: Any = None) -> Any:
    """Return rows with these times and one id."""
    rows = pa.table(
        {"event_id": pa.array([id] * len(times), pa.string()), "event_time": pa.array(times, INSTANT)}
    ).to_batches()[0]
    return rows if around is None else rows.append_column(AROUND, pa.array(around, INSTANT))


def opened(folder: Path, source: Any, span: TimeWindow = SPAN) -> Read:
    project = Project((Stream("events", source),), lake=str(folder / "lake"), start="2026-03-09")
    site = project.open([], SettableClock(NOW)).site
    return Read(site, site.declarations.stream("events"), span)


def answered(folder: Path, *batches: pa.RecordBatch) -> Read:
    source = Answer()
    source.batches = lambda: batches
    return opened(folder, source)


def rejected(read: Read) -> list[int]:
    """Return how many rows are counted as rejected in each window."""
    with read:
        return [content.rejected for content in read.windows()]


def kept(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "lake" / "_rejected").rglob("*.parquet"))
    return [row for path in files for row in pq.ParquetFile(path).read().to_pylist()]


def test_a_row_is_counted_at_its_own_time_else_with_the_rows_around_it_else_in_the_first_window(tmp_path: Path) -> None:
    elsewhere = START - timedelta(days=1)
    own = batch([START + 7 * MINUTE, START + 29 * MINUTE], around=[START, None])
    lost = batch([None, elsewhere, None], around=[START + 14 * MINUTE, START + 20 * MINUTE, None])
    assert rejected(answered(tmp_path, own, lost, batch([None, elsewhere]))) == [3, 1, 1, 0, 1, 1]


def test_a_row_that_the_source_counts_outside_of_the_range_is_not_counted_in_it(tmp_path: Path) -> None:
    assert sum(rejected(answered(tmp_path, batch([None], around=[SPAN.end])))) == 0


def test_every_row_of_a_file_is_an_event_a_copy_or_rejected_in_one_window(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    times = [(START + n * MINUTE / 4).isoformat() for n in range(120)]
    bad = ["soon", None, "2026-03-09T00:17:00", "1950-01-01T00:00:00Z"]
    rows = [{"event_id": f"e{n}", "event_time": bad[n % 4] if n % 3 == 1 else time} for n, time in enumerate(times)]
    rows += [{"event_id": None, "event_time": times[33]}, {"event_id": "e33", "event_time": times[33]}]
    (landing / "1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with opened(tmp_path, FileEvents(str(landing))) as read:
        contents = list(read.windows())
    assert all(c.rows_read == c.table.num_rows + c.duplicates + c.rejected for c in contents)
    assert sum(c.rows_read for c in contents) == len(rows)
    said = kept(tmp_path)
    assert len(said) == sum(c.rejected for c in contents) == 41
    assert {row["reason"] for row in said} == {
        "event_id is null", "event_time is null", "event_time is before 1970", "event_time has no time zone",
        "event_time cannot be read as an instant",
    }  # fmt: skip
    ids = [json.loads(row["raw"])["event_id"] for row in said]
    assert sorted(filter(None, ids)) == sorted(f"e{n}" for n in range(120) if n % 3 == 1)


@pytest.mark.parametrize("budget", [1, reading.REJECTED_BYTES])
def test_what_does_not_fit_in_memory_is_kept_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    monkeypatch.setattr(reading, "REJECTED_BYTES", budget)
    times: list[datetime | None] = [START + n * MINUTE for n in range(30)]
    staging = tmp_path / "lake" / "_staging"
    with answered(tmp_path, *(batch(times, around=times) for _ in range(4))) as read:
        assert bool(list(staging.rglob("*.arrow"))) == (budget == 1)
        assert [content.rejected for content in read.windows()] == [20] * 6
    assert list(staging.iterdir()) == []
    assert [row["event_time"] for row in kept(tmp_path)] == [t for n in range(0, 30, 5) for t in times[n : n + 5] * 4]


def test_memory_is_bounded_however_many_rows_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = 1 << 20
    monkeypatch.setattr(reading, "REJECTED_BYTES", budget)
    times: list[datetime | None] = [START + n * MINUTE for n in range(30)] * 100
    rows = batch(times)
    held: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        before = pa.total_allocated_bytes()
        for _ in range(40):
            yield rows
            held.append(pa.total_allocated_bytes() - before)

    source = Answer()
    source.batches = batches
    assert rejected(opened(tmp_path, source)) == [20_000] * 6
    assert max(held) < budget + (1 << 20)
    assert len(kept(tmp_path)) == 120_000


def test_without_a_rejected_row_nothing_is_kept(tmp_path: Path) -> None:
    source = Answer()
    source.batches = lambda: [pa.RecordBatch.from_pylist([], schema=COLUMNS)]
    assert rejected(opened(tmp_path, source)) == [0] * 6
    assert kept(tmp_path) == []
