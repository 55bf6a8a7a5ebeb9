"""Asks a Dagster instance what it is about to fill: `python -m stream_assets.defs.targets HOME ZONE BEFORE TABLE...`.

A backfill whose keys go while it is in progress fails as a whole, so these are looked for before keys go.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

import dagster as dg
from dagster._core.execution.backfill import (
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)

from stream_assets.core.window import Calendar
from stream_assets.defs.lost import ENDED
from stream_assets.defs.names import PARTITION, RANGE_START
from stream_assets.errors import UsageError

_RUNS = dg.RunsFilter(statuses=[status for status in dg.DagsterRunStatus if status not in ENDED])
_BACKFILLS = BulkActionsFilter(statuses=[s for s in BulkActionStatus if s not in BULK_ACTION_TERMINAL_STATUSES])


def targets(
    instance: dg.DagsterInstance, tables: Collection[str], calendar: Calendar, before: datetime
) -> Iterator[str]:
    """Yield a sentence on each run and backfill in progress that has a 5-minute key from `before` that instant.

    Assets are known by the last part of their key, whatever its prefix is: those of another lake in the same instance
    count too, which is a reason to wait and never one to go on.
    """
    for run in instance.get_runs(filters=_RUNS):
        assets = None if run.asset_selection is None else _of(run.asset_selection, tables)
        starts = [run.tags[tag] for tag in (PARTITION, RANGE_START) if tag in run.tags]
        if assets != [] and _has_before(starts, calendar, before):
            about = ", ".join(key.to_user_string() for key in assets or ()) or run.job_name
            yield f"run {run.run_id[:8]} ({run.status.value.lower()}) fills {about} from {min(starts)}"
    for backfill in instance.get_backfills(filters=_BACKFILLS):
        yield from _backfill(backfill, tables, calendar, before)


def _backfill(
    backfill: PartitionBackfill, tables: Collection[str], calendar: Calendar, before: datetime
) -> Iterator[str]:
    said = f"backfill {backfill.backfill_id} ({backfill.status.value.lower()})"
    data = backfill.asset_backfill_data
    if data is None:
        # Of a job: it names its keys, and not its assets.
        if _has_before(backfill.partition_names or (), calendar, before):
            yield f"{said} fills 5-minute keys"
        return
    subsets = data.target_subset.partitions_subsets_by_asset_key
    for key in _of(subsets, tables):
        if _has_before(subsets[key].get_partition_keys(), calendar, before):
            yield f"{said} fills {key.to_user_string()}"


def _of(keys: Iterable[dg.AssetKey], tables: Collection[str]) -> list[dg.AssetKey]:
    return sorted(key for key in keys if key.path[-1] in tables)


def _has_before(keys: Iterable[str], calendar: Calendar, before: datetime) -> bool:
    return any(_is_before(key, calendar, before) for key in keys)


def _is_before(key: str, calendar: Calendar, before: datetime) -> bool:
    try:
        return calendar.parse_key(key, "5 min").start < before
    except UsageError:
        return False  # a day, or of another lake


def main(arguments: list[str]) -> None:
    """Print what was found as one JSON list."""
    home, zone, before, *tables = arguments
    with dg.DagsterInstance.from_config(home) as instance:
        found = list(targets(instance, tables, Calendar(zone), datetime.fromisoformat(before)))
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
