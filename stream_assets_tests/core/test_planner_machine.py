"""Whatever happens, and in whatever order: nothing is asked twice or too early, and in the end the lake is whole."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stream_assets.core.cadence import DAY_MARGIN
from stream_assets.core.declaration import Consumer, StreamSpec
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import HEAL, Rule, Work
from stream_assets.core.planning.due import delivered
from stream_assets.core.window import TimeWindow
from stream_assets_tests.core.simulator import DAY, HOUR, MINUTE, World, consumer

STREAMS = (StreamSpec("events", settling=timedelta(seconds=30)), StreamSpec("orders", settling=timedelta(minutes=7)))
FRESHNESS = ("1 s", "5 min", "15 min", "20 min", "1 hour", "7 hours", "1 day", "2 days")
SHAPES: dict[str, dict[str, Any]] = {
    "dash": {"grain": "5 min"},
    "smooth": {"grain": "5 min", "inputs": ("dash",), "lookback": "1 hour"},
    "both": {"grain": "5 min", "inputs": ("events", "orders")},
    "today": {"grain": "day", "inputs": ("orders",)},
    "features": {"grain": "day", "lookback": "1 day"},
    "chain": {"grain": "day", "inputs": ("today", "dash")},
}
NAMES = st.sampled_from(sorted(SHAPES))


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.freshness: dict[str, str] = {}
        self.code = dict.fromkeys(SHAPES, "a")
        self.hanging: list[int] = []

    @initialize(
        zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Seoul"]),
        freshness=st.fixed_dictionaries({name: st.sampled_from(FRESHNESS) for name in SHAPES}),
    )
    def begin(self, zone: str, freshness: dict[str, str]) -> None:
        self.freshness = freshness
        # The clocks of Berlin change on the next day.
        self.world = World(*self.consumers(), now="2026-03-28T20:03", days=1, zone=zone, streams=STREAMS)

    def consumers(self) -> list[Consumer]:
        return [consumer(n, self.freshness[n], code=self.code[n], **shape) for n, shape in SHAPES.items()]

    # What the world does.

    @rule(minutes=st.integers(1, 40))
    def time_passes(self, minutes: int) -> None:
        self.world.now += minutes * MINUTE

    @rule(hours=st.integers(2, 30))
    def the_machine_is_down(self, hours: int) -> None:
        self.world.now += hours * HOUR

    @rule()
    def the_clock_jumps_back(self) -> None:
        self.world.now -= HOUR

    @rule(hours=st.integers(0, 40), minutes=st.integers(0, 59), stream=st.sampled_from(STREAMS))
    def an_event_comes_late(self, hours: int, minutes: int, stream: StreamSpec) -> None:
        when = self.world.now - stream.settling - timedelta(hours=hours, minutes=minutes + 5)
        if when >= self.world.start:
            self.world.late_event(when, stream.name)

    @rule(dead=st.sets(st.sampled_from([s.name for s in STREAMS])))
    def sources_die_or_come_back(self, dead: set[str]) -> None:
        self.world.dead = dead

    @rule(
        table=st.sampled_from(["events", "orders", "events_daily", *SHAPES]),
        kind=st.sampled_from(["transient", "terminal"]), every=st.integers(1, 7),
    )  # fmt: skip
    def partitions_begin_to_fail(self, table: str, kind: Any, every: int) -> None:
        def fails(name: str, partition: TimeWindow) -> Any:
            return kind if name == table and partition.start.timestamp() // 300 % every == 0 else None

        self.world.fails = fails

    @rule()
    def all_is_mended(self) -> None:
        self.world.fails = lambda *_: None

    # What people do.

    @rule(name=NAMES, freshness=st.sampled_from(FRESHNESS))
    def a_freshness_changes(self, name: str, freshness: str) -> None:
        self.freshness[name] = freshness
        self.world.declare(*self.consumers())

    @rule(name=NAMES)
    def a_body_is_edited(self, name: str) -> None:
        self.code[name] += "x"
        self.world.declare(*self.consumers())

    @rule(paused=st.sets(NAMES, max_size=2))
    def consumers_are_paused_and_resumed(self, paused: set[str]) -> None:
        self.world.paused = paused

    @rule(data=st.data())
    def automations_are_stopped_and_started(self, data: st.DataObject) -> None:
        self.world.stopped = data.draw(st.sets(st.sampled_from(self.world.automations), max_size=2))

    @rule(table=st.sampled_from(["events", "events_daily", "orders", *SHAPES]))
    def somebody_says_retry(self, table: str) -> None:
        self.world.retry(table)

    # What automations and runs do.

    @rule(data=st.data())
    def an_automation_looks_and_its_runs_hang(self, data: st.DataObject) -> None:
        self.hanging += self.world.look(data.draw(st.sampled_from(self.world.automations)))

    @rule()
    def all_automations_look_and_their_work_is_done(self) -> None:
        for automation in self.world.automations:
            for id in self.world.look(automation):
                self.do_at_once(id)

    @precondition(lambda self: self.hanging)
    @rule(index=st.integers(0, 10), is_done=st.booleans())
    def a_hanging_run_ends(self, index: int, is_done: bool) -> None:
        id = self.hanging.pop(index % len(self.hanging))
        if id in self.world.flying and is_done:
            self.world.do(id)
        self.world.flying.pop(id, None)

    def do_at_once(self, id: int) -> None:
        """Every partition of the range is delivered afterwards, or has failed now."""
        work = self.world.flying[id][0]
        self.world.do(id)
        for name in work.tables:
            failed = {f.span for f in self.world.failures.get(name, {}).values() if f.at == self.world.now}
            there = self.world.covered(name) | Intervals.union_of(failed)
            table = self.world.declarations.tables[name]
            if table.stream and work.grain == "5 min":
                there |= delivered(name, self.world.declarations, self.world.state())
            if table.consumer and any(self.failed_now(other) for other in work.tables):
                continue
            lacking = Intervals.of(work.span) - there
            if work.grain == "5 min" or work.is_catch_up:
                assert not lacking, f"{name} of {self.world.say(work)} lacks {lacking}"

    def failed_now(self, name: str) -> bool:
        return any(f.at == self.world.now for f in self.world.failures.get(name, {}).values())

    # What always holds.

    @invariant()
    def what_is_asked_is_settled_and_is_asked_once(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        plan = world.plan()
        state = world.state()
        assert sum(w.is_catch_up for w in [*plan.works, *(w for w, _ in world.flying.values())]) <= 1 + bool(
            world.flying
        )
        for index, work in enumerate(plan.works):
            self.is_settled(work)
            assert work.automation == HEAL or work.automation not in world.stopped
            others = [(o.tables, o.span) for o in plan.works[:index]] + [(f.tables, f.span) for f in state.in_flight]
            for tables, other in others:
                assert not (set(tables) & set(work.tables) and other.overlaps(work.span)), (
                    f"twice: {world.say(work)}, {other}"
                )
        assert set(plan.says) == set(world.automations)
        assert all(plan.says.values())

    def is_settled(self, work: Work) -> None:
        world = self.world
        for name in work.tables:
            table = world.declarations.tables[name]
            streams = (table.stream.name,) if table.stream else world.declarations.streams_of(name)
            settled = min(world.watermarks.get(s, world.start) for s in streams)
            if work.grain == "5 min":
                assert work.span.end <= settled
            elif work.is_catch_up or table.stream:
                settling = max(world.declarations.stream(s).settling for s in streams)
                assert work.span.end <= min(settled, world.now - settling - DAY_MARGIN)

    def teardown(self) -> None:
        """All is mended; then a quiet hour and some ticks make the lake what a fresh one would be."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.fails = lambda *_: None
        world.dead, world.paused, world.stopped = set(), set(), set()
        world.failures.clear()
        world.flying.clear()
        newest = max(
            [world.now, *(r.not_before for known in world.reopened.values() for r in known), *world.watermarks.values()]
        )
        world.now = newest + 2 * DAY
        for _ in range(3):  # each link of a chain of consumers waits for a boundary of its own
            world.now += 2 * HOUR
            world.tick(HEAL)
            world.rest(ticks=80)
        state = world.state()
        rule = Rule(world.declarations, state, world.calendar, world.now)
        for name, table in world.declarations.tables.items():
            there = (
                delivered(name, world.declarations, state)
                if table.stream and table.grain == "5 min"
                else world.covered(name)
            )
            assert not rule.wanted(table) - there, f"{name} lacks {rule.wanted(table) - there}"
            assert not [
                r
                for r in world.reopened.get(name, ())
                if table.consumer and r.span.end <= rule.horizon(table).open_from
            ]
        self.content_is_right()

    def content_is_right(self) -> None:
        world = self.world
        rule = Rule(world.declarations, world.state(), world.calendar, world.now)
        for (name, start), made in world.content.items():
            table = world.declarations.tables[name]
            partition = world.calendar.partitions(TimeWindow(start, start + MINUTE), table.grain)[0]
            if table.is_days_of_stream:
                assert made == {
                    (s, w, n) for (s, w), n in world.late.items() if s + "_daily" == name and w in partition
                }
            elif table.consumer and partition.end <= rule.horizon(table).open_from:
                assert made == world._inputs(table, partition)


# Shrinking a story of this kind takes minutes: the one that failed is shown as it was.
Machine.TestCase.settings = settings(
    max_examples=8,
    stateful_step_count=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
TestPlanner = Machine.TestCase
