"""A small project for Dagster: little data, real clock, definitions of our own four consumers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from stream_assets import Project, Stream, build_definitions
from stream_assets.core.window import TimeWindow
from stream_assets.pipeline import Pipeline
from stream_assets.pipeline.project import find_consumers
from stream_assets.sources.synthetic import SyntheticEvents

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dataclass
class Host:
    """Definitions, an instance, and the pipeline behind them."""

    project: Project
    consumers: list[Any]
    instance: dg.DagsterInstance

    def __post_init__(self) -> None:
        self.definitions = build_definitions(self.project, self.consumers, executor=dg.in_process_executor)
        self.pipeline: Pipeline = self.project.open(self.consumers)

    def run(self, tables: list[str], span: TimeWindow, **options: Any) -> dg.ExecuteInProcessResult:
        """Run one range of some assets, as the daemon launches it."""
        keys = [dg.AssetKey(t) for t in tables]
        grain = self.pipeline.table(tables[0]).grain
        partitions = self.pipeline.calendar.partitions(span, grain)
        job = self.definitions.resolve_implicit_job_def_def_for_assets(keys)
        assert job is not None
        tags = {
            RANGE_START: self.pipeline.calendar.key(partitions[0], grain),
            RANGE_END: self.pipeline.calendar.key(partitions[-1], grain),
            **options.pop("tags", {}),
        }
        return job.execute_in_process(
            instance=self.instance, asset_selection=keys, tags=tags, raise_on_error=False, **options
        )

    def materialized(self, table: str) -> set[str]:
        return set(self.instance.get_materialized_partitions(dg.AssetKey(table)))

    def yesterday(self) -> TimeWindow:
        calendar, now = self.pipeline.calendar, self.pipeline.clock.now()
        today = calendar.day_around(now)
        return TimeWindow(calendar.day_around(today.start - (today.end - today.start) / 2).start, today.start)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("SOURCE", "LAKE", "TIMEZONE", "START", "END", "CONSUMERS"):
        monkeypatch.delenv(f"STREAM_ASSETS_{name}", raising=False)
    source = SyntheticEvents(rate=0.5, late_share=0.0)
    return Project(streams=(Stream("events", source=source),), lake=str(tmp_path / "lake"))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def host(project: Project, instance: dg.DagsterInstance) -> Host:
    return Host(project, find_consumers("stream_assets.consumers"), instance)
