"""The definitions loaded, as Dagster loads them."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from stream_assets import consumer
from stream_assets.consumer import Consumer
from stream_assets.defs import build_definitions
from stream_assets.errors import DeclarationError
from stream_assets.pipeline.project import Project, Stream
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets_tests.defs.snapshot import GOLDEN, described, of_the_example

START = "2026-03-08"


def project(lake: Path, *names: str, **options: str) -> Project:
    streams = tuple(Stream(name, source=SyntheticEvents(rate=1)) for name in names or ("events",))
    return Project(streams, lake=str(lake), start=START, **options)


@consumer(freshness="5 min", grain="5 min")
def orders(events):
    return events


@consumer(freshness="1 day", lookback="7 days")
def features(events):
    return events


@consumer(freshness="3 days", group="finance", owners=["team:money"], tags={"tier": "1"}, metadata={"page": "wiki"})
def report(orders, features):
    return orders


def test_the_example_project_is_what_its_golden_says(folder: Path) -> None:
    golden = GOLDEN.read_text()
    assert described(of_the_example(folder)) == golden, "python -m stream_assets_tests.defs.snapshot writes it anew"
    assert golden.count("\n") < 200


def test_what_dagster_loads_runs_in_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_ASSETS_LAKE", str(folder))
    defs: dg.Definitions = runpy.run_module("stream_assets.definitions")["defs"]
    repository = defs.get_repository_def()
    assert {job.executor_def.name for job in repository.get_all_jobs()} == {"in_process"}


def test_loading_imports_no_arrow_and_no_pandas(folder: Path) -> None:
    code = (
        "import sys, stream_assets.definitions as d; d.defs.get_repository_def();"
        "print([m for m in ('pyarrow', 'numpy', 'pandas', 'duckdb') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], env={"STREAM_ASSETS_LAKE": str(folder), "PYTHONPATH": str(GOLDEN.parents[2])},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout == "[]\n", answer.stdout + answer.stderr


def test_a_consumer_shows_what_it_declares(folder: Path) -> None:
    defs = build_definitions(project(folder), [orders, features, report])
    spec = defs.resolve_asset_graph().get(dg.AssetKey("report")).assets_def.get_asset_spec()
    assert (spec.group_name, list(spec.owners), spec.tags["tier"], spec.metadata["page"]) == (
        "finance",
        ["team:money"],
        "1",
        "wiki",
    )
    assert spec.metadata["cadence"] == "every_3_days"
    assert {d.asset_key.to_user_string() for d in spec.deps} == {"orders", "features"}
    schedules = {s.name for s in defs.get_repository_def().schedule_defs}
    assert schedules == {"daily", "every_3_days", "verify"}


def test_a_day_reads_the_days_that_its_lookback_names(folder: Path) -> None:
    defs = build_definitions(project(folder, timezone="Europe/Berlin"), [orders, features, report])
    graph = defs.resolve_asset_graph()
    days = graph.get(dg.AssetKey("features")).partitions_def
    asked = days.empty_subset().with_partition_keys(["2026-03-30"])
    mapping = graph.get_partition_mapping(dg.AssetKey("features"), dg.AssetKey("events_daily"))
    read = mapping.get_upstream_mapped_partitions_result_for_partitions(asked, days, days).partitions_subset
    assert sorted(read.get_partition_keys()) == [f"2026-03-{d}" for d in range(23, 31)]


@pytest.mark.parametrize(("day", "windows"), [("2026-03-29", 276), ("2026-10-25", 300), ("2026-06-01", 288)])
def test_a_day_of_a_local_zone_reads_its_own_windows(folder: Path, day: str, windows: int) -> None:
    defs = build_definitions(project(folder, timezone="Europe/Berlin"), [report, orders, features])
    graph = defs.resolve_asset_graph()
    days, five = (graph.get(dg.AssetKey(name)).partitions_def for name in ("events_daily", "events"))
    asked = days.empty_subset().with_partition_keys([day])
    mapping = graph.get_partition_mapping(dg.AssetKey("events_daily"), dg.AssetKey("events"))
    read = mapping.get_upstream_mapped_partitions_result_for_partitions(asked, days, five).partitions_subset
    assert len(set(read.get_partition_keys())) == windows
    assert all(key.startswith(day) for key in read.get_partition_keys())


def test_two_projects_merge_into_a_host_with_assets_of_its_own(folder: Path) -> None:
    shop = build_definitions(
        project(folder / "shop"), [orders, features], name="shop", key_prefix=["shop"], group="shop"
    )
    plant = build_definitions(
        project(folder / "plant", "events", "alarms"), [orders, features], name="plant", key_prefix=["plant", "raw"]
    )

    @dg.asset(deps=[dg.AssetKey(["shop", "features"])])
    def letter() -> None: ...

    host = dg.Definitions(assets=[letter], jobs=[dg.define_asset_job("post", selection=["letter"])])
    merged = dg.Definitions.merge(host, shop, plant)
    dg.Definitions.validate_loadable(merged)
    repository = merged.get_repository_def()
    assert {s.name for s in repository.sensor_defs} == {
        "shop_every_5_min", "shop_heal", "plant_every_5_min", "plant_heal",
    }  # fmt: skip
    assert {s.name for s in repository.schedule_defs} == {"shop_daily", "plant_daily", "shop_verify", "plant_verify"}
    assert {j.name for j in repository.get_all_jobs()} == {
        "__ASSET_JOB", "post", "shop_daily_days", "plant_daily_days", "shop_verify", "plant_verify",
    }  # fmt: skip
    assert set(merged.resources or {}) == {
        "shop_lake", "shop_events_source", "plant_lake", "plant_events_source", "plant_alarms_source",
    }  # fmt: skip
    graph = repository.asset_graph
    assert graph.get(dg.AssetKey("letter")).parent_keys == {dg.AssetKey(["shop", "features"])}
    assert graph.get(dg.AssetKey(["shop", "orders"])).group_name == "shop"
    assert graph.get(dg.AssetKey(["plant", "raw", "orders"])).parent_keys == {dg.AssetKey(["plant", "raw", "events"])}


def test_a_run_requires_the_sources_of_what_it_fills_and_what_looks_at_all_requires_all(folder: Path) -> None:
    """A check observes every stream, as Dagster configured its source."""
    repository = build_definitions(project(folder / "lake", "events", "clicks"), [orders]).get_repository_def()
    own = {name: {"lake", f"{name}_source"} for name in ("events", "clicks")}
    assert {key.to_user_string(): made.required_resource_keys - {"io_manager"} for key, made in repository.assets_defs_by_key.items()} == {
        "events": own["events"], "events_daily": own["events"], "orders": own["events"],
        "clicks": own["clicks"], "clicks_daily": own["clicks"],
    }  # fmt: skip
    everything = own["events"] | own["clicks"]
    checks = repository.asset_checks_defs_by_key.values()
    assert all(check.required_resource_keys - {"io_manager"} == everything for check in checks)


def test_a_host_may_set_the_executor_of_all(folder: Path) -> None:
    ours = build_definitions(project(folder), [orders])
    merged = dg.Definitions.merge(dg.Definitions(executor=dg.in_process_executor), ours)
    assert {j.executor_def.name for j in merged.get_repository_def().get_all_jobs()} == {"in_process"}


def test_an_owner_that_dagster_refuses_names_its_consumer(folder: Path) -> None:
    def owned(events):
        return events

    made: Consumer = consumer(freshness="1 day", owners=["money"])(owned)
    with pytest.raises(DeclarationError, match="'owned' cannot be an asset.*money"):
        build_definitions(project(folder), [made])
