"""An instance that has heard of all partitions of a lake, without one event at a time, which takes an hour for 90,000."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from stream_assets.core.window import TimeWindow
from stream_assets.defs.names import Names
from stream_assets.defs.runless import materialization

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from stream_assets.pipeline import Pipeline


def tell(instance: DagsterInstance, pipeline: Pipeline, table: str = "events") -> int:
    """Report the newest partition of each table as `adopt` does, and of one of them copies of that event for all its others.

    Returns:
        How many partitions of that table there are.
    """
    everything = TimeWindow(pipeline.lake.start, pipeline.clock.now() + timedelta(days=1))
    for name in pipeline.declarations.tables:
        newest = pipeline.lake.ledger.current(name, everything)[-1]
        instance.report_runless_asset_event(materialization(pipeline, Names().key(name), newest))
    currents = pipeline.lake.ledger.current(table, everything)
    grain = pipeline.table(table).grain
    keys = [pipeline.calendar.key(current.span, grain) for current in currents]
    home = Path(instance.root_directory)
    with sqlite3.connect(home / "history" / "runs" / "index.db") as database:
        copied = "run_id, replace(event, :known, :key), dagster_event_type, timestamp, step_key, asset_key, :key"
        database.executemany(
            "insert into event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)"
            f" select {copied} from event_logs where asset_key = :asset and partition = :known and dagster_event_type = 'ASSET_MATERIALIZATION'",
            [{"asset": f'["{table}"]', "known": keys[-1], "key": key} for key in keys[:-1]],
        )
    database.close()
    return len(keys)
