"""L7: no partition is replaced by one that lacks events it had, unless somebody says so."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stream_assets.core.window import GRID, TimeWindow
from stream_assets.pipeline import moves
from stream_assets.pipeline.project import Project, Stream
from stream_assets.sources.files import FileEvents
from stream_assets.testing import SettableClock

if TYPE_CHECKING:
    from stream_assets.pipeline import Pipeline
    from stream_assets.pipeline.outcome import Report

DAY = datetime(2026, 3, 9, tzinfo=UTC)
TODAY = DAY + timedelta(days=1)
NOW = TODAY + timedelta(minutes=47)
OPEN = TimeWindow(TODAY, TODAY + 2 * GRID)


def write(folder: Path, name: str, start: datetime, count: int, prefix: str = "") -> None:
    """An event a minute."""
    folder.mkdir(exist_ok=True)
    times = (start + timedelta(minutes=n) for n in range(count))
    text = (json.dumps({"event_id": f"{prefix}{t:%dT%H%M}", "event_time": t.isoformat()}) + "\n" for t in times)
    (folder / name).write_text("".join(text))


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    write(tmp_path / "landing", "a.jsonl", DAY, 720)
    write(tmp_path / "landing", "b.jsonl", DAY + timedelta(hours=12), 720)
    write(tmp_path / "landing", "today.jsonl", TODAY, 10)
    return tmp_path / "landing"


def opened(tmp_path: Path, folder: Path) -> Pipeline:
    project = Project(
        (Stream("events", FileEvents(str(folder), arrival=None)),), lake=str(tmp_path / "lake"), start="2026-03-09"
    )
    return project.open([], SettableClock(NOW))


def filled(tmp_path: Path, landing: Path) -> Pipeline:
    pipeline = opened(tmp_path, landing)
    assert all(not r.failed for _, reports in pipeline.run() for r in reports)
    assert not fill(pipeline, "events", OPEN).failed
    return pipeline


def fill(pipeline: Pipeline, table: str, span: TimeWindow, *, accepts_loss: bool = False) -> Report:
    with pipeline.running(table, span, accepts_loss=accepts_loss) as running:
        return pipeline.fill(table, span, running)


def allow(pipeline: Pipeline, said: str) -> Report:
    """Do what the message says, and nothing else."""
    match = re.search(r"`stream-assets materialize (\w+) --from (\S+) --accept-loss`", said)
    assert match, said
    return fill(pipeline, match[1], pipeline.range(match[1], match[2]), accepts_loss=True)


def refused(pipeline: Pipeline, table: str, span: TimeWindow) -> str:
    before = [(c.revision, c.rows) for c in pipeline.lake.ledger.current(table, span)]
    (outcome, *_) = fill(pipeline, table, span).failed
    assert [(c.revision, c.rows) for c in pipeline.lake.ledger.current(table, span)] == before
    assert outcome.error
    assert not outcome.is_transient
    return outcome.error


def test_an_expired_source(tmp_path: Path, landing: Path) -> None:
    pipeline = filled(tmp_path, landing)
    (landing / "a.jsonl").unlink()
    said = refused(pipeline, "events_daily", TimeWindow(DAY, TODAY))
    assert "window [2026-03-09T00:00Z, 2026-03-09T00:05Z): the source no longer gives 5 of 5 events" in said
    assert "(such as 09T0000)" in said
    assert allow(pipeline, said).rows == 720


def test_a_truncated_file(tmp_path: Path, landing: Path) -> None:
    pipeline = filled(tmp_path, landing)
    write(landing, "today.jsonl", TODAY, 8)
    said = refused(pipeline, "events", OPEN)
    assert "window [2026-03-10T00:05Z, 2026-03-10T00:10Z): the source no longer gives 2 of 5 events" in said
    assert "(such as 10T0008)" in said
    assert allow(pipeline, said).rows == 3


@pytest.mark.parametrize(("table", "span"), [("events_daily", TimeWindow(DAY, TODAY)), ("events", OPEN)])
def test_another_folder_of_files_whose_events_are_as_many(
    tmp_path: Path, landing: Path, table: str, span: TimeWindow
) -> None:
    filled(tmp_path, landing)
    write(tmp_path / "wrong", "a.jsonl", DAY, 1440, prefix="other-")
    write(tmp_path / "wrong", "today.jsonl", TODAY, 10, prefix="other-")
    said = refused(opened(tmp_path, tmp_path / "wrong"), table, span)
    assert "the source no longer gives 5 of 5 events that the lake has (such as " in said
    assert f"--from 2026-03-{span.start:%d}" in said


def test_ids_are_compared_only_where_the_digest_has_changed(
    tmp_path: Path, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = filled(tmp_path, landing)
    asked: list[TimeWindow] = []
    compare = moves.follow
    monkeypatch.setattr(moves, "follow", lambda site, stream, content, *others, **more: (
        asked.append(content.window), compare(site, stream, content, *others, **more)
    )[1])  # fmt: skip
    for current in pipeline.lake.ledger.current("events", OPEN):
        (pipeline.lake.layout.root / current.file).unlink()
    assert fill(pipeline, "events", OPEN).count("published") == 2
    assert fill(pipeline, "events_daily", TimeWindow(DAY, TODAY)).count("unchanged") == 1
    assert asked == []
    write(landing, "more.jsonl", DAY + timedelta(hours=1), 1, prefix="late-")
    assert fill(pipeline, "events_daily", TimeWindow(DAY, TODAY)).count("published") == 1
    assert asked == [TimeWindow(DAY + timedelta(hours=1), DAY + timedelta(hours=1) + GRID)]
