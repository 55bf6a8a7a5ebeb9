"""Turns what is due into work: which automation asks for it, in which runs, in what order, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stream_assets.core.cadence import DAILY, DAY_MARGIN, Cadence
from stream_assets.core.declaration import Declarations, Table
from stream_assets.core.freshness import words
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning.due import Rule, delivered
from stream_assets.core.planning.retention import removals
from stream_assets.core.planning.state import LedgerState
from stream_assets.core.planning.work import HEAL, RECORDS, Work, removal_of
from stream_assets.core.window import GRAINS, GRID, Calendar, Grain, TimeWindow

HANDOVER = timedelta(minutes=10)
"""`heal` leaves a boundary to its cadence's automation for this long."""
CATCH_UP_DAYS = 7
"""Most days that one catch-up run takes, so that it can be followed, retried and overtaken."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be asked for now, in order, and what every automation says of its tick."""

    works: tuple[Work, ...]
    says: dict[str, str] = field(default_factory=dict[str, str])

    def of(self, automation: str) -> tuple[Work, ...]:
        """Return the work that `automation` asks for."""
        return tuple(work for work in self.works if work.automation == automation)


def plan(declarations: Declarations, state: LedgerState, calendar: Calendar, now: datetime) -> Plan:
    """Return what is to be asked for at `now`: live work first, then at most one run of catch-up, then what is to go."""
    return _Planner(declarations, state, calendar, now).plan()


class _Planner:
    def __init__(self, declarations: Declarations, state: LedgerState, calendar: Calendar, now: datetime) -> None:
        self.declarations = declarations
        self.state = state
        self.calendar = calendar
        self.now = now
        self.rule = Rule(declarations, state, calendar, now)

    def plan(self) -> Plan:
        live = [work for cadence in self.declarations.cadences for work in self._live(cadence)]
        asked = [(t, work.span) for work in live for t in work.tables]
        closed = self._boundary(asked) or self._catch_up(asked)
        works = tuple(live + closed + removals(self.rule))
        names = [c.name for c in self.declarations.cadences] + [HEAL]
        return Plan(works, {name: self._say(name, works) for name in names})

    # Live work: the open day, asked for by the cadences.

    def _live(self, cadence: Cadence) -> list[Work]:
        if cadence.is_batch or cadence.name in self.state.stopped:
            return []
        automation = HEAL if self._is_silent(cadence) else cadence.name
        works: list[Work] = []
        for grain in GRAINS:
            due: dict[str, Intervals] = {}
            extra: dict[str, Intervals] = {}
            for table in self._tables(grain):
                spans = self._owned_live(table, cadence, extra)
                if spans:
                    due[table.name] = spans
                    extra[table.stream.name if table.stream else table.name] = spans
            works += self._works(automation, grain, due, is_catch_up=False)
        return works

    def _owned_live(self, table: Table, cadence: Cadence, extra: dict[str, Intervals]) -> Intervals:
        """Return what is due of `table`, lies in the open day and belongs to `cadence`.

        A window belongs to the tightest cadence whose boundary has passed it; an open day's partition to the one with
        the latest boundary.
        """
        ahead = self.rule.horizon(table)
        if cadence not in ahead.by or table.is_days_of_stream:
            return Intervals()
        due = self.rule.due(table, extra)
        running = {c: b for c, b in ahead.by.items() if not c.is_batch and c.name not in self.state.stopped}
        if table.grain == "day":
            owner = max(running, key=lambda c: (running[c], -c.step))
            hull = due.hull
            if owner != cadence or hull is None:
                return Intervals()
            return due.clip(TimeWindow(ahead.open_from, max(ahead.open_from, hull.end)))
        first = max([ahead.open_from, *(b for c, b in running.items() if c < cadence)])
        return due.clip(TimeWindow(first, max(first, running[cadence])))

    def _is_silent(self, cadence: Cadence) -> bool:
        """Whether `heal` has been awake for ten minutes in which the cadence's automation has not looked."""
        awake = self.state.heal_awake_since
        last = self.state.ticked.get(HEAL)
        if awake is None or last is None or last <= self.now - HANDOVER:
            # After an outage both have slept: the cadence's own automation is given its ten minutes first.
            return False
        ticked = self.state.ticked.get(cadence.name)
        return awake <= self.now - HANDOVER and (ticked is None or ticked <= self.now - HANDOVER)

    # Closed days: the newest ones at their boundary by the batch cadences, all else by `heal`.

    def _boundary(self, asked: list[tuple[str, TimeWindow]]) -> list[Work]:
        works: list[Work] = []
        for cadence in self.declarations.cadences:
            if not cadence.is_batch or cadence.name in self.state.stopped:
                continue
            newest = self._newest_days(cadence)
            if newest and self._has_its_turn(cadence, newest):
                # Cadences that meet at one boundary share the days of streams: the tightest asks for them.
                taken = asked + [(t, work.span) for work in works for t in work.tables]
                due = self._closed_due("day", newest, taken, cadence)
                works += self._works(cadence.name, "day", due, is_catch_up=False)
        return works

    def _newest_days(self, cadence: Cadence) -> TimeWindow | None:
        """Return the days between the cadence's last boundary, where the newest closed day ends at one, and the one before."""
        ends = [h.open_from for h in self.rule.horizons.values()]
        end = max(ends, default=self.state.start)
        today = self.calendar.day_of(end)
        if end <= self.state.start or not cadence.is_due_on(today):
            return None
        return TimeWindow(max(self.state.start, self.calendar.midnight(today - cadence.step)), end)

    def _has_its_turn(self, cadence: Cadence, newest: TimeWindow) -> bool:
        settling = max((s.settling for s in self.declarations.streams), default=timedelta(0))
        turn = newest.end + settling + DAY_MARGIN
        ticked = self.state.ticked.get(cadence.name)
        return self.now < turn + HANDOVER and (ticked is None or ticked < turn)

    def _catch_up(self, asked: list[tuple[str, TimeWindow]]) -> list[Work]:
        if any(work.is_catch_up for work in self.state.in_flight):
            return []
        all_time = TimeWindow(self.state.start, max(self.now, self.state.start))
        need: dict[Grain, Intervals] = {
            grain: Intervals.union_of(s for spans in self._closed_due(grain, all_time, asked).values() for s in spans)
            for grain in GRAINS
        }
        while any(need.values()):
            chunks: list[tuple[TimeWindow, Grain]] = [(self._newest_chunk(s), grain) for grain, s in need.items() if s]
            chunk, grain = max(chunks, key=lambda c: (c[0].end, c[1] == "day"))
            work = self._first_work(grain, chunk, asked)
            if work:
                return [work]
            # A lookback may need older days than these first.
            need[grain] -= Intervals.of(chunk)
        return []

    def _first_work(self, grain: Grain, chunk: TimeWindow, asked: list[tuple[str, TimeWindow]]) -> Work | None:
        """Return the oldest run inside `chunk` that needs nothing but what is there and what it fills itself.

        Lookbacks reach backwards: the newer runs may count on what the older ones are to fill.
        """
        due = self._closed_due(grain, chunk, asked)
        for work in self._works(HEAL, grain, due, is_catch_up=True):
            alone = self._closed_due(grain, work.span, asked, tables=work.tables)
            if all(alone.get(name) == due[name].clip(work.span) for name in work.tables):
                return work
        return None

    def _newest_chunk(self, need: Intervals) -> TimeWindow:
        """Return the newest days in need, as many in a row as one catch-up run takes."""
        end = need.spans[-1].end
        last = self.calendar.day_of(end - timedelta(microseconds=1))
        first = self.calendar.midnight(last - timedelta(days=CATCH_UP_DAYS - 1))
        start = max(first, need.spans[-1].start)
        for span in reversed(need.spans[:-1]):
            if self.calendar.day_around(start).start > span.end or span.end <= first:
                break
            start = max(first, span.start)
        return TimeWindow(start, end)

    def _closed_due(
        self, grain: Grain, span: TimeWindow, asked: list[tuple[str, TimeWindow]], cadence: Cadence | None = None,
        tables: tuple[str, ...] | None = None,
    ) -> dict[str, Intervals]:  # fmt: skip
        """Return what is due in closed days inside `span`, by table; each table's work counts as there for the next."""
        due: dict[str, Intervals] = {}
        extra: dict[str, Intervals] = {}
        for table in self._tables(grain):
            if (table.stream and grain == "5 min") or (tables is not None and table.name not in tables):
                continue
            cadences = self.rule.owners(table)
            if cadences and all(c.name in self.state.stopped for c in cadences):
                continue
            if cadence and cadence not in cadences and not (cadence == DAILY and all(not c.is_batch for c in cadences)):
                continue
            closed = TimeWindow(self.state.start, max(self.state.start, self.rule.horizon(table).open_from))
            spans = self.rule.due(table, extra).clip(closed.clip(span))
            spans -= Intervals.union_of(s for name, s in asked if name == table.name)
            if spans:
                due[table.name] = spans
                extra[table.stream.name if table.stream else table.name] = spans
        return due

    # Runs: one range each, over partitions that are due or sealed.

    def _works(self, automation: str, grain: Grain, due: dict[str, Intervals], *, is_catch_up: bool) -> list[Work]:
        """Return the runs, oldest first: one over the hull where the rest of it is sealed, else one a gap."""
        allowed = {name: spans | self._sealed(name) for name, spans in due.items()}
        ranges: list[tuple[TimeWindow, list[str]]] = []
        rest = dict(due)
        while any(rest.values()):
            names = [name for name, spans in rest.items() if spans]
            everywhere = allowed[names[0]]
            for name in names[1:]:
                everywhere &= allowed[name]
            need = Intervals.union_of(s for name in names for s in rest[name]) & everywhere
            if not need:
                # The tables share no range: the first one goes alone.
                names, need, everywhere = names[:1], rest[names[0]], allowed[names[0]]
            hulls = [hull for part in everywhere if (hull := need.clip(part).hull)]
            ranges += [(hull, [n for n in names if rest[n].clip(hull)]) for hull in hulls]
            # What one run has been given is no part of another one's range.
            for name in names:
                rest[name] -= Intervals.union_of(hulls)
                allowed[name] -= Intervals.union_of(hulls)
        return [
            Work(automation, grain, span, tuple(names), is_catch_up, self._reason(names, due, span))
            for span, names in sorted(ranges, key=lambda r: r[0])
        ]

    def _sealed(self, name: str) -> Intervals:
        """Return what a hull may pass over: whole partitions that are sealed, and that no other run is about to make again."""
        table = self.declarations.tables[name]
        coverage = delivered(table.stream.name, self.declarations, self.state) if table.stream else None
        if coverage is None or table.is_days_of_stream:
            coverage = self.state.table(name).coverage
        if table.grain == "day":
            coverage = _whole_days(coverage, self.calendar)
        return coverage - self.rule.in_flight(table)

    def _reason(self, names: Iterable[str], due: dict[str, Intervals], span: TimeWindow) -> str:
        tables: dict[str, list[str]] = {}
        for name in names:
            there = self.state.table(name).coverage
            reopened = self.rule.reopened(self.declarations.tables[name])
            again = [r.reason for r in reopened if there.clip(r.span).clip(span)]
            if again:
                why = again[0] + (f" (and {len(again) - 1} more)" if len(again) > 1 else "")
            elif self.state.table(name).outdated.clip(span):
                why = "its code changed"
            else:
                why = f"{self._count(name, due[name].clip(span))} not there yet"
            tables.setdefault(why, []).append(name)
        if len(tables) == 1:
            return next(iter(tables))  # the tables stand beside it wherever it is shown
        return "; ".join(f"{', '.join(names)}: {why}" for why, names in tables.items())

    def _count(self, name: str, spans: Intervals) -> str:
        grain = self.declarations.tables[name].grain
        if grain == "day":
            count = sum(len(self.calendar.days(s)) for s in spans)
            return f"{count} day" + "s" * (count != 1)
        count = int(spans.duration / GRID)
        return f"{count} window" + "s" * (count != 1)

    def _tables(self, grain: Grain) -> list[Table]:
        return [table for table in self.declarations.tables.values() if table.grain == grain]

    # What an automation says.

    def _say(self, name: str, works: tuple[Work, ...]) -> str:
        mine = [work for work in works if work.automation == name]
        if mine:
            removes = "removes" if all(work.removes for work in mine) else "removes next"
            return "; ".join(
                f"{removes if work.removes else 'asks for'} {self._range(work)} of {', '.join(work.tables)} ({work.reason})"
                for work in mine
            )
        if name in self.state.stopped:
            return "stopped by a person"
        declared = self.declarations.tables.values()
        grains: dict[str, Grain] = {**{table.name: table.grain for table in declared}, RECORDS: "day"}
        blocked = [
            f"{said} {self.calendar.key(f.span, grains[name])} "
            + ("paused" if f.is_paused else f"tried again at {f.next_try_at:%H:%M:%S}Z")
            for name in grains
            for said, kept in ((name, name), (f"removal of {name}", removal_of(name)))
            for f in self.state.table(kept).failures
        ]
        flying = self.state.in_flight
        parts = ["nothing due", *self._waiting(name), *self._left(name, works)]
        if flying:
            parts.append(f"{len(flying)} run{'s' * (len(flying) != 1)} in flight")
        if blocked:
            parts.append(f"{len(blocked)} failed: {', '.join(blocked[:3])}")
        return f"{', '.join(parts)}: {self._outlook(name, is_blocked=bool(blocked))}"

    def _waiting(self, name: str) -> list[str]:
        """Say when what came late for closed days is healed: at most once an hour a day."""
        if name != HEAL:
            return []
        later = [
            r.not_before
            for stream in self.declarations.streams
            for r in self.state.table(stream.name).reopened
            if r.not_before > self.now and self.state.table(stream.daily).coverage.clip(r.span)
        ]
        return [f"late events of closed days wait until {min(later):%H:%M:%S}Z"] if later else []

    def _left(self, name: str, works: tuple[Work, ...]) -> list[str]:
        """Say what `heal` sees and leaves to the automation whose boundary it is."""
        if name != HEAL:
            return []
        return [f"leaves {self._range(work)} of {', '.join(work.tables)} to {work.automation}" for work in works]

    def _outlook(self, name: str, *, is_blocked: bool) -> str:
        cadence = next((c for c in self.declarations.cadences if c.name == name), None)
        if cadence is None:
            whole = [h.open_from for h in self.rule.horizons.values()]
            return f"closed days are those before {max(whole, default=self.state.start):%Y-%m-%dT%H:%MZ}"
        settling = max((s.settling for s in self.declarations.streams), default=timedelta(0))
        settled = max(self.state.watermarks.values(), default=self.state.start)
        after = cadence.next_boundary(settled, self.calendar)
        at = after + settling + (DAY_MARGIN if cadence.is_batch else timedelta(0))
        through = cadence.last_boundary(settled, self.calendar)
        what = "next window" if cadence.step == GRID else f"next {words(cadence.step).removeprefix('1 ')}"
        # What is in flight, or has failed, is not there though it has settled.
        state = "settled" if self.state.in_flight or is_blocked else "complete"
        at_hand = f"{through:%Y-%m-%dT%H:%MZ}" if cadence.is_batch else f"{through:%H:%M}Z"
        return f"{state} through {at_hand}, {what} settles at {at:%Y-%m-%dT%H:%M:%S}Z"

    def _range(self, work: Work) -> str:
        first = self.calendar.key(work.span, work.grain)
        if work.grain == "day":
            days = self.calendar.days(work.span)
            return first if len(days) == 1 else f"{first} to {self.calendar.key(days[-1], 'day')}"
        last = TimeWindow(work.span.end - GRID, work.span.end)
        return first if last.start == work.span.start else f"{first} to {self.calendar.key(last, '5 min')}"


def _whole_days(coverage: Intervals, calendar: Calendar) -> Intervals:
    """Return the part of `coverage` that whole days make up; costs one step a piece, not one a day."""
    pieces: list[TimeWindow] = []
    for span in coverage:
        first = calendar.day_around(span.start)
        start = span.start if first.start == span.start else first.end
        end = calendar.day_around(span.end).start
        if start < end:
            pieces.append(TimeWindow(start, end))
    return Intervals(tuple(pieces))
