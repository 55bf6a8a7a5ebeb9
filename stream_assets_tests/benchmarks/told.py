"""An instance that has heard of all partitions of a lake, without one event at a time, which takes an hour for 90,000."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from stream_assets.core.window import TimeWindow
from stream_assets.defs.names import Names
from stream_assets.defs.runless import materialization

if TYPE_CHECKING:
    import dagster as dg

    from stream_assets.pipeline import Pipeline

PLAIN = "plain"
"""An asset of the same partitions without anything of ours."""


def tell(instance: dg.DagsterInstance, pipeline: Pipeline, table: str = "events") -> int:
    """Report the newest partition of each table as `adopt` does, and of one of them, and of `PLAIN`, all others as copies.

    Returns:
        How many partitions of that table there are.
    """
    import dagster as dg

    grain, lake = pipeline.table(table).grain, pipeline.lake
    everything = TimeWindow(lake.start, pipeline.clock.now() + timedelta(days=1))
    newest = {name: lake.ledger.current(name, everything)[-1] for name in pipeline.declarations.tables}
    # Those too whose files have gone since: Dagster goes on knowing them.
    told = TimeWindow(lake.windows_from if grain == "5 min" else lake.start, newest[table].span.end)
    keys = [pipeline.calendar.key(partition, grain) for partition in pipeline.calendar.partitions(told, grain)]
    for name, current in newest.items():
        instance.report_runless_asset_event(materialization(pipeline, Names().key(name), current))
    instance.report_runless_asset_event(materialization(pipeline, dg.AssetKey(PLAIN), newest[table]))
    for asset in (table, PLAIN):
        _copy(Path(instance.root_directory), asset, keys)
    return len(keys)


def _copy(home: Path, asset: str, keys: Sequence[str]) -> None:
    """Write the event of the last key of an asset for all the others."""
    with sqlite3.connect(home / "history" / "runs" / "index.db") as database:
        copied = "run_id, replace(event, :known, :key), dagster_event_type, timestamp, step_key, asset_key, :key"
        database.executemany(
            "insert into event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)"
            f" select {copied} from event_logs where asset_key = :asset and partition = :known and dagster_event_type = 'ASSET_MATERIALIZATION'",
            [{"asset": f'["{asset}"]', "known": keys[-1], "key": key} for key in keys[:-1]],
        )
    database.close()
