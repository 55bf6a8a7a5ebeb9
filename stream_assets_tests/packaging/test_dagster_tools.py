"""Dagster's own tools on this project, as pyproject.toml and workspace.yaml tell them."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from stream_assets_tests.one_oclock import OneOClock
from stream_assets_tests.packaging.conftest import call, plain

pytestmark = pytest.mark.slow

ASSETS = {"events", "events_daily", "finance_report", "fraud_alerts", "revenue_dashboard", "user_features"}


@pytest.fixture(scope="module")
def home(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DAGSTER_HOME, with the committed dagster.yaml."""
    made = tmp_path_factory.mktemp("home")
    shutil.copy(bare / "dagster.yaml", made)
    return made


@pytest.fixture(scope="module")
def environment(home: Path, bare: Path, small_lake: dict[str, str], days: list[str]) -> dict[str, str]:
    own = {"PYTHONPATH": str(bare), "DAGSTER_HOME": str(home), "STREAM_ASSETS_LAKE": str(home / "lake")}
    return plain(**small_lake | own | {"STREAM_ASSETS_START": days[0]})


@pytest.fixture(scope="module")
def days(now: OneOClock) -> list[str]:
    """The two days before today."""
    return [str(now.yesterday - timedelta(days=1)), str(now.yesterday)]


def ask(bare: Path, environment: dict[str, str], tool: str, *words: str) -> str:
    answer = call((Path(sys.executable).with_name(tool), *words), bare, environment)
    assert answer.returncode == 0, answer.stdout
    return answer.stdout


def test_the_workspace_loads(bare: Path, environment: dict[str, str]) -> None:
    said = ask(bare, environment, "dagster", "definitions", "validate", "-w", "workspace.yaml")
    assert "All code locations passed validation" in said


def test_dg_finds_the_definitions_without_being_told_where(bare: Path, environment: dict[str, str]) -> None:
    assert "All definitions loaded successfully" in ask(bare, environment, "dg", "check", "defs")
    listed = ask(bare, environment, "dg", "list", "defs", "--json")
    found = json.loads(listed)
    assert {a["asset_key"] for a in found["assets"]} == ASSETS
    assert {s["name"] for s in found["sensors"]} == {"every_5_min", "heal"}
    assert {s["name"] for s in found["schedules"]} == {"daily", "verify"}


def test_dg_launches_a_range(bare: Path, environment: dict[str, str], home: Path, days: list[str]) -> None:
    tables = ("events_daily", "finance_report")
    first, last = days
    ask(bare, environment, "dg", "launch", "--assets", ",".join(tables), "--partition-range", f"{first}...{last}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.get() as instance:
            for table in tables:
                assert instance.get_materialized_partitions(dg.AssetKey(table)) == set(days)
                assert len(list((home / "lake" / table).glob("day=*/part-r1-*.parquet"))) == 2
            assert len(instance.get_runs()) == 1
