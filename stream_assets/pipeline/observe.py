"""Looks at the world before planning: watermarks, arrivals, changed inputs, changed code. Writes it into the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from stream_assets.core.declaration import Consumer, Declarations, StreamSpec, Table
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import RECORDS, Failure, LedgerState, TableState, horizons, removal_of
from stream_assets.core.planning.due import reach
from stream_assets.core.window import GRAINS, Grain, TimeWindow, floor_to_grid
from stream_assets.errors import SourceBusy, SourceError, SourceUnavailable
from stream_assets.pipeline.ages import look_again, own_cursor
from stream_assets.pipeline.asking import source_errors
from stream_assets.sources.protocol import identity_of

if TYPE_CHECKING:
    from stream_assets.lake.ledger import Ledger
    from stream_assets.pipeline.site import Site
    from stream_assets.sources.protocol import Arrivals

FROM_THE_BEGINNING = "the source was asked from the beginning"
HEAL_EVERY = timedelta(hours=1)
"""A closed day is healed at most this often."""


def observe(site: Site, only: Table | None = None) -> dict[str, str]:
    """Bring the ledger up to date with sources, inputs and declarations.

    Args:
        site: whose world is looked at.
        only: what is about to be filled: then of the world no more than this table is made of is looked at, so that
            what a run costs does not depend on what else is declared.

    Returns:
        For each stream whose source could not be asked, what it said; its watermark stays where it was, and the other
        streams go on.
    """
    registered = site.ledger.registered()
    tables: dict[str, tuple[Grain, str | None]] = {
        t.name: (t.grain, t.stream.name if t.stream else None) for t in site.declarations.tables.values()
    }
    if new := [name for name, declared in tables.items() if registered.get(name) != declared]:
        with site.ledger.transaction():
            for name in new:
                site.ledger.register(name, *tables[name])
    silent: dict[str, str] = {}
    streams, consumers = site.declarations.streams, site.declarations.consumers
    if only:
        names = (only.stream.name,) if only.stream else site.declarations.streams_of(only.name)
        streams = tuple(site.declarations.stream(name) for name in names)
        consumers = (only.consumer,) if only.consumer else ()
    known = site.ledger.sources.watermarks()
    for stream in streams:
        try:
            _look_at(site, stream, known.get(stream.name), is_before_a_read=only is not None)
        except (SourceUnavailable, SourceBusy, SourceError) as error:
            silent[stream.name] = str(error)
    _look_at_inputs(site, consumers)
    if only is None:
        give_up(site)
    return silent


def _look_at(site: Site, stream: StreamSpec, known: datetime | None, *, is_before_a_read: bool) -> None:
    source = site.sources[stream.name]
    cursor = own_cursor(site, stream)
    now = site.clock.now()
    with source_errors(stream.name, source, "what has arrived"):
        arrivals = source.arrivals(cursor, now=now, state=site.source_state(stream.name))
        watermark = source.watermark(now)
    names_some = arrivals is not None and (cursor is None or arrivals.windows or arrivals.mended)
    # Of a look from which nothing follows nothing is written: what comes next is asked for from the cursor before it.
    passes_a_window = known is None or floor_to_grid(known) < floor_to_grid(watermark)
    is_idle = not (names_some or is_before_a_read or passes_a_window)
    if not is_idle:
        with site.ledger.transaction():
            site.ledger.sources.advance(stream.name, watermark, now)
            if arrivals is not None and arrivals.cursor != cursor:
                _take(site, stream, arrivals, FROM_THE_BEGINNING if cursor is None else "events arrived late")
    if arrivals is None:
        _look_again(site, stream)


def _take(site: Site, stream: StreamSpec, arrivals: Arrivals, reason: str) -> None:
    """Record what has arrived, and the cursor behind it."""
    reopen_stream(site, stream, Intervals.of(*arrivals.windows), reason)
    # What a failure was made from is no longer that, or has been mended: it is worth another try.
    for span in Intervals.of(*arrivals.windows, *arrivals.mended):
        site.ledger.work.clear_failures(stream.name, span)
        site.ledger.work.clear_failures(stream.daily, span)
    identity = identity_of(site.sources[stream.name])
    site.ledger.sources.move_cursor(stream.name, json.dumps([identity, arrivals.cursor]))


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
        site.ledger.reopened.add(stream.name, touched.clip(day), reason, now, not_before)
    site.ledger.reopened.add(stream.name, touched - days, reason, now, now)


def declare(declarations: Declarations, ledger: Ledger, now: datetime) -> None:
    """Record the consumers as this process loaded them; once, when it loads them.

    A process that loaded them earlier (a code location that was not reloaded) learns from it that its own code is the
    older one, and asks for no rebuild. Where all of them are known as they are nothing is written: who only reads waits for
    nobody.
    """
    known = {name: (r.code, r.code_stated) for name, r in ledger.sources.consumers().items()}
    if all(known.get(c.name) == (c.code, c.code_stated) for c in declarations.consumers):
        return
    with ledger.transaction():
        for consumer in declarations.consumers:
            before = ledger.sources.meet(
                consumer.name, consumer.code, code_stated=consumer.code_stated, seq=ledger.seq(), now=now
            )
            if before and before.code != consumer.code and (consumer.code_stated or before.code_stated):
                for span in kept_up(ledger, declarations.tables[consumer.name]):
                    ledger.reopened.add(
                        consumer.name, Intervals.of(span), f"code version is now {consumer.code}", now, now
                    )


def kept_up(ledger: Ledger, table: Table) -> Intervals:
    """Return what is there of `table` and is made again where it should contain something else."""
    return _from(ledger.first(table.grain), ledger.coverage(table.name))


def _from(first: datetime, there: Intervals) -> Intervals:
    return there.clip(TimeWindow(first, max(first, there.hull.end))) if there.hull else there


def _look_at_inputs(site: Site, consumers: Iterable[Consumer]) -> None:
    """Reopen what the inputs of consumers changed under them."""
    seq = site.ledger.seq()
    declared = {c.name: c for c in consumers}
    known = site.ledger.sources.consumers(declared)
    behind = [declared[name] for name, record in known.items() if record.reconciled_seq != seq]
    if not behind:
        return
    with site.ledger.transaction():
        seen, folded = _Seen(site, behind), site.ledger.history.folded_upto()
        for consumer in behind:
            since = known[consumer.name].reconciled_seq
            _reconcile(site, consumer, seen, since)
            if since < folded:
                _reopen_all(site, consumer, "what its inputs changed while it was away is forgotten")
        site.ledger.sources.reconciled([c.name for c in behind], seq)


Touched = tuple[str, int, Intervals]
"""What was touched of an input: its name, and the sequence number of the publication."""


class _Seen:
    """Asks the ledger once for each table what was touched since, and once for what is there, however many consumers there are."""

    def __init__(self, site: Site, consumers: Iterable[Consumer]) -> None:
        self._site = site
        self._known: dict[tuple[int, str], list[tuple[int, Intervals]]] = {}
        self._coverage = site.ledger.coverage_of(c.name for c in consumers)
        self._firsts = {grain: site.ledger.first(grain) for grain in GRAINS}
        self._failures = site.ledger.work.failures()

    def kept_up(self, consumer: Consumer) -> Intervals:
        """Return what is there of `consumer` and is made again where it should contain something else."""
        return _from(self._firsts[consumer.grain], self._coverage.get(consumer.name, Intervals()))

    def failures(self, consumer: Consumer) -> tuple[Failure, ...]:
        """Return the failures of `consumer` that stand."""
        return self._failures.get(consumer.name, ())

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


def _reconcile(site: Site, consumer: Consumer, seen: _Seen, since: int) -> None:
    now = site.clock.now()
    table = site.declarations.tables[consumer.name]
    calendar = site.lake.calendar
    coverage = seen.kept_up(consumer)
    for name, seq, touched in seen.since(since, consumer):
        for span in touched:
            partitions = Intervals.of(*calendar.partitions(span, table.grain))
            later = Intervals.of(reach(span, table, calendar)) - partitions
            for hit in (Intervals.of(span) | later) & coverage:
                _reopen_older(site, consumer, hit, seq, f"{name} changed", now)
            for failure in seen.failures(consumer):
                # What a failure was made from is no longer that: it is worth another try.
                end = failure.upto or failure.span.end
                if (Intervals.of(span) | later).clip(TimeWindow(failure.span.start, end)):
                    site.ledger.work.clear_failures(consumer.name, failure.span)


def _reopen_all(site: Site, consumer: Consumer, reason: str) -> None:
    now = site.clock.now()
    site.ledger.reopened.add(
        consumer.name, kept_up(site.ledger, site.declarations.tables[consumer.name]), reason, now, now
    )


def _reopen_older(site: Site, consumer: Consumer, hit: TimeWindow, seq: int, reason: str, now: datetime) -> None:
    for current in site.ledger.current(consumer.name, hit):
        if current.inputs_seq < seq:
            site.ledger.reopened.add(consumer.name, Intervals.of(current.span.clip(hit)), reason, now, now)


def give_up(site: Site) -> None:
    """Forget what was to be made again of consumers' partitions that cannot be: of what they are made from, some was removed."""
    ledger = site.ledger
    borders = ledger.gone.borders()["kept_from"].values()
    if not borders or not site.declarations.consumers:
        return
    gone = max(borders) + max(c.lookback for c in site.declarations.consumers) + timedelta(days=1)
    noted = [*ledger.reopened.all().items(), *ledger.work.failures().items()]
    waiting = {name for name, items in noted if any(item.span.start < gone for item in items)}
    tables = [t for t in site.declarations.tables.values() if t.consumer and t.name in waiting]
    if not tables:
        return
    # What is about to go is there still, and may yet be kept for longer.
    state = replace(ledger_state(site), newest={})
    rule = site.rule(state)
    for table in tables:
        known, first = state.table(table.name), rule.first(table)
        if any(item.span.start < first for item in (*known.reopened, *known.failures)):
            with ledger.transaction():
                ledger.settle(table.name, TimeWindow(site.lake.start, first), ledger.reopened.mark())


def ledger_state(site: Site, stopped: frozenset[str] = frozenset()) -> LedgerState:
    """Return what the planner reads, at one moment."""
    with site.ledger.database.moment():
        return _state(site, stopped)


def _state(site: Site, stopped: frozenset[str]) -> LedgerState:
    now = site.clock.now()
    ledger, lake = site.ledger, site.lake
    coverage = ledger.coverage_of(site.declarations.tables)
    failures = ledger.work.failures()
    reopened = ledger.reopened.all()
    watermarks = ledger.sources.watermarks()
    known = ledger.sources.consumers(c.name for c in site.declarations.consumers)
    ticks = ledger.work.ticks()
    borders = ledger.gone.borders()
    tables = {
        name: TableState(coverage.get(name, Intervals()), reopened.get(name, ()), failures.get(name, ()))
        for name in (*site.declarations.tables, *map(removal_of, (*site.declarations.tables, RECORDS)))
    }
    state = LedgerState(
        start=lake.start,
        windows_from=lake.windows_from,
        kept_from=borders["kept_from"],
        rejected_from=borders["rejected_from"],
        newest={
            s.name: newest for s in site.declarations.streams if (newest := ledger.newest_with_rows((s.name, s.daily)))
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
