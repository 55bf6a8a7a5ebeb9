"""A stream whose source is another one now: what the old one's cursor said means nothing to it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_assets.pipeline import Pipeline
from stream_assets.pipeline.project import Project, Stream
from stream_assets.sources.files import FileEvents
from stream_assets.sources.protocol import Arrivals, SourceState, identity_of
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets.testing import SettableClock

START = datetime(2026, 3, 10, tzinfo=UTC)
NOW = START + timedelta(minutes=32)


@dataclass(frozen=True)
class Told(SyntheticEvents):
    """Synthetic events that keep the cursors they are asked with."""

    def arrivals(self, cursor: str | None, *, now: datetime, state: SourceState | None = None) -> Arrivals:
        ASKED.append(cursor)
        return super().arrivals(cursor, now=now, state=state)


ASKED: list[str | None] = []


@pytest.fixture(autouse=True)
def _nobody_has_asked() -> None:
    ASKED.clear()


def opened(lake: Path, source: Any, now: datetime = NOW) -> Pipeline:
    project = Project((Stream("events", source=source),), lake=str(lake / "lake"), start="2026-03-10")
    return project.open([], SettableClock(now))


def filled(folder: Path, minute: int) -> FileEvents:
    folder.mkdir()
    at = START + timedelta(minutes=minute)
    (folder / "all.jsonl").write_text(json.dumps({"event_id": f"{folder.name}", "event_time": at.isoformat()}) + "\n")
    return FileEvents(str(folder))


def test_a_source_of_another_kind_is_asked_from_the_beginning_and_not_with_a_cursor_that_it_does_not_know(
    tmp_path: Path,
) -> None:
    assert opened(tmp_path, filled(tmp_path / "files", 7)).observe() == {}
    assert opened(tmp_path, Told(rate=0.1), NOW + timedelta(minutes=5)).observe() == {}
    assert opened(tmp_path, FileEvents(str(tmp_path / "files")), NOW + timedelta(minutes=10)).observe() == {}
    assert ASKED == [None]


def test_a_source_in_another_place_is_asked_from_the_beginning_and_reopens_what_it_names(tmp_path: Path) -> None:
    one, other = filled(tmp_path / "one", 7), filled(tmp_path / "other", 12)
    list(opened(tmp_path, one).run())
    moved = opened(tmp_path, other, NOW + timedelta(minutes=5))
    assert moved.observe() == {}
    there = {r.span.start - START for r in moved.lake.ledger.reopened.all()["events"]}
    assert timedelta(minutes=10) in there


def test_a_source_goes_on_with_its_cursor_whatever_else_is_said_of_it(tmp_path: Path) -> None:
    source = Told(rate=0.1)
    opened(tmp_path, source).observe()
    opened(tmp_path, replace(source, lateness=timedelta(minutes=3)), NOW + timedelta(minutes=5)).observe()
    assert ASKED[0] is None
    assert ASKED[1] is not None
    opened(tmp_path, replace(source, seed=8), NOW + timedelta(minutes=10)).observe()
    assert ASKED[2] is None


def test_a_cursor_of_an_earlier_release_is_not_used(tmp_path: Path) -> None:
    pipeline = opened(tmp_path, Told(rate=0.1))
    pipeline.lake.ledger.sources.move_cursor("events", NOW.isoformat())
    assert pipeline.observe() == {}
    assert ASKED == [None]


def test_a_source_is_known_by_its_kind_and_its_place() -> None:
    files = FileEvents("/landing", lateness=timedelta(minutes=1))
    assert identity_of(files) == identity_of(replace(files, lateness=timedelta(minutes=9), max_columns=5))
    assert identity_of(files) != identity_of(replace(files, path="/elsewhere"))
    assert identity_of(SyntheticEvents()) != identity_of(Told())
