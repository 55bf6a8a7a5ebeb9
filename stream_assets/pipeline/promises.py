"""Freshness, measured: how every consumer stands against its promise now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from stream_assets.core.declaration import Consumer
from stream_assets.core.freshness import Promise, compact
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import Failure, LedgerState, Rule
from stream_assets.core.planning.decision import Decision, decide
from stream_assets.core.planning.due import delivered
from stream_assets.core.window import TimeWindow
from stream_assets.lake.ledger.sources import ConsumerRecord
from stream_assets.pipeline.site import Site

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Standing:
    """How one consumer stands now.

    Attributes:
        complete_through: end of the unbroken run of delivered windows from the start of the live span.
        lag: now - complete_through.
        held_by: the stream that holds it back, where it reads several; else empty.
        holes: wanted event time before the live span that is not delivered.
        stale_code: partitions that another code made.
        failures: partitions that could not be made.
        is_empty: whether something is wanted of it and nothing was ever delivered, so that no data can be fresh.
        is_awaited: whether that is so, and its first run may still come in time: it was first seen no longer ago than data may be
            old, and nothing has failed.
        paused_at: when a person paused it; its promise is suspended.
    """

    consumer: Consumer
    promise: Promise
    decision: Decision
    complete_through: datetime
    lag: timedelta
    held_by: str
    holes: Intervals
    stale_code: int
    failures: tuple[Failure, ...]
    is_empty: bool
    is_awaited: bool
    paused_at: datetime | None

    @property
    def is_kept(self) -> bool:
        """Whether the promise is kept now, or suspended; never while nothing is there."""
        return self.paused_at is not None or (not self.is_empty and self.promise.kept(self.lag))

    @property
    def stands(self) -> str:
        """How the promise fares, in a few words. *Kept* is not *whole*: how many holes there are is said beside it."""
        if self.paused_at:
            return "paused"
        if self.is_empty:
            return f"{'awaited' if self.is_awaited else 'BROKEN'}, nothing is there yet"
        return ("kept" if self.is_kept else "BROKEN") + self._beside

    @property
    def _beside(self) -> str:
        count = len(list(self.holes))
        holes = f", {count:,} older hole{'s' if count > 1 else ''}" if count else ""
        return (f", held by {self.held_by}" if self.held_by else "") + holes

    def __str__(self) -> str:
        if self.paused_at:
            return f"paused since {self.paused_at:%Y-%m-%dT%H:%MZ}: its promise is suspended"
        if self.is_empty:
            return f"{self.promise}: nothing is there yet, " + (
                "its first run is awaited" if self.is_awaited else "broken"
            )
        verdict = "kept" if self.is_kept else f"broken by {compact(self.lag - self.promise.limit)}"
        through = f"complete through {self.complete_through:%Y-%m-%dT%H:%M:%SZ}"
        return f"{self.promise}: {verdict}; lag {compact(self.lag)}, {through}{self._beside}"


def standings(site: Site, state: LedgerState) -> list[Standing]:
    """Return how every consumer stands, by name."""
    now = site.clock.now()
    rule = site.rule(state, now)
    run_time = site.ledger.work.p95_run_time()
    known = site.ledger.sources.consumers()
    return [
        _standing(site, state, rule, c, now, run_time.get(c.cadence.name), known.get(c.name))
        for c in site.declarations.consumers
    ]


def _standing(
    site: Site, state: LedgerState, rule: Rule, consumer: Consumer, now: datetime, run_time: timedelta | None,
    known: ConsumerRecord | None,
) -> Standing:  # fmt: skip
    table = site.declarations.tables[consumer.name]
    coverage = state.table(consumer.name).coverage
    live = _live_span(site, state, rule, consumer)
    through = coverage.unbroken_from(live.start)
    first = rule.first(table)
    before = Intervals.of(TimeWindow(first, max(first, live.start)))
    end = max(
        (
            site.lake.calendar.midnight(e)
            for s in site.declarations.streams_of(consumer.name)
            if (e := site.declarations.stream(s).end)
        ),
        default=None,
    )
    finished = end is not None and through >= end
    promise = site.declarations.promise(consumer)
    is_empty = bool(rule.wanted(table)) and not coverage
    seen = state.first_seen.get(consumer.name, now)
    return Standing(
        consumer,
        promise,
        decide(site.declarations, consumer, run_time),
        through,
        timedelta(0) if finished else now - through,
        _held_by(site, state, consumer, through),
        before - coverage,
        site.ledger.count_other_code(consumer.name, consumer.code, first),
        state.table(consumer.name).failures,
        is_empty,
        is_empty and promise.kept(now - seen) and not _has_failed(site, state, consumer),
        known.paused_at if known else None,
    )


def _has_failed(site: Site, state: LedgerState, consumer: Consumer) -> bool:
    """Whether a run has tried to make it, or what it reads of streams, and could not."""
    streams = [site.declarations.stream(s) for s in site.declarations.streams_of(consumer.name)]
    tables = [consumer.name, *(t for s in streams for t in (s.name, s.daily))]
    return any(state.table(t).failures for t in tables)


def _live_span(site: Site, state: LedgerState, rule: Rule, consumer: Consumer) -> TimeWindow:
    """Return the open day and the closed days of the last cadence (at least one), from when the consumer was first seen."""
    calendar = site.lake.calendar
    table = site.declarations.tables[consumer.name]
    open_from = rule.horizon(table).open_from
    days = max(1, consumer.cadence.step // _DAY)
    start = calendar.midnight(calendar.day_of(open_from) - _DAY * days)
    seen = state.first_seen.get(consumer.name)
    if seen is not None and not consumer.cadence.is_batch:
        start = max(start, min(open_from, calendar.day_around(seen).start))
    return TimeWindow(max(rule.first(table), start), max(rule.first(table), open_from, start))


def _held_by(site: Site, state: LedgerState, consumer: Consumer, through: datetime) -> str:
    """Name the stream whose delivered run ends first, where a consumer is made of several."""
    streams = site.declarations.streams_of(consumer.name)
    if len(streams) < 2:
        return ""
    ends = {s: delivered(s, site.declarations, state).unbroken_from(max(state.start, through - _DAY)) for s in streams}
    slowest = min(ends, key=lambda s: ends[s])
    return slowest if ends[slowest] <= through and len(set(ends.values())) > 1 else ""
