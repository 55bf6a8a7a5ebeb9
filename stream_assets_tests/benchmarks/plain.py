"""What Dagster's pages cost anyhow: an asset of a lake's windows and nothing else, as a code location of its own."""

from __future__ import annotations

import os

import dagster as dg

from stream_assets.defs.partitions import Partitions
from stream_assets.project import project
from stream_assets_tests.benchmarks.told import PLAIN

_LAKE = project.with_environment(os.environ).open([]).lake


@dg.asset(name=PLAIN, partitions_def=Partitions.of("UTC", _LAKE.start, _LAKE.windows_from).windows)
def _nothing() -> None: ...


defs = dg.Definitions([_nothing])
