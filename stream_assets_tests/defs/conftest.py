"""Small projects for Dagster: little data, lakes in memory where the machine has a folder for that, no variables from the shell."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from stream_assets import Project, Stream, build_definitions
from stream_assets.core.window import TimeWindow
from stream_assets.defs.names import RANGE_END, RANGE_START, WORK_TAG
from stream_assets.pipeline import Pipeline
from stream_assets.pipeline.project import find_consumers
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets.testing import SettableClock

MEMORY = Path("/dev/shm")


@dataclass
class Tick:
    """What one look of an automation gave."""

    requests: list[dg.RunRequest]
    said: str | None
    cursor: str | None = None
    events: list[Any] = field(default_factory=list)


@dataclass
class Host:
    """Definitions, an instance, and the pipeline behind them."""

    project: Project
    consumers: list[Any]
    instance: dg.DagsterInstance
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pipeline: Pipeline = self.project.open(self.consumers)
        options = {"executor": dg.in_process_executor, **self.options}
        self.definitions = build_definitions(self.project, self.consumers, **options)
        self.repository = self.definitions.get_repository_def()

    # Runs.

    def run(self, tables: Sequence[str], span: TimeWindow, **options: Any) -> dg.ExecuteInProcessResult:
        """Run one range of some assets, as the daemon launches it."""
        grain = self.pipeline.table(tables[0]).grain
        partitions = self.pipeline.calendar.partitions(span, grain)
        tags = {
            RANGE_START: self.pipeline.calendar.key(partitions[0], grain),
            RANGE_END: self.pipeline.calendar.key(partitions[-1], grain),
            **options.pop("tags", {}),
        }
        return self.execute(tables, tags, **options)

    def execute(self, tables: Sequence[str], tags: dict[str, str], **options: Any) -> dg.ExecuteInProcessResult:
        """Run some assets with these tags."""
        keys = [dg.AssetKey(t) for t in tables]
        job = self.definitions.resolve_implicit_job_def_def_for_assets(keys)
        assert job is not None
        return job.execute_in_process(
            instance=self.instance, asset_selection=keys, tags=tags, raise_on_error=False, **options
        )

    def do(self, request: dg.RunRequest) -> bool:
        """Do what an automation asked for as its run does, without Dagster's events; whether all of it is there."""
        names = [key.to_user_string() for key in request.asset_selection or ()]
        table = self.pipeline.table(names[0])
        first, last = (self.pipeline.calendar.parse_key(request.tags[t], table.grain) for t in (RANGE_START, RANGE_END))
        span = TimeWindow(first.start, last.end)
        is_good = True
        for name in names:
            with self.pipeline.running(name, span, request=int(request.tags[WORK_TAG])) as running:
                is_good &= not self.pipeline.fill(name, span, running).failed
        return is_good

    # Automations.

    def tick(self, automation: str, cursor: str | None = None) -> Tick:
        """Let one automation look."""
        resources = dict(self.definitions.resources or {})
        if self.repository.has_sensor_def(automation):
            sensor = self.repository.get_sensor_def(automation)
            with dg.build_sensor_context(
                instance=self.instance, cursor=cursor, resources=resources, sensor_name=automation,
                repository_def=self.repository,
            ) as context:  # fmt: skip
                seen = sensor.evaluate_tick(context)
            return Tick(list(seen.run_requests or ()), seen.skip_message, seen.cursor, list(seen.asset_events))
        with dg.build_schedule_context(
            instance=self.instance, resources=resources, repository_def=self.repository,
            scheduled_execution_time=self.pipeline.clock.now(),
        ) as context:  # fmt: skip
            due = self.repository.get_schedule_def(automation).evaluate_tick(context)
        return Tick(list(due.run_requests or ()), due.skip_message)

    # What can be seen.

    def materialized(self, table: str) -> set[str]:
        return set(self.instance.get_materialized_partitions(dg.AssetKey(table)))

    def sealed(self, table: str) -> list[str]:
        """Return the keys of the partitions that the lake has."""
        grain = self.pipeline.table(table).grain
        everything = TimeWindow(self.pipeline.lake.start, self.pipeline.clock.now())
        current = self.pipeline.lake.ledger.current(table, everything)
        return [self.pipeline.calendar.key(c.span, grain) for c in current]

    def yesterday(self) -> TimeWindow:
        calendar, now = self.pipeline.calendar, self.pipeline.clock.now()
        today = calendar.day_around(now)
        return TimeWindow(calendar.day_around(today.start - (today.end - today.start) / 2).start, today.start)


def error_of(result: dg.ExecuteInProcessResult) -> str:
    """Return what a failed run says."""
    failure = next(e for e in result.all_events if e.is_step_failure)
    data = failure.step_failure_data
    described = data.user_failure_data.description if data.user_failure_data else ""
    return f"{described}{data.error.to_string() if data.error else ''}"


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A folder for everything that one session writes."""
    folder = Path(tempfile.mkdtemp(prefix="defs-", dir=MEMORY if MEMORY.is_dir() else None))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder(memory: Path) -> Path:
    """A folder for one test."""
    return Path(tempfile.mkdtemp(dir=memory))


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("STREAM_ASSETS_", "DAGSTER_")):
            monkeypatch.delenv(name)


@pytest.fixture
def project(folder: Path) -> Project:
    source = SyntheticEvents(rate=0.5, late_share=0.0)
    return Project(streams=(Stream("events", source=source),), lake=str(folder / "lake"))


@pytest.fixture
def instance(folder: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(folder)) as made:
        yield made


@pytest.fixture
def host(project: Project, instance: dg.DagsterInstance) -> Host:
    """Our own four consumers, by the machine's clock."""
    return Host(project, find_consumers("stream_assets.consumers"), instance)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SettableClock:
    """The clock of everything that the test opens from now on: 00:37 of 10 March 2026."""
    made = SettableClock(datetime(2026, 3, 10, 0, 37, tzinfo=UTC))
    monkeypatch.setattr("stream_assets.pipeline.project.SystemClock", lambda: made)
    return made


@pytest.fixture
def hosted(clock: SettableClock, folder: Path, instance: dg.DagsterInstance) -> Callable[..., Host]:
    """Make a host by the settable clock; each call is another lake, that starts today unless told otherwise."""
    count = iter(range(100))

    def make(*consumers: Any, source: Any = None, start: str = "2026-03-10", zone: str = "UTC", **options: Any) -> Host:
        source = source or SyntheticEvents(rate=0.05, late_share=0.0, quiet="")
        lake = str(folder / f"lake{next(count)}")
        project = Project(streams=(Stream("events", source=source),), lake=lake, start=start, timezone=zone)
        return Host(project, list(consumers), instance, options)

    return make
