"""The one rule: what every table should contain by now, what of it is there to be made, and what is therefore due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from stream_assets.core.cadence import DAILY, DAY_MARGIN, Cadence
from stream_assets.core.declaration import Consumer, Declarations, StreamSpec, Table
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning.state import Failure, LedgerState, Reopened
from stream_assets.core.window import GRID, Calendar, TimeWindow


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far each stream and consumer is wanted.

    Attributes:
        open_from: where the open day begins: everything before it is closed.
        upto: the latest boundary that anyone wants, of any cadence.
        windows_upto: the same, of the cadences below a day; 5-minute partitions of a stream are filled up to it.
        by: the boundary of every cadence that wants it.
    """

    open_from: datetime
    upto: datetime
    windows_upto: datetime
    by: dict[Cadence, datetime]


def horizons(declarations: Declarations, state: LedgerState, calendar: Calendar, now: datetime) -> dict[str, Horizon]:
    """Return how far every stream and consumer is wanted at `now`.

    A day is open until its last window has settled and its turn to be sealed has come (`DAY_MARGIN` later).
    """
    # Many consumers are made of the same streams and wanted by the same cadences.
    alike: dict[tuple[tuple[str, ...], frozenset[Cadence]], Horizon] = {}
    found: dict[str, Horizon] = {}
    for name, cadences in declarations.demand(state.paused).items():
        streams = declarations.streams_of(name)
        if (streams, cadences) not in alike:
            specs = [declarations.stream(s) for s in streams]
            alike[streams, cadences] = _horizon(specs, cadences, state, calendar, now)
        found[name] = alike[streams, cadences]
    return found


def _horizon(
    streams: list[StreamSpec], cadences: frozenset[Cadence], state: LedgerState, calendar: Calendar, now: datetime
) -> Horizon:
    settled = min(state.watermarks.get(s.name, state.start) for s in streams)
    day_settled = min(settled, now - max(s.settling for s in streams) - DAY_MARGIN)
    # The clock passes the end of a finished history, its boundaries do not: so its last day is closed, and the
    # days after the last boundary of a cadence of several days are wanted once the next one has passed.
    end = min((calendar.midnight(s.end) for s in streams if s.end), default=max(settled, now))
    by = {c: min(end, c.last_boundary(day_settled if c.is_batch else settled, calendar)) for c in cadences}
    return Horizon(
        open_from=max(state.start, calendar.day_around(min(end, day_settled)).start),
        upto=max(by.values(), default=state.start),
        windows_upto=max((b for c, b in by.items() if not c.is_batch), default=state.start),
        by=by,
    )


def delivered(name: str, declarations: Declarations, state: LedgerState) -> Intervals:
    """Return what can be read of a stream (windows, and whole days) or of a consumer."""
    if declarations.is_stream(name):
        return state.table(name).coverage | state.table(declarations.stream(name).daily).coverage
    return state.table(name).coverage


class Rule:
    """Applies the rule to every table at one instant."""

    def __init__(self, declarations: Declarations, state: LedgerState, calendar: Calendar, now: datetime) -> None:
        self.declarations = declarations
        self.state = state
        self.calendar = calendar
        self.now = now
        self.horizons = horizons(declarations, state, calendar, now)
        self._firsts: dict[str, datetime] = {}

    def horizon(self, table: Table) -> Horizon:
        """Return how far `table` is wanted now."""
        return self.horizons[table.stream.name if table.stream else table.name]

    def owners(self, table: Table) -> frozenset[Cadence]:
        """Return the cadences that want `table`; the days of a stream are wanted daily in any case."""
        wanted = frozenset(self.horizon(table).by)
        return wanted | {DAILY} if table.stream else wanted

    def wanted(self, table: Table) -> Intervals:
        """Return what `table` should contain by now."""
        ahead = self.horizon(table)
        if table.is_days_of_stream:
            return _span(self.first(table), ahead.open_from)
        if table.stream:
            return _span(max(self.first(table), ahead.open_from), ahead.windows_upto)
        return _span(self.first(table), ahead.upto)

    def first(self, table: Table) -> datetime:
        """Return the start of the first partition of `table` that is kept, or can be made.

        A consumer's older partitions stay as they are: of what they were made from, some is gone.
        """
        if table.name not in self._firsts:
            self._firsts[table.name] = self._first(table)
        return self._firsts[table.name]

    def _first(self, table: Table) -> datetime:
        begin = self.state.windows_from if table.grain == "5 min" else self.state.start
        if table.stream:
            return max(begin, self.kept_from(table.stream))
        assert table.consumer is not None
        kept = [k for name in table.consumer.inputs if (k := self._readable_from(name)) > self.state.start]
        reached = (reach(TimeWindow(k - GRID, k), table, self.calendar).end for k in kept)
        return max([begin, *reached])

    def _readable_from(self, name: str) -> datetime:
        """Return from when on an input is there, as far as something of it went: the lake's start where nothing did."""
        if self.declarations.is_stream(name):
            return self.kept_from(self.declarations.stream(name))
        table = self.declarations.tables[name]
        first, there = self.first(table), self.state.table(name).coverage.hull
        is_whole = first <= (self.state.windows_from if table.grain == "5 min" else self.state.start)
        return self.state.start if is_whole else min(first, there.start) if there else first

    def kept_from(self, stream: StreamSpec) -> datetime:
        """Return local midnight of the first day of `stream` that is kept: no day before it is there, or it is to go.

        What has been removed once is not wanted again, also where more is kept from now on.
        """
        removed = self.state.kept_from.get(stream.name, self.state.start)
        return max(removed, self.kept_for(stream, stream.keep.events) or removed)

    def kept_for(self, stream: StreamSpec, kept: timedelta | None) -> datetime | None:
        """Return local midnight of the first day that is no older than `kept`; None for what is kept for ever.

        Age is counted from the newest day with events, so that neither a clock that runs ahead nor an idle source removes any.
        """
        newest = self.state.newest.get(stream.name)
        if kept is None or newest is None:
            return None
        return self.calendar.day_around(min(self.now, newest) - kept).start

    def not_made(self, name: str) -> Intervals:
        """Return what a lookback does not wait for: the windows of a consumer before the first. What is there is read."""
        table = self.declarations.tables[name]
        is_given_up = table.consumer is not None and table.grain == "5 min"
        return _span(self.state.start, self.state.windows_from) if is_given_up else Intervals()

    def due(
        self, table: Table, extra: Mapping[str, Intervals] = MappingProxyType({}), *, at_once: bool = False
    ) -> Intervals:
        """Return the partitions of `table` that are due, in flight and blocked ones left out.

        Args:
            table: the table asked about.
            extra: spans of inputs that the same run fills before this table's turn, by stream or consumer.
            at_once: whether what was reopened since the last boundary counts too: a run that has begun takes it along.
        """
        known = self.state.table(table.name)
        wanted = self.wanted(table)
        if not wanted:
            return Intervals()
        lacking = wanted - known.coverage
        if table.stream and not table.is_days_of_stream:
            lacking -= self.state.table(table.stream.daily).coverage
        again = (self._again(table, at_once=at_once) | known.outdated) & wanted & known.coverage
        if not lacking and not again:
            return Intervals()
        there = self._available(table, self._whole(table, lacking | again) & wanted, extra)
        new = there & lacking
        found = self._whole(table, new | (again & there)) - self.in_flight(table)
        waiting = [f for f in known.failures if self.blocks(f, table, new)]
        paused = self._whole(table, Intervals.union_of(f.span for f in waiting if not f.transient))
        later = self._whole(table, Intervals.union_of(f.span for f in waiting if f.transient)) - paused
        # What waits beside something that is due rides with it: an outage stays one range, not one run a partition.
        together = (found - paused) - later
        return Intervals(tuple(s for s in found - paused if together.clip(s)))

    def _available(self, table: Table, asked: Intervals, extra: Mapping[str, Intervals]) -> Intervals:
        """Return the part of `asked` that the table's inputs allow now.

        The open day takes what is delivered; a closed day waits for all of it, lookback included.
        """
        if table.consumer is None:
            return asked
        there = asked
        for name in table.consumer.inputs:
            there &= self._readable(name, extra)
        closed = _span(self.state.start, self.horizon(table).open_from)
        return (there - closed) | self._complete(table, table.consumer, there & closed, extra)

    def _complete(
        self, table: Table, consumer: Consumer, there: Intervals, extra: Mapping[str, Intervals]
    ) -> Intervals:
        """Return the closed partitions in `there` of which all inputs are readable."""
        if table.grain == "day":
            there = Intervals.union_of(d for s in there for d in self.calendar.days(s) if s.covers(d))
        if not consumer.lookback or not there.hull:
            return there
        read = Intervals.of(lookback_span(there.hull, table, self.state.start, self.calendar))
        holes = read
        for name in consumer.inputs:
            holes &= self._readable(name, extra) | self.not_made(name)
        holes = read - holes
        return there - Intervals.union_of(reach(hole, table, self.calendar) for hole in holes)

    def _readable(self, name: str, extra: Mapping[str, Intervals]) -> Intervals:
        return delivered(name, self.declarations, self.state) | extra.get(name, Intervals())

    def reopened(self, table: Table) -> tuple[Reopened, ...]:
        """Return what of `table` is no longer right, where it is there; what is reopened of a stream stands for its days too."""
        return self.state.table(table.stream.name if table.stream else table.name).reopened

    def _again(self, table: Table, *, at_once: bool) -> Intervals:
        ahead = self.horizon(table)
        settling = self.declarations.settling(table.stream.name if table.stream else table.name)
        spans: list[TimeWindow] = []
        # A day is healed whole: what failed in it and is due does not take along what has to wait.
        later = (r.span for r in self.reopened(table) if r.since <= self.now < r.not_before)
        held = self._whole(table, Intervals.union_of(later)) if table.is_days_of_stream else Intervals()
        for item in self.reopened(table):
            # What waits since a moment to come was recorded before the clock was set back, and so was its wait.
            if item.since <= self.now < item.not_before:
                continue
            # In the open day it rides the next run of the cadence: a boundary must have settled since.
            waits = not at_once and not table.is_days_of_stream and item.since >= ahead.upto + settling
            end = min(item.span.end, max(item.span.start, ahead.open_from)) if waits else item.span.end
            spans.append(TimeWindow(item.span.start, end))
        return Intervals.union_of(spans) - held

    def healed_from(self, table: Table, window: TimeWindow) -> datetime:
        """Return from when on a run takes in what is reopened in `window`: now, or once a boundary or a wait has passed."""
        ahead = self.horizon(table)
        settling = self.declarations.settling(table.stream.name if table.stream else table.name)
        found = [self.now]
        for item in (r for r in self.reopened(table) if r.span.overlaps(window) and r.since <= self.now):
            found.append(item.not_before)
            rides = not table.is_days_of_stream and window.end > ahead.open_from
            if rides and ahead.by and item.since >= ahead.upto + settling:
                next_ones = (
                    c.next_boundary(item.since - settling, self.calendar) + (DAY_MARGIN if c.is_batch else timedelta(0))
                    for c in ahead.by
                )
                found.append(min(next_ones) + settling)
        return max(found)

    def in_flight(self, table: Table) -> Intervals:
        """Return the partitions of `table` that others are about to make."""
        spans = (w.span for w in self.state.in_flight if table.name in w.tables)
        return self._whole(table, Intervals.union_of(spans))

    def blocks(self, failure: Failure, table: Table, new: Intervals) -> bool:
        """Whether a failure lets its partition wait, in spite of `new` event time that is there to be made."""
        if not failure.waits(self.now):
            return False
        if failure.code != (table.consumer.code if table.consumer else ""):
            return False
        if any(r.since > failure.at and r.span.overlaps(failure.span) for r in self.reopened(table)):
            return False
        more = new.clip(failure.span).hull
        return not (failure.upto is not None and more is not None and more.end > failure.upto)

    def _whole(self, table: Table, spans: Intervals) -> Intervals:
        return spans if table.grain == "5 min" else Intervals.union_of(map(self.calendar.whole_days, spans))


def reach(span: TimeWindow, table: Table, calendar: Calendar) -> TimeWindow:
    """Return the span of the partitions of `table` that read an input at `span`, through `lookback` too."""
    consumer = table.consumer
    lookback = consumer.lookback if consumer else timedelta(0)
    if table.grain == "5 min":
        return TimeWindow(span.start, span.end + lookback)
    first = calendar.day_of(span.start)
    last = calendar.day_of(span.end - timedelta(microseconds=1))
    return TimeWindow(calendar.midnight(first), calendar.day(last + timedelta(days=lookback.days)).end)


def lookback_span(partition: TimeWindow, table: Table, first: datetime, calendar: Calendar) -> TimeWindow:
    """Return the span that a consumer reads for `partition`: its lookback before it, clipped at the `first` day kept.

    Windows reach back to before the first one, since days have the events of then.
    """
    consumer = table.consumer
    if consumer is None or not consumer.lookback:
        return partition
    if table.grain == "5 min":
        start = partition.start - consumer.lookback
    else:
        start = calendar.midnight(calendar.day_of(partition.start) - timedelta(days=consumer.lookback.days))
    return TimeWindow(min(partition.start, max(first, start)), partition.end)


def _span(start: datetime, end: datetime) -> Intervals:
    return Intervals((TimeWindow(start, end),)) if start < end else Intervals()
