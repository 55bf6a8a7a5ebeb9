"""Partitions of both grains, in the lake's time zone, and how one grain maps to the other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

import dagster as dg

from stream_assets.core.window import Calendar, Grain


@dataclass(frozen=True)
class Partitions:
    """The two partitions definitions of a lake: 5-minute windows and local days, today included."""

    windows: dg.TimeWindowPartitionsDefinition
    days: dg.DailyPartitionsDefinition

    @classmethod
    def of(cls, zone: str, start: datetime, windows_from: datetime, end: date | None = None) -> Partitions:
        """Return the partitions of a lake that keeps days from `start` and windows from `windows_from`, all before `end`."""
        local = ZoneInfo(zone)
        windows = dg.TimeWindowPartitionsDefinition(
            cron_schedule="*/5 * * * *",
            start=windows_from.astimezone(local).strftime(WINDOW_FORMAT),
            end=Calendar(zone).midnight(end).astimezone(local).strftime(WINDOW_FORMAT) if end else None,
            fmt=WINDOW_FORMAT,
            timezone=zone,
        )
        days = dg.DailyPartitionsDefinition(
            start_date=start.astimezone(local).strftime("%Y-%m-%d"),
            end_date=str(end) if end else None,
            timezone=zone,
            end_offset=1,
        )
        return cls(windows, days)

    def of_grain(self, grain: Grain) -> dg.TimeWindowPartitionsDefinition:
        """Return the partitions of `grain`."""
        return self.windows if grain == "5 min" else self.days


WINDOW_FORMAT = "%Y-%m-%dT%H:%M%z"


def mapping(downstream: Grain, upstream: Grain, lookback_days: int = 0) -> dg.PartitionMapping | None:
    """Return how partitions of one grain read those of another; None where each reads its namesake."""
    if downstream == upstream and not lookback_days:
        return None
    return dg.TimeWindowPartitionMapping(start_offset=-lookback_days, allow_nonexistent_upstream_partitions=True)
