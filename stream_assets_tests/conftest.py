"""Settings of the whole suite: no test depends on how fast the machine is, and CI draws the same examples each time."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("suite", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("suite")
