"""The benchmarks run from end to end, on little data. What they measure is not asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stream_assets_tests.benchmarks.figure import Figure, Series
from stream_assets_tests.benchmarks.report import plot, table

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_benchmark_runs_and_tells_its_machine(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    done = subprocess.run(
        [sys.executable, "-m", "stream_assets_tests.benchmarks", "--quick", "--out", str(out)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["cpu"]
    values = {figure["name"]: figure["value"] for figure in report["figures"]}
    wanted = {
        "row_hash",
        "backfill_ratio",
        "publish_ratio",
        "consumer_day_ratio",
        "tick_command_line_arrow",
        "dagster_tick",
        "dagster_range",
        "idle",
        "page_partitions",
        "years_status",
        "planner_tick_ratio",
        "planner_tick_many",
        "definitions_many",
        "automation_tick_many",
        "parallel_speed",
        "import_package",
    }
    assert wanted <= set(values)
    assert all(value > 0 for name, value in values.items() if name in wanted - {"import_package"})
    assert all(set(figure) >= {"name", "value", "unit", "must", "reach", "reached"} for figure in report["figures"])
    assert "backfill_ratio" in done.stdout


def test_a_figure_says_whether_it_is_good_enough() -> None:
    figures = [
        Figure("good", 1.0, "s", must=3, reach=2),
        Figure("near", 2.5, "s", must=3, reach=2),
        Figure("bad", 3.5, "s", must=3, reach=2),
        Figure("kept", 2.5, "s", must=3),
        Figure("aimed", 2.5, "s", reach=2),
        Figure("said", 3.5, "s"),
    ]
    assert [figure.reached for figure in figures] == [True, True, False, True, None, None]
    assert [figure.verdict for figure in figures] == ["aim met", "reached", "MISSED", "reached", "short of aim", ""]


def test_the_table_shows_each_figure_beside_the_committed_one() -> None:
    figures = [Figure("old", 1.5, "s", must=3), Figure("new", 2.5, "s")]
    lines = table(figures, {"figures": [{"name": "old", "value": 1.25}]}).splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["old", "1.5", "1.25"], ["new", "2.5", "-"]]


def test_series_of_several_units_are_drawn_in_one_picture(tmp_path: Path) -> None:
    series = [Series("tick", "ms", ((2, 1.0), (30, 1.5))), Series("ledger", "MiB", ((2, 1.0), (1826, 40.0)))]
    plot(series, tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
