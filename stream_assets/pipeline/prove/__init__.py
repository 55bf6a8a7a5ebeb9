"""Proves that a consumer's table is the same at every cadence: the lanes live through the same history side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa

from stream_assets.core.declaration import Consumer, Declarations
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.errors import UsageError
from stream_assets.pipeline.observe import ledger_state
from stream_assets.pipeline.prove.history import LakeEvents
from stream_assets.pipeline.prove.lanes import LANES, History, Lane, Lived, live
from stream_assets.pipeline.site import Site
from stream_assets.pipeline.verify.values import Unequal, compare_rows

__all__ = ["LANES", "Lane", "LaneDifference", "LaneFacts", "Proof", "newest_day", "prove"]


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """What one lane did. `partitions` and `rows` are those of the span; runs and publications include its lookback."""

    name: str
    partitions: int
    rows: int
    runs: int
    publications: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class LaneDifference:
    """A partition that a lane made otherwise than the first lane, or not at all; `rows` names up to ten rows.

    Attributes:
        is_failure: whether it says why a lane has not made something; of what that is nothing can be proved.
    """

    lane: str
    span: TimeWindow
    said: str
    rows: tuple[str, ...] = ()
    is_failure: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """What the lanes made of the same events.

    Attributes:
        events: in the span and its lookback, of all streams that are read.
        late: events of them that arrived after their window had settled, by arrival and window.
    """

    consumer: str
    span: TimeWindow
    events: int
    late: int
    lanes: tuple[LaneFacts, ...]
    differences: tuple[LaneDifference, ...]

    @property
    def is_equal(self) -> bool:
        """Whether every lane made the same rows."""
        return not self.differences


def newest_day(site: Site, consumer: Consumer) -> TimeWindow:
    """Return the newest closed day of a consumer.

    Raises:
        UsageError: terminal; no day of the lake has closed yet.
    """
    end = _closed_until(site, consumer)
    days = site.lake.calendar.days(TimeWindow(site.lake.start, end)) if end > site.lake.start else []
    if not days:
        raise UsageError(f"{consumer.name}: no day of the lake has closed yet, so there is nothing to prove with")
    return days[-1]


def _closed_until(site: Site, consumer: Consumer) -> datetime:
    rule = site.rule(ledger_state(site))
    return rule.horizon(site.declarations.tables[consumer.name]).open_from


def prove(
    site: Site,
    consumer: Consumer,
    span: TimeWindow,
    step: Callable[[], None] = lambda: None,
    *,
    lanes: Sequence[Lane],
) -> Proof:
    """Let each lane compute `span` from the lake's sealed events, as they arrived, and compare what they made by value.

    The lanes work in scratch lakes under a temporary folder, which is removed; the lake is only read.

    Args:
        site: whose lake has the events.
        consumer: which is proved, with all that it reads.
        span: whole days that have closed.
        step: called after each look of each lane.
        lanes: the first is what the others are compared with.

    Raises:
        UsageError: terminal; days that are open, or whose events are not sealed.
    """
    history = _history(site, consumer, span)
    with tempfile.TemporaryDirectory(prefix="stream_assets-prove-") as folder:
        lived = [live(history, lane, Path(folder) / str(number), step) for number, lane in enumerate(lanes)]
        differences = [d for other in lived[1:] for d in _differences(consumer, history, lived[0], other)]
        differences += [
            LaneDifference(one.lane.name, span, error, is_failure=True)
            for one in lived
            for error in dict.fromkeys(one.failures)
        ]
        facts = tuple(_facts(consumer, span, one) for one in lived)
    # The days have closed, so each of their files is wanted whole.
    events = sum(f.current.rows for s in history.sources for f in site.lake.files(s.stream, history.read))
    late = sum(len(s.late) for s in history.sources)
    return Proof(consumer.name, span, events, late, facts, tuple(differences))


def _history(site: Site, consumer: Consumer, span: TimeWindow) -> History:
    calendar = site.lake.calendar
    if not span or any(calendar.day_around(edge).start != edge for edge in (span.start, span.end)):
        raise UsageError(f"{consumer.name}: the range {span} is not made of whole days, which alone are proved")
    if span.end > _closed_until(site, consumer):
        raise UsageError(
            f"{consumer.name}: the range ends at {calendar.day_of(span.end)}, which has not closed yet: only closed days are proved"
        )
    read = TimeWindow(max(site.lake.start, _first(site, consumer, span.start)), span.end)
    streams = [site.declarations.stream(name) for name in site.declarations.streams_of(consumer.name)]
    for stream in streams:
        sealed = site.ledger.coverage(stream.name) | site.ledger.coverage(stream.daily)
        if not sealed.covers(read):
            raise UsageError(
                f"{consumer.name} is made of {stream.name!r} in {read}, which is not sealed in {Intervals.of(read) - sealed}: "
                "`stream-assets run` fills it"
            )
    sources = tuple(LakeEvents.of(site.lake, s.name, read, s.settling) for s in streams)
    return History(calendar, span, read, sources, tuple(_needed(site.declarations, consumer)))


def _first(site: Site, consumer: Consumer, start: datetime) -> datetime:
    """Return the start of the first day that is needed for what `consumer` makes from `start` on, through its inputs too."""
    calendar, declared = site.lake.calendar, site.declarations
    days = -(-consumer.lookback // timedelta(days=1))
    first = calendar.midnight(calendar.day_of(start) - timedelta(days=days))
    upstream = (declared.consumer(name) for name in consumer.inputs if not declared.is_stream(name))
    return min([first, *(_first(site, other, first) for other in upstream)])


def _needed(declared: Declarations, consumer: Consumer) -> Iterator[Consumer]:
    """Yield the consumers that `consumer` is made of, each once, inputs first and itself last."""
    wanted: set[str] = {consumer.name}
    for name in reversed(declared.order):
        if name in wanted and declared.tables[name].consumer:
            wanted |= set(declared.consumer(name).inputs)
    return (declared.consumer(n) for n in declared.order if n in wanted and declared.tables[n].consumer)


def _facts(consumer: Consumer, span: TimeWindow, one: Lived) -> LaneFacts:
    there = one.pipeline.lake.ledger.current(consumer.name, span)
    rows = sum(c.rows for c in there)
    return LaneFacts(one.lane.name, len(there), rows, one.runs, one.publications, round(one.cpu_seconds, 3))


def _differences(consumer: Consumer, history: History, first: Lived, other: Lived) -> Iterator[LaneDifference]:
    for partition in history.calendar.partitions(history.span, consumer.grain):
        should, there = (_rows(consumer, partition, one) for one in (first, other))
        if should is None or there is None:
            if (should is None) != (there is None):
                lane = first.lane.name if should is None else other.lane.name
                yield LaneDifference(other.lane.name, partition, f"the {lane} lane has not made it")
            continue
        unequal: Unequal | None = compare_rows(should, there)
        if unequal:
            yield LaneDifference(other.lane.name, partition, str(unequal), unequal.rows)


def _rows(consumer: Consumer, partition: TimeWindow, one: Lived) -> pa.Table | None:
    lake = one.pipeline.lake
    there = lake.ledger.current(consumer.name, partition)
    return lake.rows_of(there[0], lake.schema_of(there)) if there else None
