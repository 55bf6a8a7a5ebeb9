"""What Dagster loads."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pandas as pd

from stream_assets import Project, Stream, build_definitions, consumer
from stream_assets.defs.resources import LakeResource, source_resource
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets_tests.defs.conftest import Host

GOLDEN = Path(__file__).with_name("definitions.golden")


def test_the_definitions_are_those_of_the_golden_file(host: Host) -> None:
    assert _snapshot(host.definitions) == GOLDEN.read_text()


def _snapshot(definitions: dg.Definitions) -> str:
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    lines: list[str] = []
    for key in sorted(graph.get_all_asset_keys(), key=lambda k: k.to_user_string()):
        node = graph.get(key)
        cron = node.partitions_def.cron_schedule if node.partitions_def else ""
        parents = ", ".join(
            f"{p.to_user_string()} ({type(node.partition_mappings.get(p)).__name__})" for p in sorted(node.parent_keys)
        )
        checks = ", ".join(sorted(k.name for k in graph.get_check_keys_for_assets({key})))
        lines.append(
            f"asset {key.to_user_string()}: group {node.group_name}; partitions {cron}; reads {parents or '-'}; checks {checks}"
        )
    lines += [
        f"sensor {s.name}: every {s.minimum_interval_seconds} s, {s.default_status.value}"
        for s in repository.sensor_defs
    ]
    lines += [
        f"schedule {s.name}: {s.cron_schedule} {s.execution_timezone}, {s.default_status.value}"
        for s in repository.schedule_defs
    ]
    return "\n".join(sorted(lines)) + "\n"


def test_automations_list_their_consumers_with_the_arithmetic(host: Host) -> None:
    every_5_min = host.definitions.resolve_sensor_def("every_5_min")
    assert every_5_min.description is not None
    assert "revenue_dashboard: data at most 7.5 min old (5 + 2.5); lane micro-batch" in every_5_min.description
    assert "fraud_alerts: data at most 151 s old (1 + 150); lane streaming" in every_5_min.description
    assert "cannot be kept" in every_5_min.description
    assert "finance_report" not in every_5_min.description


def test_a_source_becomes_a_typed_resource_of_the_same_fields() -> None:
    resource = source_resource(SyntheticEvents(rate=3, lateness=timedelta(minutes=2)))
    assert resource.rate == 3
    assert resource.lateness == "2 min"
    assert resource.source() == SyntheticEvents(rate=3, lateness=timedelta(minutes=2))


def test_two_projects_and_a_hosts_own_asset_merge_into_one(project: Project, tmp_path: Path) -> None:
    @consumer(freshness="5 min", grain="5 min")
    def clicks(events: pd.DataFrame) -> pd.DataFrame:
        return events

    other = Project(streams=(Stream("events", source=SyntheticEvents(rate=1)),), lake=str(tmp_path / "other"))

    @dg.asset(deps=[dg.AssetKey(["shop", "clicks"])])
    def report() -> None: ...

    merged = dg.Definitions.merge(
        build_definitions(project, [clicks], key_prefix=["shop"], name="shop"),
        build_definitions(other, [clicks], key_prefix=["web"], name="web"),
        dg.Definitions(assets=[report]),
    )
    dg.Definitions.validate_loadable(merged)
    repository = merged.get_repository_def()
    assert {s.name for s in repository.sensor_defs} == {"shop_every_5_min", "shop_heal", "web_every_5_min", "web_heal"}
    assert {s.name for s in repository.schedule_defs} == {"shop_daily", "web_daily"}
    assert dg.AssetKey(["shop", "clicks"]) in repository.asset_graph.get(dg.AssetKey("report")).parent_keys


def test_the_lake_is_a_resource_that_a_run_can_point_elsewhere(project: Project) -> None:
    assert LakeResource.of(project).folder == project.lake
