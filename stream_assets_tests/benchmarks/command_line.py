"""One tick through the command line: from process start to its end, a window and one consumer published between."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from stream_assets.core.clock import SystemClock
from stream_assets.core.window import floor_to_grid
from stream_assets_tests.benchmarks.child import call
from stream_assets_tests.benchmarks.figure import Figure, median
from stream_assets_tests.benchmarks.settings import Settings
from stream_assets_tests.one_oclock import OneOClock

NAME = "command_line"
SETTLING = timedelta(seconds=30)
CONSUMERS = {"arrow": "stream_assets_tests.benchmarks.orders", "pandas": "stream_assets.consumers.revenue_dashboard"}
RIVAL = """
import logging
import dagster as dg
logging.disable()
@dg.asset
def nothing() -> None: ...
with dg.DagsterInstance.get() as instance:
    assert dg.materialize([nothing], instance=instance).success
"""
IMPORTS = "import numpy, pyarrow, pyarrow.compute, pyarrow.parquet, sqlite3, json, click"


class Spent(NamedTuple):
    """What one process took."""

    seconds: float
    cpu_seconds: float


def measure(settings: Settings) -> list[Figure]:
    """Run `stream-assets run` on copies of lakes in which one window is due, and in turn the least that Dagster can run."""
    events = round(settings.tick_rate * 300)
    found: dict[str, list[Spent]] = {form: [] for form in (*CONSUMERS, "dagster", "imports")}
    rival = _rival(settings.scratch / "rival")
    environments: dict[str, dict[str, str]] = {}
    due_at = None
    while len(found["dagster"]) < settings.ticks:
        settled = floor_to_grid(SystemClock().now() - SETTLING)
        if settled != due_at:
            for form, consumers in CONSUMERS.items():
                lake = settings.scratch / f"prepared-{form}"
                shutil.rmtree(lake, ignore_errors=True)
                environments[form] = _environment(settings.tick_rate, consumers, lake, settled)
                upto = (settled - timedelta(minutes=5)).isoformat()
                call("command_line", "prepare", env=environments[form], upto=upto)
            due_at = settled
        spent = {form: _tick(env, settings.scratch / "tick", events) for form, env in environments.items()}
        if None in spent.values():
            continue
        spent["dagster"] = _run([sys.executable, "-c", RIVAL], rival)[0]
        spent["imports"] = _run([sys.executable, "-c", IMPORTS], rival)[0]
        for form, taken in spent.items():
            assert taken is not None
            found[form].append(taken)
    seconds = {form: median(s.seconds for s in spent) for form, spent in found.items()}
    cpu = {form: median(s.cpu_seconds for s in spent) for form, spent in found.items()}
    note = f"{events:,} events, one consumer, process start to end / a process that runs one empty asset, median of {settings.ticks}"
    return [
        Figure("tick_command_line_arrow", seconds["arrow"] / seconds["dagster"], "x", 0.45, 0.3, note),
        Figure("tick_command_line_pandas", seconds["pandas"] / seconds["dagster"], "x", 0.6, 0.3, note),
        *(Figure(f"tick_command_line_{form}_cpu", cpu[form] / cpu["dagster"], "x", note="processor time") for form in CONSUMERS),
        *(Figure(f"tick_command_line_{form}_seconds", seconds[form], "s") for form in CONSUMERS),
        Figure("tick_dagster_seconds", seconds["dagster"], "s", note="import dagster, one empty asset, an instance on disk"),
        Figure("tick_imports_alone", seconds["imports"], "s", note="starting Python and importing numpy and pyarrow"),
    ]  # fmt: skip


def _rival(home: Path) -> dict[str, str]:
    """Return the environment of an instance on disk that has run the asset once."""
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STREAM_ASSETS_", "DAGSTER_"))}
    env = {**kept, "DAGSTER_HOME": str(home)}
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    _run([sys.executable, "-c", RIVAL], env)
    return env


def prepare(upto: str) -> dict[str, Any]:
    """Fill the lake of the environment with all windows up to `upto`."""
    from stream_assets.pipeline.project import find_consumers
    from stream_assets.project import project
    from stream_assets.testing import SettableClock

    clock = SettableClock(datetime.fromisoformat(upto) + SETTLING + timedelta(seconds=1))
    pipeline = project.with_environment().open(find_consumers(), clock)
    failed = [str(report) for _, reports in pipeline.run() for report in reports if report.failed]
    if failed:
        raise SystemExit(f"command line: {failed}")
    return {}


def _tick(env: dict[str, str], lake: Path, events: int) -> Spent | None:
    """Return what one tick took; None where another number of windows had become due."""
    shutil.copytree(env["STREAM_ASSETS_LAKE"], lake)
    env = {**env, "STREAM_ASSETS_LAKE": str(lake)}
    command = [sys.executable, "-m", "stream_assets.cli"]
    _run([*command, "split"], env)
    spent, answer = _run([*command, "run", "--json"], env)
    shutil.rmtree(lake)
    reports = [report for work in json.loads(answer)["work"] for report in work["reports"]]
    rows = {report["table"]: (report["published"], report["rows"]) for report in reports}
    return spent if rows.get("events") == (1, events) and len(rows) == 2 else None


def _run(command: list[str], env: dict[str, str]) -> tuple[Spent, str]:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(seconds, cpu_seconds), done.stdout


def _environment(rate: float, consumers: str, lake: Path, settled: datetime) -> dict[str, str]:
    here = OneOClock.at(settled)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_ASSETS_")}
    return {
        **kept,
        "STREAM_ASSETS_SOURCE": f"synthetic:?rate={rate:g}&lateness=30s&late_share=0&duplicate_share=0&quiet=",
        "STREAM_ASSETS_TIMEZONE": here.zone,
        "STREAM_ASSETS_START": str(here.today),
        "STREAM_ASSETS_CONSUMERS": consumers,
        "STREAM_ASSETS_LAKE": str(lake),
    }
