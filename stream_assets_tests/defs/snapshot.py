"""The definitions as text: what Dagster's user gets, one line a fact. `python -m stream_assets_tests.defs.snapshot` writes it anew."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from stream_assets.defs import build_definitions
from stream_assets.pipeline.project import Project, Stream
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets.testing import SettableClock

GOLDEN = Path(__file__).parents[1] / "golden" / "definitions.txt"
MADE_AT = datetime(2026, 3, 10, 14, 37, tzinfo=UTC)


def of_the_example(lake: Path) -> dg.Definitions:
    """Return the definitions of the example project, on a lake that was made at 14:37 of 10 March 2026."""
    project = Project((Stream("events", source=SyntheticEvents(rate=50)),), lake=str(lake))
    project.open([], SettableClock(MADE_AT))
    return build_definitions(project, "stream_assets.consumers", executor=dg.in_process_executor)


def described(definitions: dg.Definitions) -> str:
    """Return the definitions as text."""
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    lines: list[str] = []
    for key in sorted(graph.get_all_asset_keys()):
        lines += _asset(graph.get(key), repository)
    for sensor in sorted(repository.sensor_defs, key=lambda s: s.name):
        lines += [f"sensor {sensor.name}: every {sensor.minimum_interval_seconds} s, {sensor.default_status.value}"]
        lines += _text(sensor.description)
    for schedule in sorted(repository.schedule_defs, key=lambda s: s.name):
        when = f"{schedule.cron_schedule} {schedule.execution_timezone}"
        lines += [f"schedule {schedule.name}: {when}, job {schedule.job_name}, {schedule.default_status.value}"]
        lines += _text(schedule.description)
    for job in sorted(repository.get_all_jobs(), key=lambda j: j.name):
        nodes = sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys)
        lines += [f"job {job.name}: {', '.join(nodes) or 'checks alone'}; executor {job.executor_def.name}"]
    for name, resource in sorted((definitions.resources or {}).items()):
        lines += [f"resource {name}: {type(resource).__name__}({_fields(resource)})"]
    return "\n".join(lines) + "\n"


def _asset(node: Any, repository: dg.RepositoryDefinition) -> Iterator[str]:
    definition = node.assets_def
    spec = next(s for s in definition.specs if s.key == node.key)
    partitions = node.partitions_def
    yield f"asset {node.key.to_user_string()}"
    yield f"  group {node.group_name}; kinds {', '.join(sorted(spec.kinds))}; owners {', '.join(spec.owners) or '-'}"
    yield f"  partitions {partitions.cron_schedule} {partitions.timezone} from {partitions.start:%Y-%m-%dT%H:%M%z}, end offset {partitions.end_offset}, keys {partitions.fmt}"
    for dep in sorted(spec.deps, key=lambda d: d.asset_key):
        yield f"  reads {dep.asset_key.to_user_string()}: {_mapping(dep.partition_mapping)}"
    policy = node.backfill_policy
    yield f"  backfill {policy.policy_type.value}; freshness policy {_window(spec.freshness_policy)}"
    for check in sorted(c.name for c in repository.asset_graph.asset_check_keys if c.asset_key == node.key):
        yield f"  check {check}"
    for name, value in spec.metadata.items():
        if not name.startswith("dagster"):
            yield f"  {name}: {getattr(value, 'md_str', value)}"
    yield from _text(spec.description)


def _mapping(mapping: Any) -> str:
    if mapping is None:
        return "the same partition"
    said = f"time window, start offset {mapping.start_offset}"
    return said + (", upstream may not exist" if mapping.allow_nonexistent_upstream_partitions else "")


def _window(policy: Any) -> str:
    return f"fails after {policy.fail_window.to_timedelta()}" if policy else "-"


def _fields(resource: Any) -> str:
    shown = ", ".join(f"{name}={value!r}" for name, value in resource.model_dump().items())
    return re.sub(r"folder='[^']*'", "folder=...", shown)


def _text(text: str | None) -> Iterator[str]:
    return (f"  | {line}" for line in (text or "").splitlines() if line)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        GOLDEN.write_text(described(of_the_example(Path(folder))))
