"""The benchmarks run from end to end, on little data. What they measure is not asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stream_assets_tests.benchmarks.figure import Figure, as_table

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
        "tick_command_line_arrow",
        "dagster_run_ratio",
        "planner_tick_ratio",
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
        Figure("said", 3.5, "s"),
    ]
    assert [figure.reached for figure in figures] == [True, False, False, None]
    assert [figure.verdict for figure in figures] == ["reached", "not yet", "MISSED", ""]
    assert len(as_table(figures).splitlines()) == 5
