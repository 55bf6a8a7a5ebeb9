"""A lake in a folder of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream_assets.lake.store import Lake
from stream_assets.testing.lakes import LakeCase
from stream_assets.testing.partitions import NOW

MEMORY = Path("/dev/shm")


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """Where syncing costs nothing, if there is such a place: for tests that publish hundreds of times."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="stream_assets-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def open_lake(tmp_path: Path) -> Callable[[], Lake]:
    """Opens the test's lake, as another process would."""
    return lambda: lake_in(tmp_path)


@pytest.fixture
def lake(open_lake: Callable[[], Lake]) -> Lake:
    return open_lake()


def lake_in(folder: Path) -> Lake:
    """Return the lake in `folder` with its tables registered."""
    return LakeCase(lambda **_: Lake.open(folder / "lake", "UTC", NOW, start="2026-03-01")).lake()
