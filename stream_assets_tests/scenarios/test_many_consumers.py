"""What ticks ask of Dagster, of sources and of the ledger grows with the work that is due, not with consumers or history."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_assets.core.cadence import DAY_MARGIN
from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import HEAL, Work
from stream_assets.core.receipt import Receipt
from stream_assets.core.window import GRID, TimeWindow, floor_to_grid
from stream_assets.lake.ledger import Lease
from stream_assets.pipeline import Pipeline
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets.testing import SettableClock
from stream_assets_tests.benchmarks import crowd

NOON = datetime(2026, 3, 10, 12, 0, 40, tzinfo=UTC)
MORNING = datetime(2026, 3, 10, 0, 0, 40, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass
class Asked:
    """What was asked for.

    Attributes:
        runs: by the automation that asked for them.
        queries: of sources.
        transactions: changes of the ledger in ticks.
        signs: changes of the ledger that say no more than that an automation is awake.
        statements: that the ledger was asked in ticks.
    """

    runs: Counter[str] = field(default_factory=Counter[str])
    queries: int = 0
    transactions: int = 0
    signs: int = 0
    statements: int = 0


@contextmanager
def noting(pipeline: Pipeline, asked: Asked) -> Iterator[None]:
    """Note what the ledger is asked."""
    connection: sqlite3.Connection = pipeline.lake.ledger.database._connection

    def note(statement: str) -> None:
        asked.statements += 1
        if not connection.in_transaction and statement.startswith(("begin immediate", "insert", "update", "delete")):
            if statement.startswith("insert into automation"):
                asked.signs += 1
            else:
                asked.transactions += 1

    connection.set_trace_callback(note)
    try:
        yield
    finally:
        connection.set_trace_callback(None)


def tick(pipeline: Pipeline, asked: Asked, do: Callable[[Work, Lease], None], every: timedelta = GRID) -> None:
    """Let each automation look that has its turn, and do what it asks for before the next one looks: batch ones look once a day."""
    now = pipeline.clock.now()
    turn = pipeline.calendar.day_around(now).start + DAY_MARGIN + MINUTE
    is_turn = now - every < turn <= now
    for automation in [*(c.name for c in pipeline.declarations.cadences if is_turn or not c.is_batch), HEAL]:
        with noting(pipeline, asked):
            _, requests = pipeline.request(automation)
        asked.runs.update([automation] * len(requests))
        for work, lease in requests:
            do(work, lease)


def computed(consumers: int, lake: Path, hours: int, patch: pytest.MonkeyPatch) -> Asked:
    """Live through the first hours of a day of two streams: all automations look every five minutes, and runs do their work."""
    names = crowd.streams(2)
    clock = SettableClock(MORNING)
    pipeline = crowd.project(str(lake), names, MORNING).open(crowd.consumers(names, consumers), clock)
    asked = Asked()
    read = SyntheticEvents.read

    def noted(self: SyntheticEvents, *arguments: Any, **options: Any) -> Any:
        asked.queries += 1
        return read(self, *arguments, **options)

    def run(work: Work, lease: Lease) -> None:
        assert not any(report.failed for report in pipeline.run_work(work, lease.id))

    with patch.context() as patched:
        patched.setattr(SyntheticEvents, "read", noted)
        while clock.now() < MORNING + hours * HOUR:
            clock.advance(GRID)
            tick(pipeline, asked, run)
    return asked


def lived(pipeline: Pipeline, length: timedelta, every: timedelta = GRID) -> Asked:
    """Let automations look every so often, and have the ledger say that what they ask for was done: nothing is computed.

    That a run reads a source once for each stream whose windows it fills is what `computed` shows.
    """
    asked = Asked()

    def record(work: Work, lease: Lease) -> None:
        done(pipeline, work, lease)
        asked.queries += sum(t.stream is not None and t.grain == "5 min" for t in _tables(pipeline, work))

    until = pipeline.clock.now() + length
    while pipeline.clock.now() < until:
        pipeline.clock.advance(every)
        tick(pipeline, asked, record, every)
    assert not pipeline.plan().works
    return asked


def done(pipeline: Pipeline, work: Work, lease: Lease) -> None:
    """Record all of a piece of work as published, events with their receipts, as of now."""
    ledger, now = pipeline.lake.ledger, pipeline.clock.now()
    partitions = pipeline.calendar.partitions(work.span, work.grain)
    settled = TimeWindow(work.span.start, min(work.span.end, floor_to_grid(now - MINUTE / 2)))
    with ledger.transaction():
        for table in _tables(pipeline, work):
            for part in partitions if table.stream else ():
                covered = Intervals.of(part)
                receipt = Receipt(table.name, part, 1, 6, Digest(1 << 60, 1 << 59), covered, now, rows_read=6)
                ledger.record(
                    receipt, f"{table.name}/{part.start:%F-%H%M}", Intervals() if table.is_days_of_stream else covered
                )
            ledger.cover(table.name, partitions, Intervals.of(settled))
        ledger.work.drop(lease.id, "", now)


def _tables(pipeline: Pipeline, work: Work) -> list[Any]:
    return [pipeline.declarations.tables[name] for name in work.tables]


def opened(folder: Path, streams: int, consumers: int, days: int = 3) -> Pipeline:
    return crowd.crowd(str(folder / f"{streams}-{consumers}-{days}"), streams, consumers, days, MORNING)


@pytest.mark.parametrize(
    "hours", [pytest.param(6, marks=pytest.mark.slow), pytest.param(24, marks=pytest.mark.exhaustive)]
)
def test_ticks_of_a_day_ask_for_what_is_due_of_a_thousand_consumers_over_twenty_streams(
    memory: Path, hours: int
) -> None:
    windows = hours * HOUR // GRID
    asked = lived(opened(memory, 20, 1000), hours * HOUR)
    assert asked.runs == {"every_5_min": windows, "every_15_min": hours * 4, "every_1_hour": hours, "daily": 1}
    assert asked.queries == 20 * windows
    # A window of each stream settles, what has changed is looked at once, each run is asked for, and the day's turn is noted.
    assert asked.transactions == windows * (20 + 1) + asked.runs.total() + 1


def test_an_hour_of_ticks_asks_the_same_with_many_consumers_with_years_of_history_and_with_ten_times_the_ticks(
    memory: Path,
) -> None:
    usual = lived(opened(memory, 2, 10), HOUR)
    assert usual.runs == {"every_5_min": 12, "every_15_min": 4, "every_1_hour": 1, "daily": 1}
    assert usual.queries == 2 * 12
    many, old = (lived(opened(memory, 2, count, days), HOUR) for count, days in ((100, 3), (10, 1826)))
    restless = lived(opened(memory, 2, 10, days=4), HOUR, every=GRID / 10)
    for other in (many, old, restless):
        assert (other.runs, other.queries, other.transactions) == (usual.runs, usual.queries, usual.transactions)
    # Four automations say once a minute that they are awake, and staging is swept every ten minutes.
    assert restless.signs == 4 * 60 + 6


def test_twice_the_streams_are_twice_the_queries_and_no_more_runs(memory: Path) -> None:
    one, two = (lived(opened(memory, count, 20), HOUR) for count in (2, 4))
    assert two.runs == one.runs
    assert two.queries == 2 * one.queries
    assert two.transactions - one.transactions == 2 * (HOUR // GRID)


@pytest.mark.slow
def test_hours_of_ticks_take_runs_and_reads_for_what_is_due_however_many_consumers_there_are(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = (computed(count, memory / str(count), 2, monkeypatch) for count in (10, 40))
    assert many.runs == few.runs
    assert few.runs["every_5_min"] == 2 * HOUR / GRID
    assert many.queries == few.queries == 2 * few.runs["every_5_min"]
    assert many.transactions == few.transactions


def test_a_quiet_tick_asks_the_ledger_as_much_for_many_consumers_and_years_as_for_few_and_changes_nothing(
    memory: Path,
) -> None:
    found: list[Asked] = []
    for consumers, days in ((10, 10), (100, 10), (10, 1826)):
        pipeline = crowd.crowd(str(memory / f"{consumers}-{days}"), 2, consumers, days, NOON)
        tick(pipeline, Asked(), _refuse)
        pipeline.clock.advance(timedelta(seconds=10))
        asked = Asked()
        tick(pipeline, asked, _refuse)
        found.append(asked)
    assert found[0] == found[1] == found[2] == Asked(statements=found[0].statements)


def _refuse(work: Work, _: Lease) -> None:
    raise AssertionError(f"nothing is due, but {work} was asked for")


def test_filling_a_table_asks_the_ledger_the_same_whatever_else_is_declared(memory: Path) -> None:
    found: list[dict[str, Asked]] = []
    for streams, consumers in ((1, 5), (1, 50), (8, 200)):
        names = crowd.streams(streams)
        project = crowd.project(str(memory / f"{streams}-{consumers}"), names, MORNING)
        pipeline = project.open(crowd.consumers(names, consumers), SettableClock(MORNING + GRID))
        _, [(work, lease)] = pipeline.request("every_5_min")
        asked = {name: Asked() for name in ("stream0", "counted_0")}
        for name, noted in asked.items():
            with noting(pipeline, noted), pipeline.running(name, work.span, request=lease.id) as running:
                assert not pipeline.fill(name, work.span, running).failed
        found.append(asked)
    assert found[0] == found[1] == found[2]
