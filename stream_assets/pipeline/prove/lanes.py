"""One lane at work on history: a scratch lake, a clock that is stepped through the past, the real planner and pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from stream_assets.core.cadence import DAY_MARGIN, cadence_of
from stream_assets.core.clock import SettableClock
from stream_assets.core.declaration import Consumer
from stream_assets.core.window import GRID, Calendar, TimeWindow
from stream_assets.pipeline.observe import HEAL_EVERY
from stream_assets.pipeline.outcome import Report
from stream_assets.pipeline.pipeline import Pipeline
from stream_assets.pipeline.project import Project, Stream
from stream_assets.pipeline.prove.history import LakeEvents

_AFTER = timedelta(seconds=1)
"""An automation looks a moment after a boundary has settled."""
_MOST_HEALS = 48


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane, as the freshness that every consumer declares in it."""

    name: str
    freshness: timedelta


LANES = (Lane("batch", timedelta(days=1)), Lane("micro-batch", GRID))
"""What is compared with the first. The streaming lane belongs here as soon as it exists."""


@dataclass(frozen=True, slots=True)
class History:
    """What every lane gets to see.

    Attributes:
        span: whole days that are compared.
        read: those and the days before that they look back to.
        consumers: the one that is proved, and all that it reads.
    """

    calendar: Calendar
    span: TimeWindow
    read: TimeWindow
    sources: tuple[LakeEvents, ...]
    consumers: tuple[Consumer, ...]

    @property
    def settling(self) -> timedelta:
        """Of the slowest stream."""
        return max(s.lateness for s in self.sources)

    @property
    def until(self) -> datetime:
        """When the last day has had its turn to be sealed, and everything that belongs to the days has arrived."""
        last = max(
            (arrival for s in self.sources for arrival, w in s.late if self.read.covers(w)), default=self.read.end
        )
        return max(self.span.end + self.settling + DAY_MARGIN, last) + _AFTER

    def instants(self, lane: Lane) -> Iterator[datetime]:
        """Yield the instants at which the lane looks: once after the last day, or after every boundary of the days."""
        cadence = cadence_of(lane.freshness)
        boundary = self.span.start
        while not cadence.is_batch and boundary < self.span.end:
            boundary = cadence.next_boundary(boundary, self.calendar)
            yield boundary + self.settling + _AFTER
        yield self.until


@dataclass(frozen=True, slots=True)
class Lived:
    """What a lane did, and the lake that it left.

    Attributes:
        publications: of the consumer that is proved.
        failures: what could not be made in the end.
    """

    lane: Lane
    pipeline: Pipeline
    runs: int
    publications: int
    cpu_seconds: float
    failures: tuple[str, ...]


def live(history: History, lane: Lane, folder: Path, step: Callable[[], None]) -> Lived:
    """Let a lane live through history in a scratch lake below `folder`, until nothing is due and nothing waits.

    Args:
        history: what it gets to see, and when.
        lane: which.
        folder: of the scratch lake, which is made.
        step: called after each look.
    """
    instants = list(history.instants(lane))
    clock = SettableClock(instants[0])
    pipeline = _open(history, lane, folder, clock)
    proved = history.consumers[-1].name
    began = time.process_time()
    runs = publications = 0
    for instant in _with_heals(pipeline, instants, clock):
        clock.set(max(instant, clock.now()))
        for _, reports in pipeline.run():
            runs += 1
            publications += _published(proved, reports)
        step()
    seconds = time.process_time() - began
    failed = pipeline.lake.ledger.work.failures()
    return Lived(lane, pipeline, runs, publications, seconds, tuple(f.error for fs in failed.values() for f in fs))


def _open(history: History, lane: Lane, folder: Path, clock: SettableClock) -> Pipeline:
    calendar = history.calendar
    end = calendar.day_of(history.span.end).isoformat()
    streams = tuple(Stream(s.stream, s, end=end) for s in history.sources)
    start = calendar.day_of(history.read.start).isoformat()
    consumers = [replace(c, freshness=lane.freshness) for c in history.consumers]
    pipeline = Project(streams, lake=str(folder), timezone=calendar.zone, start=start).open(consumers, clock)
    for s in history.sources:
        # A column that came before these days or after them is one that the stream has.
        pipeline.lake.ledger.sources.know_columns(s.stream, s.lake.ledger.sources.columns(s.stream))
    return pipeline


def _with_heals(pipeline: Pipeline, instants: Sequence[datetime], clock: SettableClock) -> Iterator[datetime]:
    """Yield `instants`, and then an hour later each time for as long as something is reopened: days heal at most hourly."""
    yield from instants
    for _ in range(_MOST_HEALS):
        if not pipeline.lake.ledger.reopened.all():
            return
        yield clock.now() + HEAL_EVERY + _AFTER


def _published(table: str, reports: Sequence[Report]) -> int:
    return sum(report.count("published") for report in reports if report.table == table)
