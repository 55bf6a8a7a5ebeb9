"""Looks at the world before planning: watermarks, arrivals, changed inputs, changed code. Writes it into the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from stream_assets.core.declaration import Consumer, Declarations, StreamSpec, Table
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import RECORDS, LedgerState, TableState, horizons, removal_of
from stream_assets.core.planning.due import reach
from stream_assets.core.window import TimeWindow
from stream_assets.errors import SourceBusy, SourceError, SourceUnavailable
from stream_assets.pipeline.ages import look_again, own_cursor
from stream_assets.pipeline.asking import source_errors
from stream_assets.sources.protocol import identity_of

if TYPE_CHECKING:
    from stream_assets.lake.ledger import Ledger
    from stream_assets.pipeline.site import Site

FROM_THE_BEGINNING = "the source was asked from the beginning"
HEAL_EVERY = timedelta(hours=1)
"""A closed day is healed at most this often."""


def observe(site: Site) -> dict[str, str]:
    """Bring the ledger up to date with sources, inputs and declarations.

    Returns:
        For each stream whose source could not be asked, what it said; its watermark stays where it was, and the other
        streams go on.
    """
    registered = site.ledger.registered()
    for table in site.declarations.tables.values():
        stream = table.stream.name if table.stream else None
        if registered.get(table.name) != (table.grain, stream):
            site.ledger.register(table.name, table.grain, stream)
    silent: dict[str, str] = {}
    for stream in site.declarations.streams:
        try:
            _look_at(site, stream)
        except (SourceUnavailable, SourceBusy, SourceError) as error:
            silent[stream.name] = str(error)
    _look_at_inputs(site)
    return silent


def _look_at(site: Site, stream: StreamSpec) -> None:
    source = site.sources[stream.name]
    cursor = own_cursor(site, stream)
    now = site.clock.now()
    with source_errors(stream.name, source, "what has arrived"):
        arrivals = source.arrivals(cursor, now=now, state=site.source_state(stream.name))
        watermark = source.watermark(now)
    site.ledger.sources.advance(stream.name, watermark, now)
    if arrivals is None:
        _look_again(site, stream)
        return
    if arrivals.cursor == cursor:
        return
    with site.ledger.transaction():
        reason = FROM_THE_BEGINNING if cursor is None else "events arrived late"
        reopen_stream(site, stream, Intervals.of(*arrivals.windows), reason)
        # What a failure was made from is no longer that, or has been mended: it is worth another try.
        for span in Intervals.of(*arrivals.windows, *arrivals.mended):
            site.ledger.work.clear_failures(stream.name, span)
            site.ledger.work.clear_failures(stream.daily, span)
        site.ledger.sources.move_cursor(stream.name, json.dumps([identity_of(source), arrivals.cursor]))


def _look_again(site: Site, stream: StreamSpec) -> None:
    look = look_again(site, stream)
    if not look.looked_at:
        return
    with site.ledger.transaction():
        reopen_stream(site, stream, look.changed, look.reason)
        site.ledger.ages.move(look.looked_at)


def reopen_stream(site: Site, stream: StreamSpec, touched: Intervals, reason: str) -> None:
    """Record that events of windows have come, gone or changed; belongs into a transaction.

    Also of windows that are not sealed yet: somebody may have read them before, and be about to publish them. Only what
    is read after this instant mends it, since the events were seen at some instant before.
    """
    now = site.clock.now()
    calendar = site.lake.calendar
    # What lies ahead, also of a clock that was set back, has been read by nobody, and what lies before the start or behind
    # the end is wanted by nobody.
    tonight = calendar.day_around(max(now, site.ledger.sources.looked_at(stream.name) or now)).end
    end = min(tonight, calendar.midnight(stream.end)) if stream.end else tonight
    first = site.ledger.gone.borders()["kept_from"].get(stream.name, site.lake.start)
    touched = touched.clip(TimeWindow(first, max(end, first)))
    days = site.ledger.coverage(stream.daily)
    for day in dict.fromkeys(d for span in touched & days for d in calendar.days(span)):
        last = site.ledger.history.made_at(stream.daily, day)
        not_before = min(max(now, last + HEAL_EVERY), now + HEAL_EVERY) if last else now
        site.ledger.reopen(stream.name, touched.clip(day), reason, now, not_before)
    site.ledger.reopen(stream.name, touched - days, reason, now, now)


def declare(declarations: Declarations, ledger: Ledger, now: datetime) -> None:
    """Record the consumers as this process loaded them; once, when it loads them.

    A process that loaded them earlier (a code location that was not reloaded) learns from it that its own code is the
    older one, and asks for no rebuild.
    """
    with ledger.transaction():
        for consumer in declarations.consumers:
            before = ledger.sources.meet(
                consumer.name, consumer.code, code_stated=consumer.code_stated, seq=ledger.seq(), now=now
            )
            if before and before.code != consumer.code and (consumer.code_stated or before.code_stated):
                for span in kept_up(ledger, declarations.tables[consumer.name]):
                    ledger.reopen(consumer.name, Intervals.of(span), f"code version is now {consumer.code}", now, now)


def kept_up(ledger: Ledger, table: Table) -> Intervals:
    """Return what is there of `table` and is made again where it should contain something else."""
    there = ledger.coverage(table.name)
    first = ledger.first(table.grain)
    return there.clip(TimeWindow(first, max(first, there.hull.end))) if there.hull else there


def _look_at_inputs(site: Site) -> None:
    """Reopen what the inputs of consumers changed under them."""
    seq = site.ledger.seq()
    known = site.ledger.sources.consumers()
    declared = (c for c in site.declarations.consumers if c.name in known)
    behind = [c for c in declared if known[c.name].reconciled_seq != seq]
    if not behind:
        return
    with site.ledger.transaction():
        touched, folded = _Touched(site), site.ledger.history.folded_upto()
        for consumer in behind:
            since = known[consumer.name].reconciled_seq
            _reconcile(site, consumer, touched.since(since, consumer))
            if since < folded:
                _reopen_all(site, consumer, "what its inputs changed while it was away is forgotten")
        site.ledger.sources.reconciled([c.name for c in behind], seq)


Touched = tuple[str, int, Intervals]
"""What was touched of an input: its name, and the sequence number of the publication."""


class _Touched:
    """Asks the ledger once for each table what was touched since, however many consumers read it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._known: dict[tuple[int, str], list[tuple[int, Intervals]]] = {}

    def since(self, seq: int, consumer: Consumer) -> list[Touched]:
        """Return what was touched of the inputs of `consumer` after `seq`."""
        declared = self._site.declarations
        found: list[Touched] = []
        for name in consumer.inputs:
            for table in (name, declared.stream(name).daily) if declared.is_stream(name) else (name,):
                if (seq, table) not in self._known:
                    self._known[seq, table] = self._site.ledger.history.touched_since(seq, table)
                found += [(name, at, touched) for at, touched in self._known[seq, table]]
        return found


def _reconcile(site: Site, consumer: Consumer, changes: list[Touched]) -> None:
    if not changes:
        return
    now = site.clock.now()
    table = site.declarations.tables[consumer.name]
    calendar = site.lake.calendar
    coverage = kept_up(site.ledger, table)
    failures = site.ledger.work.failures_of(consumer.name)
    for name, seq, touched in changes:
        for span in touched:
            partitions = Intervals.of(*calendar.partitions(span, table.grain))
            later = Intervals.of(reach(span, table, calendar)) - partitions
            for hit in (Intervals.of(span) | later) & coverage:
                _reopen_older(site, consumer, hit, seq, f"{name} changed", now)
            for failure in failures:
                # What a failure was made from is no longer that: it is worth another try.
                end = failure.upto or failure.span.end
                if (Intervals.of(span) | later).clip(TimeWindow(failure.span.start, end)):
                    site.ledger.work.clear_failures(consumer.name, failure.span)


def _reopen_all(site: Site, consumer: Consumer, reason: str) -> None:
    now = site.clock.now()
    site.ledger.reopen(consumer.name, kept_up(site.ledger, site.declarations.tables[consumer.name]), reason, now, now)


def _reopen_older(site: Site, consumer: Consumer, hit: TimeWindow, seq: int, reason: str, now: datetime) -> None:
    for current in site.ledger.current(consumer.name, hit):
        if current.inputs_seq < seq:
            site.ledger.reopen(consumer.name, Intervals.of(current.span.clip(hit)), reason, now, now)


def ledger_state(site: Site, stopped: frozenset[str] = frozenset()) -> LedgerState:
    """Return what the planner reads, at one moment."""
    now = site.clock.now()
    ledger, lake = site.ledger, site.lake
    coverage = ledger.all_coverage()
    failures = ledger.work.failures()
    reopened = ledger.reopened()
    watermarks = ledger.sources.watermarks()
    known = ledger.sources.consumers()
    ticks = ledger.work.ticks()
    borders = ledger.gone.borders()
    tables = {
        name: TableState(coverage.get(name, Intervals()), reopened.get(name, ()), failures.get(name, ()))
        for name in (*site.declarations.tables, *map(removal_of, site.declarations.tables))
    }
    state = LedgerState(
        start=lake.start,
        windows_from=lake.windows_from,
        kept_from=borders["kept_from"],
        rejected_from=borders["rejected_from"],
        newest={
            s.name: newest
            for s in site.declarations.streams
            if (s.keep.events or s.keep.rejected) and (newest := ledger.newest_with_rows((s.name, s.daily)))
        },
        history_from=borders["history_from"].get(RECORDS, lake.calendar.day_around(lake.created_at).start),
        watermarks=watermarks,
        tables=tables,
        in_flight=ledger.work.in_flight(now),
        paused=frozenset(name for name, record in known.items() if record.paused_at),
        stopped=stopped,
        ticked={name: ticked for name, (ticked, _) in ticks.items()},
        heal_awake_since=ticks["heal"][1] if "heal" in ticks else None,
        first_seen={name: record.first_seen for name, record in known.items()},
    )
    ahead = horizons(site.declarations, state, lake.calendar, now)
    # A process that loaded older code than the lake has met asks for no rebuild.
    codes = {c.name: c.code for c in site.declarations.consumers if c.name in known and known[c.name].code == c.code}
    first = min((ahead[name].open_from for name in codes), default=now)
    for name, spans in ledger.made_by_other_code(codes, first).items():
        closed = Intervals.of(TimeWindow(first, ahead[name].open_from))
        tables[name] = replace(tables[name], outdated=spans - closed)
    return state
