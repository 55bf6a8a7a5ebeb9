"""A copy of the repository as a clone has it, an environment without our variables, and a lake that costs little."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from stream_assets.core.clock import SystemClock
from stream_assets_tests.defs.dagster_dev import REPOSITORY
from stream_assets_tests.one_oclock import OneOClock

SCRIPTS = ("python", "dagster", "stream-assets")
TOLD = ("STREAM_ASSETS_", "DAGSTER_", "MAKE", "MFLAGS", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


def plain(**more: str) -> dict[str, str]:
    """Return this process's environment without what would tell ours or `make` anything, and `more`."""
    return {k: v for k, v in os.environ.items() if not k.startswith(TOLD)} | more


def call(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str], *, patience: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its two streams in one."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=patience,
        check=False,
    )


def copy_of_the_repository(folder: Path) -> Path:
    """Copy what git has, or would take, into a new folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    return folder


def lend_environment(folder: Path) -> Path:
    """Give a copy a `.venv` that calls this very Python, so that nothing is downloaded and ours cannot be harmed."""
    bin = folder / ".venv" / "bin"
    bin.mkdir(parents=True)
    for name in SCRIPTS:
        script = bin / name
        script.write_text(f'#!/bin/sh\nexec "{Path(sys.executable).with_name(name)}" "$@"\n')
        script.chmod(0o755)
    (folder / ".venv" / "ready").touch()
    return folder


@pytest.fixture(scope="package")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone, in which `make` has made nothing yet."""
    return copy_of_the_repository(tmp_path_factory.mktemp("bare") / "stream_assets")


@pytest.fixture(scope="package")
def now() -> OneOClock:
    """A zone in which today is young, so that its open day has few windows."""
    return OneOClock.at(SystemClock().now())


@pytest.fixture(scope="package")
def small_lake(now: OneOClock) -> dict[str, str]:
    """The variables of a lake with few events, none of them late, that starts yesterday."""
    return {
        "STREAM_ASSETS_SOURCE": "synthetic:?rate=0.1&late_share=0",
        "STREAM_ASSETS_TIMEZONE": now.zone,
        "STREAM_ASSETS_START": str(now.yesterday),
    }
