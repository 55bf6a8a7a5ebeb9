"""Keys that go while Dagster works: what is about to fill them is found, and nothing of it fails afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.selector import PartitionRangeSelector, PartitionsByAssetSelector, PartitionsSelector
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from stream_assets.core.clock import SystemClock
from stream_assets.core.window import Calendar, TimeWindow
from stream_assets.defs.names import PARTITION, RANGE_END, RANGE_START
from stream_assets.defs.targets import targets
from stream_assets_tests.defs.conftest import Host, error_of
from stream_assets_tests.defs.dagster_dev import REPOSITORY, DagsterDev
from stream_assets_tests.defs.dagster_ui import DagsterUI
from stream_assets_tests.defs.locations.declared import dashboard, report

STARTING, STARTED = dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED
CANCELING, SUCCESS = dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.SUCCESS


# What is found in an instance.


@pytest.fixture
def busy(hosted: Callable[..., Host]) -> Host:
    return hosted(dashboard, report, start="2026-03-07")


def run(host: Host, status: dg.DagsterRunStatus, tags: dict[str, str], *tables: str) -> str:
    """Record a run with this status; returns the beginning of its id."""
    keys = [dg.AssetKey(t) for t in tables]
    job = host.definitions.resolve_implicit_job_def_def_for_assets(keys)
    assert job is not None
    made = host.instance.create_run_for_job(job, status=status, tags=tags, asset_selection=frozenset(keys))
    return made.run_id[:8]


def spread(first: str, last: str) -> dict[str, str]:
    return {RANGE_START: first, RANGE_END: last}


def found(host: Host, before: str = "2026-03-09") -> list[str]:
    return sorted(targets(host.instance, ["events", "dashboard"], Calendar(), Calendar().instant(before)))


def test_runs_in_progress_that_fill_what_goes_are_found_and_no_others(busy: Host) -> None:
    whole = spread("2026-03-08T00:00+0000", "2026-03-09T23:55+0000")
    one = run(busy, STARTING, whole, "events", "dashboard")
    two = run(busy, STARTED, {PARTITION: "2026-03-08T23:55+0000"}, "dashboard")
    three = run(busy, CANCELING, whole, "events")
    run(busy, SUCCESS, whole, "events")
    run(busy, STARTED, spread("2026-03-09T00:00+0000", "2026-03-09T23:55+0000"), "events")
    run(busy, STARTED, spread("2026-03-07", "2026-03-08"), "events_daily", "report")
    assert found(busy) == sorted(
        [
            f"run {one} (starting) fills dashboard, events from 2026-03-08T00:00+0000",
            f"run {two} (started) fills dashboard from 2026-03-08T23:55+0000",
            f"run {three} (canceling) fills events from 2026-03-08T00:00+0000",
        ]
    )
    assert found(busy, "2026-03-08") == []


def backfill(host: Host, name: str, status: BulkActionStatus, table: str, keys: list[str]) -> None:
    ranges = [PartitionRangeSelector(start=key, end=key) for key in keys]
    made = PartitionBackfill.from_partitions_by_assets(
        name, host.repository.asset_graph, SystemClock().now().timestamp(), {}, host.instance,
        [PartitionsByAssetSelector(asset_key=dg.AssetKey(table), partitions=PartitionsSelector(ranges=ranges))], None, None, None,
    )  # fmt: skip
    host.instance.add_backfill(made._replace(status=status))


def test_backfills_in_progress_that_fill_what_goes_are_found_and_no_others(busy: Host) -> None:
    old, new = "2026-03-08T23:55+0000", "2026-03-09T00:00+0000"
    backfill(busy, "asked", BulkActionStatus.REQUESTED, "events", [old, new])
    backfill(busy, "stopping", BulkActionStatus.CANCELING, "dashboard", [old])
    backfill(busy, "done", BulkActionStatus.COMPLETED_SUCCESS, "events", [old])
    backfill(busy, "later", BulkActionStatus.REQUESTED, "events", [new])
    backfill(busy, "days", BulkActionStatus.REQUESTED, "events_daily", ["2026-03-08"])
    assert found(busy) == [
        "backfill asked (requested) fills events", "backfill stopping (canceling) fills dashboard"
    ]  # fmt: skip


# What becomes of a key that has gone.


@pytest.mark.parametrize("is_reloaded", [False, True])
def test_a_run_of_a_key_that_has_gone_is_refused_in_clear_words(busy: Host, is_reloaded: bool) -> None:
    busy.pipeline.lake.advance(Calendar().instant("2026-03-09"), lambda: None)
    host = Host(busy.project, busy.consumers, busy.instance) if is_reloaded else busy
    old, border = "2026-03-08T23:55+0000", spread("2026-03-08T23:55+0000", "2026-03-09T00:00+0000")
    for tags in ({PARTITION: old}, spread(old, old), border):
        said = error_of(host.execute(["events"], tags))
        assert f"events {old}: its first partition is 2026-03-09T00:00+0000" in said
        assert "Traceback" not in said
    assert host.sealed("events") == []
    assert host.execute(["events"], {PARTITION: "2026-03-09T00:00+0000"}).success


def test_reloaded_definitions_begin_with_the_new_key(busy: Host) -> None:
    def first(host: Host) -> str | None:
        partitions = host.repository.asset_graph.get(dg.AssetKey("dashboard")).partitions_def
        return partitions.get_first_partition_key() if partitions else None

    assert first(busy) == "2026-03-07T00:00+0000"
    busy.pipeline.lake.advance(Calendar().instant("2026-03-09"), lambda: None)
    assert first(Host(busy.project, busy.consumers, busy.instance)) == "2026-03-09T00:00+0000"


# A real `dagster dev`. These tests build on each other, in this order.


@dataclass
class Site:
    """A location whose lake is also worked on by the command line."""

    dev: DagsterDev
    ui: DagsterUI
    environment: dict[str, str]
    calendar: Calendar

    def day(self, ago: int) -> TimeWindow:
        today = self.calendar.day_of(SystemClock().now())
        return self.calendar.day(today - timedelta(days=ago))

    def hour(self, ago: int) -> tuple[str, str]:
        """Return the first and last key of the first hour of a day."""
        first = self.day(ago)
        windows = list(TimeWindow(first.start, first.start + timedelta(hours=1)).windows())
        return self.calendar.key(windows[0], "5 min"), self.calendar.key(windows[-1], "5 min")

    def advance(self) -> subprocess.CompletedProcess[str]:
        to = self.calendar.key(self.day(1), "day")
        return call(self.environment, "horizon", "--advance", "--to", to, "--json", DAGSTER_HOME=str(self.dev.home))

    def keys(self) -> list[str]:
        node = self.dev.ask(_KEYS, {"key": {"path": ["horizon", "events"]}})["assetNodeOrError"]
        return node["partitionKeys"]

    def ticks(self) -> list[dict[str, Any]]:
        return [tick for name in ("every_5_min", "heal") for tick in self.ui.ticks(name)]


def call(environment: dict[str, str], *args: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STREAM_ASSETS_", "DAGSTER_"))}
    return subprocess.run(
        [sys.executable, "-m", "stream_assets.cli", *args], check=False, capture_output=True, text=True, timeout=300,
        env=kept | {"PYTHONPATH": str(REPOSITORY)} | environment | more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(memory: Path) -> Iterator[Site]:
    """Two closed days and an open one, where it is about noon; everything due is done."""
    zone = f"Etc/GMT{SystemClock().now().hour - 12:+d}"
    environment = {
        "STREAM_ASSETS_SOURCE": "synthetic:?rate=0.02",
        "STREAM_ASSETS_LAKE": str(memory / "horizon" / "lake"),
        "STREAM_ASSETS_TIMEZONE": zone,
        "STREAM_ASSETS_CONSUMERS": "stream_assets_tests.defs.locations.declared",
    }
    filled = call(environment, "run")
    assert filled.returncode == 0, filled.stderr
    module = {"horizon": "stream_assets_tests.defs.locations.horizon"}
    with DagsterDev(module, memory / "horizon" / "home", environment) as dev:
        yield Site(dev, DagsterUI(dev, "horizon"), environment, Calendar(zone))


@pytest.mark.slow
@pytest.mark.ui
def test_it_is_refused_while_a_backfill_of_old_keys_is_in_progress_and_not_afterwards(site: Site) -> None:
    hour = site.hour(2)
    backfill = site.ui.backfill({"events": hour, "dashboard": hour})
    refused = site.advance()
    assert refused.returncode == 2, refused.stderr
    said = json.loads(refused.stdout)["error"]
    assert f"backfill {backfill} (requested) fills horizon/dashboard (and " in said
    assert "wait until it is done, or cancel it in the UI" in said
    assert site.ui.backfilled(backfill)["status"] == "COMPLETED_SUCCESS"
    done = site.dev.wait_for(lambda: _good(site.advance()), "it to be advanced", 120, every=5)
    assert done["advanced"]
    assert done["move"]["removed_keys"] == 288
    assert done["first_key"] == site.hour(1)[0]


def _good(answer: subprocess.CompletedProcess[str]) -> dict[str, Any] | None:
    return json.loads(answer.stdout) if answer.returncode == 0 else None


@pytest.mark.slow
@pytest.mark.ui
def test_a_code_server_that_is_not_reloaded_fills_nothing_that_has_gone(site: Site) -> None:
    old = site.hour(2)[0]
    assert site.keys()[0] == old
    first, runs = site.hour(1)[0], {t: site.ui.materialize([t], old) for t in ("events", "dashboard")}
    assert [site.ui.finished(run)["status"] for run in runs.values()] == ["FAILURE", "FAILURE"]
    said = site.ui.failures(runs["events"])
    assert f"events {old}: its first partition is {first}" in said
    assert "has to reload its code location" in said
    # What has inputs that were materialized is refused by Dagster itself, before it comes to us.
    said = site.ui.failures(runs["dashboard"])
    assert f"Partition key range start {old} is before the partitions definition start time" in said


@pytest.mark.slow
@pytest.mark.ui
def test_a_location_that_is_reloaded_begins_at_the_new_day_and_goes_on(site: Site) -> None:
    reloaded = site.dev.ask(_RELOAD, {"name": "horizon"})["reloadRepositoryLocation"]
    assert reloaded["locationOrLoadError"]["__typename"] == "RepositoryLocation"
    assert site.dev.wait_for(lambda: site.keys()[0] == site.hour(1)[0], "the keys to go", 60)
    since = max((t["timestamp"] for t in site.ticks()), default=0)
    hour, day = site.hour(1), site.calendar.key(site.day(1), "day")
    border = (site.calendar.key(site.day(2), "day"), day)
    backfill = site.ui.backfill({"events": hour, "dashboard": hour, "events_daily": border, "report": border})
    done = site.ui.backfilled(backfill)
    assert done["status"] == "COMPLETED_SUCCESS"
    assert done["counts"] == {
        "events": (12, 12, 0), "dashboard": (12, 12, 0), "events_daily": (2, 2, 0), "report": (2, 2, 0),
    }  # fmt: skip
    assert site.dev.wait_for(lambda: [t for t in site.ticks() if t["timestamp"] > since + 30], "more ticks", 120)
    assert [t["error"] for t in site.ticks() if t["error"]] == []
    verified = call(site.environment, "verify", "--json")
    assert json.loads(verified.stdout)["differences"] == []


_KEYS = "query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { partitionKeys } } }"
_RELOAD = """mutation ($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) { __typename
  ... on WorkspaceLocationEntry { locationOrLoadError { __typename ... on PythonError { message } } }
  ... on PythonError { message } } }"""
