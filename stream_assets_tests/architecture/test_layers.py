"""Folder order is import order, and what a user imports first stays light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("dagster", "pandas", "pyarrow", "duckdb", "numpy", "click")


def python(code: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_the_import_contracts_hold() -> None:
    done = python("from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))")
    assert (done.returncode, " kept, 0 broken" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "stream_assets",
        "stream_assets.core.planning",
        "stream_assets.consumers.revenue_dashboard",
        "stream_assets.consumers.fraud_alerts",
    ],
)
def test_importing_loads_nothing_heavy(module: str) -> None:
    done = python(f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])")
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


def test_core_needs_the_standard_library_alone() -> None:
    code = (
        "import pkgutil, sys, importlib, stream_assets.core as core\n"
        "before = set(sys.modules)\n"
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(core.__path__, 'stream_assets.core.')]\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(new - sys.stdlib_module_names - {'stream_assets'}))"
    )
    done = python(code)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr
