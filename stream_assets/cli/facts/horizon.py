"""Where 5-minute keys begin, and what goes if they begin later."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from stream_assets.cli.facts.values import at
from stream_assets.core.window import GRID, TimeWindow

if TYPE_CHECKING:
    from stream_assets.pipeline.pipeline import Pipeline


def horizon_facts(pipeline: Pipeline) -> dict[str, Any]:
    """Return where keys begin now, how many there are, and when there are too many."""
    from stream_assets.pipeline.horizon import MANY_KEYS, MOST_KEYS, keys, reached, tables

    first = pipeline.lake.windows_from
    return {
        "timezone": pipeline.calendar.zone,
        "windows_from": at(first),
        "first_key": _key(pipeline, first),
        "keys": keys(pipeline),
        "tables": [t.name for t in tables(pipeline)],
        "many_keys": MANY_KEYS,
        "many_keys_on": _day(reached(pipeline, MANY_KEYS)),
        "most_keys": MOST_KEYS,
        "most_keys_on": _day(reached(pipeline, MOST_KEYS)),
    }


def move_facts(pipeline: Pipeline, to: datetime) -> dict[str, Any]:
    """Return what becomes of the keys if they begin at `to`, and what stands against it."""
    from stream_assets.errors import UsageError
    from stream_assets.pipeline.horizon import keys, refuse

    first = pipeline.lake.windows_from
    refused = None
    try:
        refuse(pipeline, to)
    except UsageError as error:
        refused = str(error)
    removed = min(keys(pipeline), max(0, (to - first) // GRID))
    return {
        "day": str(pipeline.calendar.day_of(to)),
        "first_key": _key(pipeline, to),
        "removed_keys": removed,
        "keys": keys(pipeline) - removed,
        "refused": refused,
    }


def _day(day: date | None) -> str | None:
    return str(day) if day else None


def _key(pipeline: Pipeline, start: datetime) -> str:
    return pipeline.calendar.key(TimeWindow(start, start + GRID), "5 min")
