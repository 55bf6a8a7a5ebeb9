"""What is to go: by the same rule, where what should be there by now is nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.freshness import words
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning.due import Rule, lookback_span
from stream_assets.core.planning.work import HEAL, RECORDS, Removes, Work, removal_of
from stream_assets.core.retention import HISTORY
from stream_assets.core.window import Grain, TimeWindow

MOST_DAYS = 31
"""Days of a stream that go in one piece of work, so that a tick can do it."""


def removals(rule: Rule) -> list[Work]:
    """Return what is to go now: of each stream at most one piece of a kind, the oldest."""
    found = [work for stream in rule.declarations.streams for work in _of_stream(rule, stream)]
    return found + list(_history(rule))


def _of_stream(rule: Rule, stream: StreamSpec) -> Iterator[Work]:
    keep, before = stream.keep, rule.calendar.day_around(rule.now - stream.keep.windows).start
    if span := _oldest(rule, stream, stream.daily, _there(rule, stream), rule.kept_from(stream), MOST_DAYS):
        yield _work("days", "day", stream.daily, span, "days", keep.events)
    copies = rule.state.table(stream.name).coverage & rule.state.table(stream.daily).coverage
    if span := _oldest(rule, stream, stream.name, copies, before, 1):
        yield _work("windows", "5 min", stream.name, span, "files of windows whose day is sealed", keep.windows)
    known = max(rule.state.rejected_from.get(stream.name, rule.state.start), rule.kept_from(stream))
    until = rule.kept_for(stream, keep.rejected)
    if until and known < until:
        free = (Intervals.of(TimeWindow(known, until)) - _busy(rule, stream)).spans
        if free and free[0].start == known:
            yield _work("rejected", "day", stream.daily, free[0], "rejected rows", keep.rejected)


def _history(rule: Rule) -> Iterator[Work]:
    known, until = rule.state.history_from, rule.calendar.day_around(rule.now - HISTORY).start
    if known is None or known == until:
        return
    # A border that is ahead of the clock was set before the clock was set back.
    if known < until or known > rule.now:
        span = TimeWindow(min(known, until - timedelta(days=1)), until)
        yield _work("history", "day", RECORDS, span, "records of single publications", HISTORY)


def _work(removes: Removes, grain: Grain, table: str, span: TimeWindow, what: str, kept: timedelta | None) -> Work:
    reason = f"{what} are kept {words(kept)}" if kept else f"{what} before it have been removed"
    return Work(HEAL, grain, span, (table,), is_catch_up=False, reason=reason, removes=removes)


def _there(rule: Rule, stream: StreamSpec) -> Intervals:
    """Return what the ledger knows of a stream, failures and late events too."""
    tables = [rule.state.table(name) for name in (stream.name, stream.daily)]
    noted = (item.span for t in tables for item in (*t.failures, *t.reopened))
    return tables[0].coverage | tables[1].coverage | Intervals.union_of(noted)


def _oldest(
    rule: Rule, stream: StreamSpec, table: str, there: Intervals, before: datetime, most: int
) -> TimeWindow | None:
    """Return the oldest days before `before` that have something in `there`, and that nobody works on or reads."""
    if there.hull is None or there.hull.start >= before:
        return None
    going = there.clip(TimeWindow(there.hull.start, before))
    busy = _busy(rule, stream) | _failed(rule, table)
    for span in going - busy:
        start = rule.calendar.day_around(span.start).start
        last = rule.calendar.midnight(rule.calendar.day_of(start) + timedelta(days=most))
        return (Intervals.of(TimeWindow(start, min(before, last))) - busy).spans[0]
    return None


def _busy(rule: Rule, stream: StreamSpec) -> Intervals:
    """Return the days of a stream that work in flight fills or reads; of what others declare, nobody here knows what it reads."""
    spans: list[TimeWindow] = []
    for work in rule.state.in_flight:
        for name in work.tables:
            table = rule.declarations.tables.get(name)
            if table is None and name != RECORDS:
                return Intervals.of(TimeWindow(rule.state.start, max(rule.now, work.span.end)))
            if table and table.stream == stream:
                spans.append(work.span)
            elif table and table.consumer and stream.name in table.consumer.inputs:
                spans.append(lookback_span(work.span, table, rule.state.start, rule.calendar))
    return _days(rule, spans)


def _failed(rule: Rule, table: str) -> Intervals:
    """Return the days of which a removal has failed and waits."""
    declared, failures = rule.declarations.tables[table], rule.state.table(removal_of(table)).failures
    return _days(rule, [f.span for f in failures if rule.blocks(f, declared, Intervals())])


def _days(rule: Rule, spans: list[TimeWindow]) -> Intervals:
    return Intervals.union_of(d for s in spans for d in rule.calendar.days(s))
