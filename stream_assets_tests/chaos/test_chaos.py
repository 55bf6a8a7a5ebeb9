"""The short form of `make chaos`: the same processes and faults for some seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SECONDS = 14
NOTHING = ("lost", "doubled", "changed", "torn", "forgotten", "by_ledger_wrong", "raised", "engine_errors")


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "stream_assets_tests.chaos",
        "--json",
        "--seed",
        "7",
        "--minutes",
        str(SECONDS / 60),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    kept = tmp_path_factory.mktemp("chaos")
    done = subprocess.run(
        [*command, "--keep", str(kept)], env=environment, capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_nothing_is_lost_doubled_or_torn(figures: dict[str, Any]) -> None:
    assert {name: figures[name] for name in NOTHING} == dict.fromkeys(NOTHING, 0)
    assert figures["differences"] == []
    assert figures["good"]


def test_it_was_a_storm(figures: dict[str, Any]) -> None:
    assert figures["kills"] > 10
    assert figures["stops"] > 0
    assert figures["polls"] > 20
    assert figures["publications"] > 100
    assert all(figures["polls_of_each"].values())
