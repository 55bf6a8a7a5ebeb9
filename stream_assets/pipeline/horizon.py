"""How far back 5-minute partitions reach: how many keys that makes, and whether they may begin later."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import RECORDS
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.errors import UsageError

if TYPE_CHECKING:
    from stream_assets.core.declaration import Table
    from stream_assets.pipeline.pipeline import Pipeline

MANY_KEYS, MOST_KEYS = 90_000, 100_000
"""Dagster recommends at most 100,000 partitions an asset."""

_DAY = timedelta(days=1)


def tables(pipeline: Pipeline) -> list[Table]:
    """Return the declared tables of 5-minute grain."""
    return [table for table in pipeline.declarations.tables.values() if table.grain == "5 min"]


def names(pipeline: Pipeline) -> list[str]:
    """Return the names of all tables of 5-minute grain that the lake has met, whoever declares them."""
    return sorted(name for name, grain in pipeline.lake.ledger.tables().items() if grain == "5 min")


def keys(pipeline: Pipeline) -> int:
    """Return how many keys each of them has now: those of a finished history end with it."""
    now, end = pipeline.clock.now(), _end(pipeline)
    return max(timedelta(0), min(now, end or now) - pipeline.lake.windows_from) // GRID


def usual(pipeline: Pipeline) -> datetime:
    """Return where keys begin if nobody says otherwise: the newest 300 days have them, as in a lake that is made now."""
    newest = pipeline.lake.newest_windows(_end(pipeline), pipeline.clock.now())
    return max(pipeline.lake.windows_from, newest)


def reached(pipeline: Pipeline, count: int) -> date | None:
    """Return the day on which there will be so many keys, or were; None where the history ends before."""
    when, end = pipeline.lake.windows_from + count * GRID, _end(pipeline)
    return pipeline.calendar.day_of(when) if end is None or when <= end else None


def _end(pipeline: Pipeline) -> datetime | None:
    end = pipeline.declarations.end
    return pipeline.calendar.midnight(end) if end else None


def latest(pipeline: Pipeline) -> datetime:
    """Return the latest day that keys may begin on: the first of the live span, for whatever has windows."""
    rule = pipeline.rule()
    starts: list[datetime] = []
    for table in tables(pipeline):
        closed = max(1, table.consumer.cadence.step // _DAY) if table.consumer else 1
        open_from = pipeline.calendar.day_of(rule.horizon(table).open_from)
        starts.append(pipeline.calendar.midnight(open_from - closed * _DAY))
    return min(starts)


def advance(pipeline: Pipeline, to: datetime) -> None:
    """Let 5-minute partitions begin on the day that starts at `to`. Idempotent, and atomic.

    Files stay, and are read as before. What lies before is not wanted any more: its events are in days alone, and late
    ones heal these. Whether Dagster is about to fill a key that goes is asked before this.

    Raises:
        UsageError: terminal; see `refuse`. Nothing has changed.
        LakeError: terminal; the lake is a copy, or cannot be written.
    """
    pipeline.lake.refuse_copy()
    pipeline.lake.advance(to, lambda: refuse(pipeline, to))


def refuse(pipeline: Pipeline, to: datetime) -> None:
    """Say why 5-minute partitions cannot begin at `to`; nothing where they can, or do.

    Raises:
        UsageError: terminal; no local midnight, before where they begin, in the live span, after a closed day that is
            not sealed, or work is in flight that touches what would go.
    """
    calendar, first = pipeline.calendar, pipeline.lake.windows_from
    day = calendar.day_of(to)
    if calendar.midnight(day) != to:
        raise UsageError(
            f"{to:%Y-%m-%dT%H:%M:%SZ} is no local midnight in {calendar.zone}: name a day, like {calendar.day_of(first)}"
        )
    if to < first:
        raise UsageError(
            f"5-minute keys begin on {calendar.day_of(first)}, and never earlier again: name a later day than {day}"
        )
    live = latest(pipeline)
    if to > max(first, live):
        raise UsageError(
            f"the live span begins on {calendar.day_of(live)}, and its windows are needed: name that day or one before, not {day}"
        )
    gone = TimeWindow(first, to)
    _refuse_unsealed(pipeline, gone)
    grains = pipeline.lake.ledger.tables()
    for work in pipeline.lake.ledger.work.in_flight(pipeline.clock.now()):
        # What others have begun and the lake has not met yet may be of any grain.
        filled = [name for name in work.tables if name != RECORDS and grains.get(name) != "day"]
        if filled and work.span.overlaps(gone):
            raise UsageError(
                f"{', '.join(filled)} {work.span} is being filled, and windows of it would go: wait until it is done "
                "(`stream-assets status`), and try again"
            )


def _refuse_unsealed(pipeline: Pipeline, gone: TimeWindow) -> None:
    """Let no window go whose events are in no sealed day."""
    rule = pipeline.rule()
    for stream in pipeline.declarations.streams:
        days = pipeline.declarations.tables[stream.daily]
        needed = rule.wanted(days) | rule.state.table(stream.name).coverage
        lacking: Intervals = needed.clip(gone) - rule.state.table(stream.daily).coverage
        if lacking:
            unsealed = [day for span in lacking for day in pipeline.calendar.days(span)]
            key = pipeline.calendar.key(unsealed[0], "day")
            more = f" (and {len(unsealed) - 1} more)" if len(unsealed) > 1 else ""
            raise UsageError(
                f"{stream.daily} {key}{more} is not sealed, so its windows may be all that there is of it: `stream-assets run` "
                f"seals it, and `stream-assets accept-gap {stream.daily} --from {key}` where its data is gone for good; or "
                "name a day up to that one"
            )
