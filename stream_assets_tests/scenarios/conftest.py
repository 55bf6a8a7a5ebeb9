"""The world of every scenario: a lake in memory where the machine has a folder for that, since stories are not about disks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stream_assets_tests.scenarios.world import World

MEMORY = Path("/dev/shm")


@pytest.fixture
def lakes() -> Iterator[Path]:
    """A folder for the lakes of one test."""
    folder = Path(tempfile.mkdtemp(prefix="scenario-", dir=MEMORY if MEMORY.is_dir() else None))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def world(lakes: Path) -> Callable[..., World]:
    """Make a world; each call is another lake."""
    count = iter(range(100))

    def make(*consumers: Any, **options: Any) -> World:
        return World(lakes / f"lake{next(count)}", *consumers, **options)

    return make
