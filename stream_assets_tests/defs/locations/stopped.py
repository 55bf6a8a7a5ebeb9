"""A day that is over, and a consumer whose run is told to stop in the middle: it slows down once it has published some."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from stream_assets import Project, Stream, consumer
from stream_assets.defs import build_definitions
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets_tests.defs.locations.declared import LAKES

if TYPE_CHECKING:
    import pyarrow as pa

EXECUTOR = "TEST_EXECUTOR"
"""Variable that names the executor of the runs."""
EXECUTORS = {"in process": dg.in_process_executor, "a process a step": dg.multiprocess_executor}
QUICK = 60
"""Partitions are published 48 at a time."""


@consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id"]})
def slow(events: pa.Table) -> pa.Table:
    """Takes its time for all but the first, until it is let go."""
    import pyarrow as pa

    made = Path(os.environ[LAKES]) / "made"
    with made.open("a") as count:
        count.write(".")
    if made.stat().st_size > QUICK and not made.with_name("go").exists():
        time.sleep(1)
    return pa.table({"events": [events.num_rows]})


def project(lakes: Path) -> Project:
    """Return the project of one day in 2023."""
    source = SyntheticEvents(rate=0.02, late_share=0.0, lateness=timedelta(seconds=30))
    stream = Stream("events", source=source, end="2023-09-02")
    return Project((stream,), lake=str(lakes / "stopped"), start="2023-09-01")


if EXECUTOR in os.environ:
    defs = build_definitions(project(Path(os.environ[LAKES])), [slow], executor=EXECUTORS[os.environ[EXECUTOR]])
