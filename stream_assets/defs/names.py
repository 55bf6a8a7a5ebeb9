"""What one set of definitions is called in Dagster, and the tags that its runs carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from stream_assets.core.declaration import Table
from stream_assets.core.planning import Work
from stream_assets.core.window import GRID, Calendar, TimeWindow

DEFAULT = "stream_assets"
WORK_TAG = "stream_assets/work"
WHY_TAG = "stream_assets/why"
BACKFILL_TAG = "dagster/backfill"
PARTITION = "dagster/partition"
RUN_KEY = "dagster/run_key"
LOCATION = "dagster/code_location"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PRIORITY = "dagster/priority"
RUN_RETRIES = "dagster/max_retries"
FAILED_PARTITIONS = "failed_partitions"
"""Under which a step that fails names its partitions that did."""
_TAG_LENGTH = 250


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one project's definitions; with a `name` of its own everything is prefixed by it."""

    name: str = DEFAULT
    key_prefix: tuple[str, ...] = ()

    def prefixed(self, name: str) -> str:
        """Return the name of an automation, a job or a resource."""
        return name if self.name == DEFAULT else f"{self.name}_{name}"

    def key(self, table: str) -> dg.AssetKey:
        """Return the asset key of a table."""
        return dg.AssetKey([*self.key_prefix, table])

    def source(self, stream: str) -> str:
        """Return the name of the resource that is the source of `stream`."""
        return self.prefixed(f"{stream}_source")

    @property
    def lake(self) -> str:
        """Name of the lake's resource."""
        return self.prefixed("lake")


def run_tags(work: Work, request: int, calendar: Calendar) -> Mapping[str, str]:
    """Return the tags of a range run that does `work`."""
    last = calendar.partitions(TimeWindow(work.span.end - GRID, work.span.end), work.grain)[-1]
    return {
        RANGE_START: calendar.key(work.span, work.grain),
        RANGE_END: calendar.key(last, work.grain),
        PRIORITY: str(work.priority),
        # Retries are the planner's, which knows transient from terminal, also where the instance has them on.
        RUN_RETRIES: "0",
        WORK_TAG: str(request),
        WHY_TAG: work.reason[:_TAG_LENGTH],
    }


def lake_tag(lake_id: str) -> str:
    """Return what the run keys of one lake begin with."""
    return lake_id[:8] + ":"


def group_of(table: Table, group: str | None) -> str:
    """Return the group that a table is shown in."""
    if table.consumer and table.consumer.group:
        return table.consumer.group
    return group or ("streams" if table.stream else "consumers")
