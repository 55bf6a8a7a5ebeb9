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
    for table in site.declarations.tables.values():
        site.ledger.register(table.name, table.grain, table.stream.name if table.stream else None)
    silent: dict[str, str] = {}
    for stream in site.declarations.streams:
        try:
            _look_at(site, stream)
        except (SourceUnavailable, SourceBusy, SourceError) as error:
            silent[stream.name] = str(error)
    for name in site.declarations.order:
        if name not in site.declarations.readers or site.declarations.is_stream(name):
            continue
        _look_at_inputs(site, site.declarations.consumer(name))
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
    first = site.ledger.borders("kept_from").get(stream.name, site.lake.start)
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
    for consumer in declarations.consumers:
        with ledger.transaction():
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


def _look_at_inputs(site: Site, consumer: Consumer) -> None:
    """Reopen what the inputs of a consumer changed under it."""
    seq = site.ledger.seq()
    known = site.ledger.sources.consumers().get(consumer.name)
    if known is None or known.reconciled_seq == seq:
        return
    with site.ledger.transaction():
        coverage, now = kept_up(site.ledger, site.declarations.tables[consumer.name]), site.clock.now()
        _reconcile(site, consumer, known.reconciled_seq, coverage, now)
        if known.reconciled_seq < site.ledger.history.folded_upto():
            site.ledger.reopen(
                consumer.name, coverage, "what its inputs changed while it was away is forgotten", now, now
            )
        site.ledger.sources.reconciled(consumer.name, seq)


def _reconcile(site: Site, consumer: Consumer, since: int, coverage: Intervals, now: datetime) -> None:
    table = site.declarations.tables[consumer.name]
    calendar = site.lake.calendar
    failures = site.ledger.work.failures().get(consumer.name, ())
    for name in consumer.inputs:
        tables = (name, site.declarations.stream(name).daily) if site.declarations.is_stream(name) else (name,)
        for input_table in tables:
            for seq, touched in site.ledger.history.touched_since(since, input_table):
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
    tables = {
        name: TableState(coverage.get(name, Intervals()), reopened.get(name, ()), failures.get(name, ()))
        for name in (*site.declarations.tables, *map(removal_of, site.declarations.tables))
    }
    state = LedgerState(
        start=lake.start,
        windows_from=lake.windows_from,
        kept_from=ledger.borders("kept_from"),
        rejected_from=ledger.borders("rejected_from"),
        history_from=ledger.borders("history_from").get(RECORDS, lake.calendar.day_around(lake.created_at).start),
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
    for consumer in site.declarations.consumers:
        # A process that loaded older code than the lake has met asks for no rebuild.
        if consumer.name in known and known[consumer.name].code == consumer.code:
            open_from = ahead[consumer.name].open_from
            outdated = ledger.made_by_other_code(consumer.name, consumer.code, open_from)
            tables[consumer.name] = replace(tables[consumer.name], outdated=outdated)
    return state
