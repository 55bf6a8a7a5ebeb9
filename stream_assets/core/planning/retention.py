"""What is to go: by the same rule, where what should be there by now is nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.freshness import words
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning.due import Rule, lookback_span
from stream_assets.core.planning.work import HEAL, RECORDS, Removes, Work, removal_of
from stream_assets.core.retention import HISTORY
from stream_assets.core.window import Grain, TimeWindow

MOST_DAYS = 31
"""Most days that go in one piece of work, so that a tick can do it."""


@dataclass(frozen=True, slots=True)
class _Going:
    """What of one table is not kept any longer.

    Attributes:
        days: that hold something of it.
        end: local midnight of the first day that is kept.
        most: days that go in one piece of work; None: all that can.
        border: up to where it is said to have gone; what goes must move it on, and leave nothing out.
    """

    removes: Removes
    grain: Grain
    table: str
    days: Intervals
    end: datetime
    reason: str
    most: int | None = MOST_DAYS
    border: datetime | None = None

    def work(self, span: TimeWindow, reason: str) -> Work:
        return Work(HEAL, self.grain, span, (self.table,), is_catch_up=False, reason=reason, removes=self.removes)


def removals(rule: Rule) -> list[Work]:
    """Return what is to go now: of each stream at most one piece of a kind, the oldest that nothing stands in the way of."""
    return [work for going in _all(rule) if (work := _next(rule, going))]


def held(rule: Rule) -> list[Work]:
    """Return what is to go and has to wait; its reason says for what."""
    return [
        going.work(part, f"{going.reason}; {why}")
        for going in _all(rule)
        for span, why in _waits(rule, going.table)
        for part in going.days.clip(span)
        if going.border is None or part.end > going.border
    ]


def _next(rule: Rule, going: _Going) -> Work | None:
    held = Intervals.union_of(span for span, _ in _waits(rule, going.table))
    for free in going.days - held:
        last = rule.calendar.day_of(free.start) + timedelta(days=going.most) if going.most else None
        end = min(going.end, rule.calendar.midnight(last)) if last else going.end
        span = (Intervals.of(TimeWindow(free.start, end)) - held).spans[0]
        if going.border is None or span.start <= going.border < span.end:
            return going.work(span, going.reason)
    return None


def _all(rule: Rule) -> Iterator[_Going]:
    for stream in rule.declarations.streams:
        yield from _of_stream(rule, stream)
    yield from _history(rule)


def _of_stream(rule: Rule, stream: StreamSpec) -> Iterator[_Going]:
    keep, first = stream.keep, rule.kept_from(stream)
    if days := _before(rule, _there(rule, stream), first):
        yield _Going("days", "day", stream.daily, days, first, _kept("days", keep.events))
    copies = rule.state.table(stream.name).coverage & rule.state.table(stream.daily).coverage
    end = rule.calendar.day_around(rule.now - keep.windows).start
    if days := _before(rule, copies, end):
        kept = _kept("files of windows whose day is sealed", keep.windows)
        yield _Going("windows", "5 min", stream.name, days, end, kept, most=1)
    known = max(rule.state.rejected_from.get(stream.name, rule.state.start), first)
    end = rule.kept_for(stream, keep.rejected)
    if end and known < end:
        # From the first day on: one behind the border that has been healed since has rejected rows again.
        days = Intervals.of(TimeWindow(first, end))
        kept = _kept("rejected rows", keep.rejected)
        yield _Going("rejected", "day", stream.daily, days, end, kept, most=None, border=known)


def _history(rule: Rule) -> Iterator[_Going]:
    known = rule.state.history_from
    if known is None:
        return
    # Age is counted as that of events; where no new ones come, the clock counts that much later.
    ends = [rule.kept_for(stream, HISTORY) for stream in rule.declarations.streams]
    end = max([*filter(None, ends), rule.calendar.day_around(rule.now - 2 * HISTORY).start])
    # A border that is ahead of the clock was set before the clock was set back.
    first = known if known <= rule.now else end - timedelta(days=1)
    if first < end:
        kept = _kept("records of single publications", HISTORY)
        yield _Going("history", "day", RECORDS, Intervals.of(TimeWindow(first, end)), end, kept, border=first)


def _kept(what: str, kept: timedelta | None) -> str:
    return f"{what} are kept {words(kept)}" if kept else f"{what} before it have been removed"


def _there(rule: Rule, stream: StreamSpec) -> Intervals:
    """Return what the ledger knows of a stream, failures and late events too."""
    tables = [rule.state.table(name) for name in (stream.name, stream.daily)]
    noted = (item.span for t in tables for item in (*t.failures, *t.reopened))
    return tables[0].coverage | tables[1].coverage | Intervals.union_of(noted)


def _before(rule: Rule, there: Intervals, end: datetime) -> Intervals:
    """Return the days before `end` that have something in `there`."""
    if there.hull is None or there.hull.start >= end:
        return Intervals()
    return _days(rule, there.clip(TimeWindow(there.hull.start, end)))


def _waits(rule: Rule, table: str) -> Iterator[tuple[TimeWindow, str]]:
    """Yield the days of which nothing goes now, and why: somebody works on or reads them, or they could not go just now."""
    for span in _busy(rule, table):
        yield span, "work in flight fills or reads it"
    for failure in rule.state.table(removal_of(table)).failures:
        if (again := failure.next_try_at) and failure.waits(rule.now):
            for span in _days(rule, [failure.span]):
                yield span, f"tried again at {again:%H:%M:%S}Z, since it failed: {failure.error}"


def _busy(rule: Rule, table: str) -> Intervals:
    """Return the days that work in flight fills or reads; of what others declare, nobody here knows what it reads."""
    declared = rule.declarations.tables
    stream = declared[table].stream if table in declared else None
    spans: set[TimeWindow] = set()
    for work in rule.state.in_flight:
        for name in work.tables:
            other = declared.get(name)
            if name == table or (stream and other and other.stream == stream):
                spans.add(work.span)
            elif stream and other and other.consumer and stream.name in other.consumer.inputs:
                spans.add(lookback_span(work.span, other, rule.state.start, rule.calendar))
            elif stream and other is None and name != RECORDS:
                spans.add(TimeWindow(rule.state.start, max(rule.now, work.span.end)))
    return _days(rule, spans)


def _days(rule: Rule, spans: Iterable[TimeWindow]) -> Intervals:
    return Intervals.union_of(map(rule.calendar.whole_days, spans))
