"""What ticks ask of Dagster, of the source and of the ledger grows with the work that is due, not with consumers or history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_assets.core.planning import HEAL, Work
from stream_assets.core.window import GRID
from stream_assets.lake.ledger import Lease
from stream_assets.pipeline import Pipeline
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets.testing import SettableClock
from stream_assets_tests.benchmarks import crowd

NOON = datetime(2026, 3, 10, 12, 0, 40, tzinfo=UTC)
MORNING = datetime(2026, 3, 10, 0, 0, 40, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Asked:
    """What was asked: runs by automation, reads of sources, and of the ledger, in ticks alone, statements and transactions."""

    runs: Counter[str] = field(default_factory=Counter[str])
    reads: int = 0
    statements: int = 0
    transactions: int = 0


@contextmanager
def noting(pipeline: Pipeline, asked: Asked) -> Iterator[None]:
    """Note what the ledger is asked."""

    def note(statement: str) -> None:
        asked.statements += 1
        asked.transactions += statement.startswith("begin immediate")

    connection = pipeline.lake.ledger.database._connection
    connection.set_trace_callback(note)
    try:
        yield
    finally:
        connection.set_trace_callback(None)


def tick(pipeline: Pipeline, asked: Asked) -> list[tuple[Work, Lease]]:
    """Let every automation look, and return what they ask for."""
    found: list[tuple[Work, Lease]] = []
    with noting(pipeline, asked):
        for automation in [*(c.name for c in pipeline.declarations.cadences), HEAL]:
            _, requests = pipeline.request(automation)
            asked.runs.update([automation] * len(requests))
            found += requests
    return found


def lived(lake: Path, consumers: int, hours: int, patch: pytest.MonkeyPatch) -> Asked:
    """Live through the first hours of a day of two streams: all automations look every five minutes, and runs do their work."""
    names = crowd.streams(2)
    clock = SettableClock(MORNING)
    pipeline = crowd.project(str(lake), names, MORNING).open(crowd.consumers(names, consumers), clock)
    asked = Asked()
    read = SyntheticEvents.read

    def noted(self: SyntheticEvents, *arguments: Any, **options: Any) -> Any:
        asked.reads += 1
        return read(self, *arguments, **options)

    patch.setattr(SyntheticEvents, "read", noted)
    while clock.now() < MORNING + hours * HOUR:
        clock.advance(GRID)
        for work, lease in tick(pipeline, asked):
            assert not any(report.failed for report in pipeline.run_work(work, lease.id))
    patch.setattr(SyntheticEvents, "read", read)
    return asked


@pytest.mark.slow
def test_hours_of_ticks_take_runs_and_reads_for_what_is_due_however_many_consumers_there_are(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = (lived(memory / str(count), count, 2, monkeypatch) for count in (10, 40))
    assert many.runs == few.runs
    assert few.runs["every_5_min"] == 2 * HOUR / GRID
    assert many.reads == few.reads == 2 * few.runs["every_5_min"]
    assert many.transactions == few.transactions


def test_a_quiet_tick_asks_the_ledger_as_much_for_many_consumers_and_years_as_for_few(memory: Path) -> None:
    found: list[Asked] = []
    for consumers, days in ((10, 10), (100, 10), (10, 1826)):
        pipeline = crowd.crowd(str(memory / f"{consumers}-{days}"), 2, consumers, days, NOON)
        asked = Asked()
        assert not tick(pipeline, asked)
        found.append(asked)
    assert found[0] == found[1] == found[2]
