"""A pipeline without files: it applies the planner's work to coverage, as the real one does to partitions.

Of the events only their late ones are modelled: content is the set of (stream, window, late events in it) that a
partition was made from. So "the same lake" can be asserted, and not only "the same coverage".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from stream_assets.core.cadence import DAY_MARGIN
from stream_assets.core.declaration import Consumer, Declarations, StreamSpec, Table
from stream_assets.core.freshness import parse_duration
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import (
    HEAL,
    Failure,
    InFlight,
    LedgerState,
    Plan,
    Reopened,
    Rule,
    TableState,
    Work,
    plan,
)
from stream_assets.core.planning.due import delivered, lookback_span
from stream_assets.core.window import GRID, Calendar, Grain, TimeWindow, floor_to_grid

LEASE = timedelta(minutes=30)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
EVENTS = StreamSpec("events", settling=timedelta(seconds=30))

Kind = Literal["transient", "terminal"]
Content = frozenset[tuple[str, datetime, int]]


def at(text: str) -> datetime:
    """Read `2026-03-10T14:37`, in UTC where it names no offset."""
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def span(start: str, end: str) -> TimeWindow:
    return TimeWindow(at(start), at(end))


def consumer(name: str, freshness: str, grain: Grain = "day", **more: Any) -> Consumer:
    """A consumer of `events` without a function."""
    inputs: tuple[str, ...] = more.pop("inputs", ("events",))
    lookback = parse_duration(more.pop("lookback")) if "lookback" in more else timedelta(0)
    return Consumer(
        name, lambda *_: None, parse_duration(freshness), grain, inputs, dict.fromkeys(inputs, "arrow"),
        code_version=more.pop("code", "a"), lookback=lookback, **more,
    )  # fmt: skip


DASHBOARD = consumer("dashboard", "5 min", "5 min")
ALERTS = consumer("alerts", "1 s", "5 min")
REPORT = consumer("report", "1 day")
FEATURES = consumer("features", "1 day", lookback="7 days")
DEFAULT = (DASHBOARD, ALERTS, REPORT, FEATURES)


class World:
    """A project, its lake and its clock. By default the source is healthy and each run takes no time."""

    def __init__(
        self,
        *consumers: Consumer,
        now: str,
        days: int = 2,
        zone: str = "UTC",
        streams: tuple[StreamSpec, ...] = (EVENTS,),
    ) -> None:
        self.calendar = Calendar(zone)
        self.declarations = Declarations(streams, consumers)
        self.now = at(now)
        self.start = self.windows_from = self.calendar.midnight(self.calendar.day_of(self.now) - days * DAY)
        self.watermarks: dict[str, datetime] = {}
        self.dead: set[str] = set()
        self.paused: set[str] = set()
        self.stopped: set[str] = set()
        self.ticked: dict[str, datetime] = {}
        self.heal_awake_since: datetime | None = None
        self.coverage: dict[str, Intervals] = {}
        self.reopened: dict[str, list[Reopened]] = {}
        self.failures: dict[str, dict[datetime, Failure]] = {}
        self.code: dict[str, dict[datetime, str]] = {}
        self.flying: dict[int, tuple[Work, datetime]] = {}
        self.published_at: dict[tuple[str, datetime], datetime] = {}
        self.late: dict[tuple[str, datetime], int] = {}
        self.content: dict[tuple[str, datetime], Content] = {}
        self.fails: Callable[[str, TimeWindow], Kind | None] = lambda table, partition: None
        self.log: list[Work] = []
        self.reads: list[TimeWindow] = []
        self._unseen: list[tuple[str, TimeWindow]] = []
        self._changed = False
        self._requests = 0

    # What the ledger would say.

    def declare(self, *consumers: Consumer) -> None:
        self.declarations = Declarations(self.declarations.streams, consumers)

    def covered(self, table: str) -> Intervals:
        return self.coverage.get(table, Intervals())

    def state(self) -> LedgerState:
        self.flying = {k: (w, until) for k, (w, until) in self.flying.items() if until > self.now}
        tables = {
            name: TableState(
                self.covered(name),
                tuple(self.reopened.get(name, ())),
                tuple(self.failures.get(name, {}).values()),
                self._outdated(table),
            )
            for name, table in self.declarations.tables.items()
        }
        flying = tuple(InFlight(w.tables, w.span, w.is_catch_up) for w, _ in self.flying.values())
        return LedgerState(
            self.start, self.windows_from, dict(self.watermarks), tables, flying, frozenset(self.paused), frozenset(self.stopped),
            dict(self.ticked), self.heal_awake_since,
        )  # fmt: skip

    def _outdated(self, table: Table) -> Intervals:
        if table.consumer is None:
            return Intervals()
        open_from = self.calendar.day_around(self.now - EVENTS.settling - DAY_MARGIN).start
        known = table.consumer.code
        made = [s for s, code in self.code.get(table.name, {}).items() if code != known and s >= open_from]
        return Intervals.union_of(self._partition(table, start) for start in made)

    def _partition(self, table: Table, start: datetime) -> TimeWindow:
        return self.calendar.partitions(TimeWindow(start, start + GRID), table.grain)[0]

    def plan(self) -> Plan:
        self.observe()
        return plan(self.declarations, self.state(), self.calendar, self.now)

    # What happens in the world.

    def late_event(self, when: str | datetime, stream: str = "events") -> None:
        start = floor_to_grid(at(when) if isinstance(when, str) else when)
        self.late[stream, start] = self.late.get((stream, start), 0) + 1
        self._unseen.append((stream, TimeWindow(start, start + GRID)))

    def observe(self) -> None:
        for stream in self.declarations.streams:
            if stream.name not in self.dead:
                settled = self.now - stream.settling
                self.watermarks[stream.name] = max(settled, self.watermarks.get(stream.name, settled))
        for name, window in [u for u in self._unseen if u[0] not in self.dead]:
            self._unseen.remove((name, window))
            daily, day = name + "_daily", self.calendar.day_around(window.start)
            is_closed = self.covered(daily).covers(window)
            not_before = self.published_at[daily, day.start] + HOUR if is_closed else self.now
            self._reopen(name, window, max(self.now, not_before))
        if self._changed:
            self._changed = False
            for c in self.declarations.consumers:
                self._compare(self.declarations.tables[c.name])

    def _compare(self, table: Table) -> None:
        """Reopen what was made from other content, and forget failures of what is not made yet."""
        for known in self.covered(table.name):
            for partition in self.calendar.partitions(known, table.grain):
                if self._inputs(table, partition) != self.content.get((table.name, partition.start), frozenset()):
                    for part in self.covered(table.name).clip(partition):
                        self._reopen(table.name, part, self.now)

    def _reopen(self, table: str, what: TimeWindow, not_before: datetime) -> None:
        known = self.reopened.setdefault(table, [])
        fresh = Intervals.of(what) - Intervals.union_of(r.span for r in known)
        known += [Reopened(part, "late", self.now, not_before) for part in fresh]

    # Automations, and work.

    @property
    def automations(self) -> list[str]:
        return [c.name for c in self.declarations.cadences] + [HEAL]

    def look(self, automation: str) -> list[int]:
        """One tick of an automation: returns the ids of what it asked for."""
        if automation in self.stopped:
            return []
        asked: list[int] = []
        for work in self.plan().of(automation):
            self._requests += 1
            self.flying[self._requests] = (work, self.now + LEASE)
            self.log.append(work)
            asked.append(self._requests)
        last = self.ticked.get(automation)
        if automation == HEAL and (last is None or last < self.now - 10 * MINUTE):
            self.heal_awake_since = self.now
        self.ticked[automation] = self.now
        return asked

    def tick(self, *automations: str) -> list[str]:
        """Let automations look (by default all, the batch ones too) and do at once what they ask; returns what that was."""
        asked = [(id, self.flying[id][0]) for name in automations or self.automations for id in self.look(name)]
        for id, _ in asked:
            self.do(id)
        return [self.say(work) for _, work in asked]

    def rest(self, *automations: str, ticks: int = 60) -> list[str]:
        """Tick until nothing is asked any more."""
        said: list[str] = []
        for _ in range(ticks):
            asked = self.tick(*automations)
            if not asked:
                return said
            said += asked
        raise AssertionError(f"the planner finds no rest: {said[-3:]}")

    def live_until(self, end: str, step: timedelta = MINUTE) -> list[str]:
        """Pass the time as the daemon does: sensors look at every step, schedules at their turn of the day."""
        said: list[str] = []
        settling = max(s.settling for s in self.declarations.streams)
        while self.now + step <= at(end):
            before, self.now = self.now, self.now + step
            turn = self.calendar.day_around(self.now).start + settling + DAY_MARGIN
            batch = [c.name for c in self.declarations.cadences if c.is_batch] if before < turn <= self.now else []
            sensors = [
                name
                for name in self.automations
                if name not in {c.name for c in self.declarations.cadences if c.is_batch}
            ]
            said += self.tick(*batch, *sensors)
        return said

    def say(self, work: Work) -> str:
        first, last = (
            self.calendar.key(work.span, work.grain),
            work.span.end - (DAY / 2 if work.grain == "day" else GRID),
        )
        end = self.calendar.key(TimeWindow(last, last), work.grain)
        return f"{work.automation}: {first}{f' to {end}' if end != first else ''}: {' '.join(work.tables)}"

    def do(self, id: int) -> None:
        work = self.flying[id][0]
        for name in work.tables:
            self.fill(name, work.span)
        del self.flying[id]

    def fill(self, name: str, asked: TimeWindow) -> None:
        """Make what is due of one table in a range, as `Pipeline.fill` does for planned work."""
        self.observe()
        table = self.declarations.tables[name]
        state = replace(self.state(), in_flight=())
        rule = Rule(self.declarations, state, self.calendar, self.now)
        due = rule.due(table, at_once=True).clip(asked)
        partitions = [p for s in due for p in self.calendar.partitions(s, table.grain)]
        if table.stream and table.grain == "5 min":
            self.reads += due
        for partition in partitions:
            covered = self._covered(table, partition, rule, state)
            kind = self.fails(name, partition)
            if table.is_days_of_stream and not self._is_compacted(table, partition):
                self.reads.append(partition)
                kind = kind or next((k for w in partition.windows() if (k := self.fails(table.stream.name, w))), None)
            if kind:
                self._fail(table, partition, kind, rule)
            else:
                self._publish(table, partition, covered)

    def _covered(self, table: Table, partition: TimeWindow, rule: Rule, state: LedgerState) -> Intervals:
        if table.consumer is None:
            return Intervals.of(partition)
        ahead = rule.horizon(table)
        there = Intervals.of(partition.clip(TimeWindow(partition.start, max(partition.start, ahead.upto))))
        for name in table.consumer.inputs:
            there &= delivered(name, self.declarations, state)
        assert there, f"{table.name} {partition} was asked for without any input"
        if partition.end <= ahead.open_from:
            read = lookback_span(partition, table, rule.first(table), self.calendar)
            for name in table.consumer.inputs:
                assert delivered(name, self.declarations, state).covers(read), f"{table.name} {partition} lacks {name}"
        return there

    def _is_compacted(self, table: Table, day: TimeWindow) -> bool:
        assert table.stream
        stream = table.stream.name
        is_whole = self.covered(stream).covers(day) and not self.covered(table.name).covers(day)
        return is_whole and not any(r.span.overlaps(day) for r in self.reopened.get(stream, ()))

    def _publish(self, table: Table, partition: TimeWindow, covered: Intervals) -> None:
        name = table.name
        if table.stream and not (table.is_days_of_stream and self._is_compacted(table, partition)):
            content = frozenset(
                (s, w, n) for (s, w), n in self.late.items() if s == table.stream.name and w in partition
            )
        else:
            content = self._inputs(table, partition, covered)
        if self.content.get((name, partition.start), frozenset()) != content:
            self.content[name, partition.start] = content
            self._changed = True
        self.coverage[name] = (self.covered(name) - Intervals.of(partition)) | covered
        if table.consumer:
            self.code.setdefault(name, {})[partition.start] = table.consumer.code
        self.published_at[name, partition.start] = self.now
        # A day of a stream mends its windows too.
        for mended in {name, table.stream.name if table.stream else name}:
            self.reopened[mended] = [
                r for r in self.reopened.get(mended, ()) if not (r.span.overlaps(partition) and r.since <= self.now)
            ]
            failures = self.failures.get(mended, {})
            for start in [s for s in failures if s in partition]:
                del failures[start]

    def _inputs(self, table: Table, partition: TimeWindow, covered: Intervals | None = None) -> Content:
        """What the partition's inputs contain now."""
        if table.stream:
            return frozenset(self._content(table.stream.name, Intervals.of(partition)))
        covered = covered if covered is not None else self.covered(table.name).clip(partition)
        first = self.windows_from if table.grain == "5 min" else self.start
        read = lookback_span(partition, table, first, self.calendar)
        assert table.consumer
        wanted = covered | (Intervals.of(read) - Intervals.of(partition))
        return frozenset(item for name in table.consumer.inputs for item in self._content(name, wanted))

    def _content(self, name: str, spans: Intervals) -> Iterable[tuple[str, datetime, int]]:
        if not self.declarations.is_stream(name):
            table = self.declarations.tables[name]
            for (other, start), content in self.content.items():
                if other == name and Intervals.of(self._partition(table, start)) & spans:
                    yield from content
            return
        days = self.covered(name + "_daily")
        for (other, start), content in self.content.items():
            if other == name + "_daily" or (other == name and not days.covers(TimeWindow(start, start + GRID))):
                yield from (item for item in content if spans.covers(TimeWindow(item[1], item[1] + GRID)))

    def _fail(self, table: Table, partition: TimeWindow, kind: Kind, rule: Rule) -> None:
        known = self.failures.setdefault(table.name, {})
        code = table.consumer.code if table.consumer else ""
        before = known.get(partition.start)
        tries = (before.tries if before and before.code == code else 0) + 1
        wait = min(15 * MINUTE, timedelta(seconds=30) * 2 ** min(tries - 1, 10))
        upto = min(rule.horizon(table).upto, partition.end) if table.consumer else None
        next_try = None if kind == "terminal" and tries >= 3 else self.now + wait
        known[partition.start] = Failure(partition, kind, tries, self.now, next_try, kind == "transient", code, upto)

    def retry(self, table: str) -> None:
        self.failures.pop(table, None)
