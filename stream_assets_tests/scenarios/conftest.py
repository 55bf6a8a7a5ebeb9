"""The world of every scenario: a lake in memory where the machine has a folder for that, since stories are not about disks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stream_assets_tests.scenarios.buyers import dashboard
from stream_assets_tests.scenarios.world import World

MEMORY = Path("/dev/shm")


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="scenario-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def lakes() -> Iterator[Callable[..., World]]:
    count = iter(range(100))
    with _folder() as folder:
        yield lambda *consumers, **options: World(folder / f"lake{next(count)}", *consumers, **options)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, where there is such a place."""
    with _folder() as folder:
        yield folder


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


@pytest.fixture
def torn(world) -> World:
    """The third hour of the open day has two windows that cannot be read, so that its consumers wait."""
    w = world(dashboard, now="2026-03-11 00:02", start="2026-03-11")
    w.shop.break_(w.instant("2026-03-11 00:20"), w.instant("2026-03-11 00:30"))
    w.live("2026-03-11 00:51", every="15 min")
    assert len(w.failures("events")) == 2
    return w
