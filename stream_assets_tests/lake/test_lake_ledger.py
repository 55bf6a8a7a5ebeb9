"""What the ledger says of publications, against plain models."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Receipt
from stream_assets.core.window import Calendar, TimeWindow
from stream_assets.errors import LakeError
from stream_assets.lake.ledger import Ledger
from stream_assets.lake.store import Lake
from stream_assets.testing.partitions import DAY, NOW, START, WINDOWS, events, publish

COUNT = 24
HOUR = WINDOWS[:COUNT]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    made = Ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite")
    made.create(Calendar(), START, START, NOW)
    made.database.change("pragma synchronous = off")
    yield made
    made.database.close()


places = st.tuples(st.integers(0, COUNT - 1), st.integers(1, 6)).map(
    lambda p: TimeWindow(HOUR[p[0]].start, HOUR[min(COUNT - 1, p[0] + p[1] - 1)].end)
)
MINUTE = timedelta(minutes=1)
instants = st.integers(0, 20).map(lambda n: NOW + n * MINUTE)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.lists(places, min_size=1, max_size=3), st.booleans()), max_size=12))
def test_coverage_is_what_was_covered_last(ledger: Ledger, changes: list[tuple[list[TimeWindow], bool]]) -> None:
    """The model is a set of windows; touching intervals are kept as one row."""
    table = "model"
    ledger.database.change("delete from coverage where tbl = ?", (table,))
    covered: set[TimeWindow] = set()
    for spans, is_whole in changes:
        inside = {w for s in spans for w in s.windows()}
        now = inside if is_whole else set(sorted(inside)[::2])
        ledger.cover(table, spans, Intervals.union_of(now))
        covered = (covered - inside) | now
        assert (
            ledger.coverage(table) == Intervals.union_of(covered) == ledger.coverage_of([table]).get(table, Intervals())
        )
    rows = ledger.database.row("select count(*) as n from coverage where tbl = ?", (table,))
    assert rows is not None
    assert rows["n"] == len(Intervals.union_of(covered).spans)


class Reopenings(RuleBasedStateMachine):
    """Each window keeps since when it is due, the latest news of it, and when it may be healed; clocks may go back."""

    ledger: Ledger

    def __init__(self) -> None:
        super().__init__()
        self.ledger.database.change("delete from reopened")
        self.known: dict[TimeWindow, tuple[datetime, int, datetime]] = {}
        self.now = NOW
        self.marks = [self.ledger.reopened.mark()]

    @rule(span=places, wait=st.integers(0, 5))
    def reopen(self, span: TimeWindow, wait: int) -> None:
        mark = self.ledger.reopened.mark() + 1
        self.ledger.reopened.add("events", Intervals.of(span), "late", self.now, self.now + wait * MINUTE)
        self.marks.append(self.ledger.reopened.mark())
        for window in span.windows():
            since, _, not_before = self.known.get(window, (self.now, mark, self.now + wait * MINUTE))
            self.known[window] = (since, mark, not_before)

    @rule(span=places, age=st.integers(0, 10))
    def settle(self, span: TimeWindow, age: int) -> None:
        read_at = self.marks[max(0, len(self.marks) - 1 - age)]
        self.ledger.settle("events", span, read_at)
        for window in span.windows():
            if window in self.known and self.known[window][1] <= read_at:
                del self.known[window]

    @rule(minutes=st.integers(-5, 5))
    def wait(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @invariant()
    def says_what_the_model_says(self) -> None:
        found = {
            window: (item.since, item.not_before)
            for item in self.ledger.reopened.all().get("events", ())
            for window in item.span.windows()
        }
        assert found == {w: (since, not_before) for w, (since, _, not_before) in self.known.items()}
        count = sum(len(list(i.span.windows())) for i in self.ledger.reopened.all().get("events", ()))
        assert count == len(found), "a window is reopened twice"


def test_reopening_and_settling_follow_the_model(ledger: Ledger) -> None:
    Reopenings.ledger = ledger
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Reopenings, settings=settings(max_examples=40, stateful_step_count=20, deadline=None))


def receipt(table: str, span: TimeWindow, revision: int = 1, code: str = "") -> Receipt:
    return Receipt(table, span, revision, 1, Digest(revision, 0), Intervals.of(span), NOW, code=code)


def test_the_newest_publication_and_its_code_need_no_history(ledger: Ledger) -> None:
    assert ledger.newest("code") is None
    with ledger.transaction():
        for window in WINDOWS:
            ledger.record(receipt("code", window, code="old"), "file", Intervals.of(window))
        ledger.record(receipt("code", WINDOWS[7], 2, code="new"), "file", Intervals.of(WINDOWS[7]))
    newest = ledger.newest("code")
    assert newest is not None
    assert (newest.span, newest.revision, newest.code) == (WINDOWS[7], 2, "new")
    plan = ledger.database.rows(
        "explain query plan select c.* from publication p join current c on c.tbl = p.tbl and c.key_start = p.key_start"
        " where p.tbl = 'code' order by p.seq desc limit 1"
    )
    assert all(row["detail"].startswith("SEARCH") for row in plan), [row["detail"] for row in plan]
    assert ledger.count_other_code("code", "new", START) == 287
    assert ledger.made_by_other_code({"code": "new", "events": ""}, WINDOWS[-2].start) == {
        "code": Intervals.of(*WINDOWS[-2:])
    }


def test_partitions_that_touch_a_span(ledger: Ledger) -> None:
    with ledger.transaction():
        for span in (DAY, TimeWindow(DAY.end, DAY.end + timedelta(hours=25))):
            ledger.record(receipt("days", span), "file", Intervals())
    second = DAY.end + timedelta(hours=24, minutes=59)
    assert [c.span.start for c in ledger.current("days", TimeWindow(second, second + MINUTE))] == [DAY.end]
    assert len(ledger.current("days", TimeWindow(DAY.end - MINUTE, DAY.end + MINUTE))) == 2
    assert ledger.current("days", TimeWindow(DAY.end, DAY.end)) == []


def test_a_table_keeps_its_grain_and_learns_its_stream(ledger: Ledger) -> None:
    ledger.register("late", "day", None)
    ledger.register("late", "day", "stream")
    assert ledger.stream_of("late") == "stream"
    with pytest.raises(LakeError, match="cannot become '5 min'"):
        ledger.register("late", "5 min", "stream")
    assert ledger.tables()["late"] == "day"


def test_what_was_touched_since(lake: Lake) -> None:
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    seq = lake.ledger.seq()
    publish(lake, "events", *((w, events(w, mark="b")) for w in WINDOWS[:2]))
    assert [touched for _, touched in lake.ledger.history.touched_since(seq, "events")] == [
        Intervals.of(w) for w in WINDOWS[:2]
    ]
    assert [n for n, _ in lake.ledger.history.touched_since(seq, "events")] == [seq + 1, seq + 2]


def test_sequence_numbers_are_never_used_twice(lake: Lake) -> None:
    """A cursor that was kept must not meet another publication under its number."""
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    seq = lake.ledger.seq()
    lake.ledger.database.change("delete from publication")
    publish(lake, "events", (WINDOWS[1], events(WINDOWS[1])))
    assert lake.ledger.seq() > seq
    assert Path(lake.layout.ledger).exists()
