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
    paused_at: datetime | None

    @property
    def is_kept(self) -> bool:
        """Whether the promise is kept now, or suspended."""
        return self.paused_at is not None or self.promise.kept(self.lag)

    def __str__(self) -> str:
        if self.paused_at:
            return f"paused since {self.paused_at:%Y-%m-%dT%H:%MZ}: its promise is suspended"
        verdict = "kept" if self.is_kept else f"broken by {compact(self.lag - self.promise.limit)}"
        held = f", held by {self.held_by}" if self.held_by else ""
        return f"{self.promise}: {verdict}; lag {compact(self.lag)}, complete through {self.complete_through:%Y-%m-%dT%H:%M:%SZ}{held}"


def standings(site: Site, state: LedgerState) -> list[Standing]:
    """Return how every consumer stands, by name."""
    now = site.clock.now()
    rule = Rule(site.declarations, state, site.lake.calendar, now)
    run_time = site.ledger.work.p95_run_time()
    return [_standing(site, state, rule, c, now, run_time.get(c.cadence.name)) for c in site.declarations.consumers]


def _standing(
    site: Site, state: LedgerState, rule: Rule, consumer: Consumer, now: datetime, run_time: timedelta | None
) -> Standing:
    table = site.declarations.tables[consumer.name]
    coverage = state.table(consumer.name).coverage
    live = _live_span(site, state, rule, consumer)
    through = coverage.unbroken_from(live.start)
    known = site.ledger.sources.consumers().get(consumer.name)
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
    return Standing(
        consumer,
        site.declarations.promise(consumer),
        decide(site.declarations, consumer, run_time),
        through,
        timedelta(0) if finished else now - through,
        _held_by(site, state, consumer, through),
        before - coverage,
        site.ledger.count_other_code(consumer.name, consumer.code),
        state.table(consumer.name).failures,
        known.paused_at if known else None,
    )


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
