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
IMPORTS = "import numpy, pyarrow, pyarrow.compute, pyarrow.parquet, sqlite3, json, click"


class Spent(NamedTuple):
    """What one process took."""

    seconds: float
    cpu_seconds: float


def measure(settings: Settings) -> list[Figure]:
    """Run `stream-assets run` on copies of a lake in which one window is due."""
    figures: list[Figure] = []
    events = round(settings.tick_rate * 300)
    libraries: list[Spent] = []
    env: dict[str, str] = {}
    for form, consumers in CONSUMERS.items():
        found: list[Spent] = []
        prepared, due_at = settings.scratch / f"prepared-{form}", None
        env: dict[str, str] = {}
        while len(found) < settings.ticks:
            settled = floor_to_grid(SystemClock().now() - SETTLING)
            if settled != due_at:
                shutil.rmtree(prepared, ignore_errors=True)
                env = _environment(settings.tick_rate, consumers, prepared, settled)
                call("command_line", "prepare", env=env, upto=(settled - timedelta(minutes=5)).isoformat())
                due_at = settled
            spent = _tick(env, prepared, settings.scratch / "tick", events)
            if spent is not None:
                found.append(spent)
            libraries.append(_run([sys.executable, "-c", IMPORTS], env)[0])
        note = f"{events:,} events, one {form} consumer, whole process, median of {settings.ticks}"
        figures += [
            Figure(f"tick_command_line_{form}", median(s.seconds for s in found), "s", 1.0, 0.7, note),
            Figure(f"tick_command_line_{form}_cpu", median(s.cpu_seconds for s in found), "s"),
        ]
    note = "starting Python and importing numpy and pyarrow"
    figures += [
        Figure("tick_imports_alone", median(s.seconds for s in libraries), "s", note=note),
        Figure("tick_imports_alone_cpu", median(s.cpu_seconds for s in libraries), "s"),
    ]
    return figures


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


def _tick(env: dict[str, str], prepared: Path, lake: Path, events: int) -> Spent | None:
    """Return what one tick took; None where another number of windows had become due."""
    shutil.copytree(prepared, lake)
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
