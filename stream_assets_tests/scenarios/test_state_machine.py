"""Late events, corrections, cadences, code, outages, hands and midnights meet in any order, in two processes.

Whatever is drawn, the lake ends equal to one that was built from scratch.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from stream_assets import consumer
from stream_assets.core.declaration import Consumer
from stream_assets.core.planning import HEAL
from stream_assets.core.window import GRID, TimeWindow, floor_to_grid
from stream_assets.errors import StreamAssetsError
from stream_assets.lake.publish import Publisher
from stream_assets.pipeline import Pipeline
from stream_assets.pipeline.gaps import accept_gap, reopen
from stream_assets.pipeline.verify import verify
from stream_assets_tests.lake.processes import DIED, killed_at_line, run
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.conftest import MEMORY
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import World, at_freshness

HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
FRESHNESS = {
    "dashboard": ("5 min", "20 min", "1 day"),
    "report": ("5 min", "1 hour", "1 day"),
    "totals": ("1 hour", "1 day"),
}
TABLES = ("events", "events_daily", *FRESHNESS)
STARTS = "2026-03-10"


@consumer(freshness="1 day", reads={"events": ["country", "amount"]})
def dearest(events: pa.Table) -> pa.Table:
    """What `report` becomes after an edit: the dearest order too."""
    aggregates = [("amount", "sum"), ("amount", "count"), ("amount", "max")]
    return events.group_by("country").aggregate(aggregates).sort_by("country")


@consumer(freshness="1 day", reads={"dashboard": ["country", "amount_sum"]})
def totals(dashboard: pa.Table) -> pa.Table:
    """Revenue per country and day, from what another consumer summed."""
    return dashboard.group_by("country").aggregate([("amount_sum", "sum")]).sort_by("country")


BODIES = (report, replace(dearest, name="report"))
places = st.floats(0, 1, allow_nan=False)


class Machine(RuleBasedStateMachine):
    """Two processes share a lake: two pipelines with connections of their own, and children of the second."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-", dir=MEMORY if MEMORY.is_dir() else None))
        self.added: list[str] = []
        self.moved = set[str]()
        self.asked: list[tuple[int, Any, int]] = []

    @initialize(freshness=st.fixed_dictionaries({n: st.sampled_from(f) for n, f in FRESHNESS.items()}))
    def begin(self, freshness: dict[str, str]) -> None:
        self.freshness, self.body = freshness, 0
        self.w = World(
            self.folder / "lake", *self.consumers(), now=f"{STARTS} 00:40", start=STARTS, sources={"events": Shop()},
            keep_windows="1 day",
        )  # fmt: skip
        self.pipelines = [self.w.pipeline, self.opened()]
        self.w.run()

    def consumers(self) -> list[Consumer]:
        declared = (dashboard, BODIES[self.body], totals)
        return [at_freshness(c, self.freshness[c.name]) for c in declared]

    def opened(self) -> Pipeline:
        return self.w.project.open(self.consumers(), self.w.clock)

    def before_now(self, place: float) -> datetime:
        start = self.w.pipeline.lake.start
        return start + (self.w.now - start) * min(place, 0.999)

    # What time does.

    @rule(minutes=st.integers(1, 40))
    def time_passes_with_automations(self, minutes: int) -> None:
        with suppress(StreamAssetsError):
            self.w.live(f"{self.w.now + timedelta(minutes=minutes):%Y-%m-%d %H:%M:%S}")

    @rule(seconds=st.integers(1, 4000))
    def time_passes_alone(self, seconds: int) -> None:
        self.w.clock.advance(timedelta(seconds=seconds))

    @rule(margin=st.integers(0, 12), is_seen=st.booleans())
    def midnight_passes(self, margin: int, is_seen: bool) -> None:
        tonight = self.w.calendar.day_around(self.w.now).end
        if is_seen:
            self.w.clock.set(tonight - timedelta(minutes=margin))
            self.each_does(lambda p: list(p.run()))
            self.w.live(f"{tonight + timedelta(minutes=12):%Y-%m-%d %H:%M:%S}")
        else:
            self.w.clock.set(tonight + timedelta(minutes=margin))

    # What the world does.

    @rule(place=places, wait=st.sampled_from([1, 200, 9000]))
    def an_event_comes_late(self, place: float, wait: int) -> None:
        self.add(self.before_now(place), wait)

    def add(self, at: datetime, wait: int) -> None:
        self.w.shop.add(at, self.w.now + wait * SECOND)
        self.added.append(self.w.shop._added[-1]["event_id"])

    @rule(place=places, amount=st.integers(1, 999))
    def an_event_is_corrected(self, place: float, amount: int) -> None:
        at = self.before_now(place)
        window = TimeWindow(floor_to_grid(at), floor_to_grid(at) + GRID)
        for row in self.w.shop.events(window)[:1]:
            if row["event_id"] not in self.added and row["event_time"] <= self.w.now:
                self.w.shop.add(row["event_time"], self.w.now + SECOND, id=row["event_id"], amount=amount, country="KR")

    @precondition(lambda self: self.added)
    @rule(place=places, index=st.integers(0, 50))
    def an_event_moves(self, place: float, index: int) -> None:
        name = self.added[index % len(self.added)]
        self.w.clock.advance(SECOND)  # after whoever looked just now
        self.w.shop.move(name, self.before_now(place), at=self.w.now)
        self.moved.add(name)

    @rule(is_down=st.booleans())
    def the_source_goes_down_or_comes_back(self, is_down: bool) -> None:
        self.w.shop.is_down = is_down

    @rule(place=places, windows=st.integers(1, 20))
    def a_part_of_the_source_breaks(self, place: float, windows: int) -> None:
        start = floor_to_grid(self.before_now(place))
        self.w.shop.break_(start, start + windows * GRID)

    @rule()
    def the_source_is_mended(self) -> None:
        self.w.shop.mend()

    # What people do.

    @rule(name=st.sampled_from(list(FRESHNESS)), draw=st.integers(0, 2), who=st.integers(0, 1))
    def a_freshness_changes(self, name: str, draw: int, who: int) -> None:
        self.freshness[name] = FRESHNESS[name][draw % len(FRESHNESS[name])]
        self.reload(who)

    @rule(who=st.integers(0, 1))
    def a_body_is_edited(self, who: int) -> None:
        self.body = 1 - self.body
        self.reload(who)

    def reload(self, who: int) -> None:
        """One of the two processes loads the project as it is now; the other one goes on with what it has."""
        self.pipelines[who] = self.opened()
        self.w.pipeline = self.pipelines[0]

    @rule(table=st.sampled_from(TABLES), place=places, count=st.integers(1, 12), who=st.integers(0, 1))
    def a_range_is_filled_by_hand(self, table: str, place: float, count: int, who: int) -> None:
        self.does(who, lambda p: self.fill(p, table, place, count))

    @rule(place=places, who=st.integers(0, 1))
    def days_are_backfilled(self, place: float, who: int) -> None:
        for table in ("events_daily", "dashboard", "report", "totals"):
            self.does(who, lambda p, table=table: self.fill(p, table, place, 2))

    def span(self, table: str, place: float, count: int) -> TimeWindow:
        at = self.before_now(place)
        if self.w.pipeline.table(table).grain == "day":
            return self.w.calendar.day_around(at)
        return TimeWindow(floor_to_grid(at), floor_to_grid(at) + count * GRID)

    def fill(self, pipeline: Pipeline, table: str, place: float, count: int) -> None:
        span = self.span(table, place, count)
        with pipeline.running(table, span) as running:
            pipeline.fill(table, span, running)

    @rule(table=st.sampled_from(TABLES), who=st.integers(0, 1))
    def somebody_says_retry(self, table: str, who: int) -> None:
        self.does(who, lambda p: p.lake.ledger.work.clear_failures(table, TimeWindow(p.lake.start, self.w.now)))

    @rule(name=st.sampled_from(list(FRESHNESS)), is_paused=st.booleans())
    def a_consumer_is_paused_or_resumed(self, name: str, is_paused: bool) -> None:
        self.w.pipeline.lake.ledger.sources.pause(name, self.w.now if is_paused else None)

    @rule(table=st.sampled_from(TABLES), place=places, count=st.integers(1, 12), who=st.integers(0, 1))
    def a_gap_is_accepted(self, table: str, place: float, count: int, who: int) -> None:
        self.does(who, lambda p: accept_gap(p, table, self.span(table, place, count), "Anna", "the book burnt"))

    # What processes do.

    def does(self, who: int, work: Callable[[Pipeline], object]) -> None:
        """What is refused in so many words is no failure of the lake; any other exception is."""
        with suppress(StreamAssetsError):
            work(self.pipelines[who])

    def each_does(self, work: Callable[[Pipeline], object]) -> None:
        for who in (0, 1):
            self.does(who, work)

    def automation(self, who: int, place: float) -> str:
        names = [*(c.name for c in self.pipelines[who].declarations.cadences), HEAL]
        return names[int(place * 0.999 * len(names))]

    @rule(who=st.integers(0, 1), place=places)
    def an_automation_asks_and_its_runs_hang(self, who: int, place: float) -> None:
        def ask(pipeline: Pipeline) -> None:
            self.asked += [(who, work, lease.id) for work, lease in pipeline.request(self.automation(who, place))[1]]

        self.does(who, ask)

    @precondition(lambda self: self.asked)
    @rule(index=st.integers(0, 20))
    def a_hanging_run_goes_on(self, index: int) -> None:
        who, work, request = self.asked.pop(index % len(self.asked))
        self.does(who, lambda p: p.run_work(work, request))

    @rule(who=st.integers(0, 1))
    def everything_due_is_done(self, who: int) -> None:
        self.does(who, lambda p: list(p.run()))

    @rule(place=places, is_late=st.booleans(), only_looks=st.booleans())
    def both_are_at_work_at_once(self, place: float, is_late: bool, only_looks: bool) -> None:
        """Between what the first has read and its commit an event of that arrives, and the second works or just looks."""
        commit, left = Publisher.commit, [True]

        def slow(publisher: Publisher, *others: Any) -> list[Any]:
            if left and publisher.tables:
                left.pop()
                if is_late:
                    made = publisher._staged[0].receipt.span
                    self.add(min(made.start + made.duration * place * 0.999, self.w.now), 1)
                    self.w.clock.advance(2 * SECOND)
                self.does(1, lambda p: p.observe() if only_looks else list(p.run()))
            return commit(publisher, *others)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Publisher, "commit", slow)
            self.w.clock.advance(2 * GRID)
            self.does(0, lambda p: list(p.run()))

    @rule(line=st.integers(1, 600), is_killed=st.booleans())
    def a_child_works_and_may_be_killed(self, line: int, is_killed: bool) -> None:
        def work() -> None:
            self.pipelines[1] = self.opened()
            self.does(1, lambda p: list(p.run()))

        assert run(killed_at_line(line, work) if is_killed else work) in (0, DIED)

    @rule()
    def somebody_reads(self) -> None:
        there = self.w.ids()
        doubled = {i for i in there if there.count(i) > 1} if len(there) != len(set(there)) else set()
        assert doubled <= self.moved

    # The end.

    def teardown(self) -> None:
        try:
            if hasattr(self, "w"):
                self.ends_like_a_lake_made_at_once()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def ends_like_a_lake_made_at_once(self) -> None:
        w = self.w
        w.shop.is_down = False
        w.shop.mend()
        for name in FRESHNESS:
            w.pipeline.lake.ledger.sources.pause(name, None)
        w.define(*self.consumers())
        self.what_was_given_up_is_found()
        tonight = w.calendar.day_around(w.now + 4 * HOUR).end
        for instant in (w.now + 3 * HOUR, tonight + HOUR, tonight + 3 * HOUR):
            w.clock.set(instant)
            w.run()
            self.refresh()
            for table in TABLES:
                w.retry(table)
            w.run()
        everything = TimeWindow(w.pipeline.lake.start, w.calendar.day_around(w.now).end)
        found = verify(w.pipeline.site, list(w.pipeline.declarations.tables), everything)
        assert found.differences == []
        there = w.ids()
        assert len(there) == len(set(there))
        fresh = World(
            self.folder / "fresh", *self.consumers(), now=f"{w.now:%Y-%m-%d %H:%M:%S}", start=STARTS, sources=w.sources
        )
        fresh.run()
        for table in TABLES:
            upto = f"{tonight:%Y-%m-%d}"
            assert w.table(table, upto) == fresh.table(table, upto), table
        assert set(there) == set(fresh.ids())

    def what_was_given_up_is_found(self) -> None:
        for table in TABLES:
            for current in self.w._current(table):
                for gap in current.receipt.accepted:
                    reopen(self.w.pipeline, table, gap.span, "found after all")

    def refresh(self) -> None:
        pipeline = self.w.pipeline
        code = pipeline.declarations.consumer("report").code
        made = pipeline.lake.ledger.made_by_other_code({"report": code}, pipeline.lake.start)
        for span in made.get("report", ()):
            with pipeline.running("report", span) as running:
                pipeline.fill("report", span, running)


def any_order(examples: int, steps: int) -> Any:
    # Shrinking a story of this kind takes minutes: the one that failed is shown as it was.
    return settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )  # fmt: skip


def test_in_any_order_the_lake_ends_like_one_made_at_once() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Machine, settings=any_order(4, 25))


@pytest.mark.exhaustive
def test_in_many_orders_the_lake_ends_like_one_made_at_once() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Machine, settings=any_order(12, 40))
