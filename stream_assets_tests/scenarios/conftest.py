"""The world of every scenario: a lake in memory where the machine has a folder for that, since stories are not about disks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stream_assets_tests.scenarios.world import World

MEMORY = Path("/dev/shm")


@contextmanager
def lakes() -> Iterator[Callable[..., World]]:
    folder = Path(tempfile.mkdtemp(prefix="scenario-", dir=MEMORY if MEMORY.is_dir() else None))
    count = iter(range(100))

    def make(*consumers: Any, **options: Any) -> World:
        return World(folder / f"lake{next(count)}", *consumers, **options)

    try:
        yield make
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def world() -> Iterator[Callable[..., World]]:
    """Make a world; each call is another lake."""
    with lakes() as make:
        yield make


@pytest.fixture(scope="module")
def shared_world() -> Iterator[Callable[..., World]]:
    """The same, for a world that several tests only look at."""
    with lakes() as make:
        yield make
