"""Settings of the whole suite: no test depends on how fast the machine is, and CI draws the same examples each time."""

from __future__ import annotations

import gc
import os

from hypothesis import settings

settings.register_profile("suite", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later collection of garbage: a tenth of the suite's time."""
    gc.collect()
    gc.freeze()
