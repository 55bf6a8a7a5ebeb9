"""What happens between the reading of inputs and the commit of what was made of them is never forgotten."""

import threading
from datetime import timedelta

import pyarrow as pa
import pytest

from stream_assets import consumer
from stream_assets.lake.ledger.work import WorkRecords
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.world import at_freshness

SECOND = timedelta(seconds=1)
book = at_freshness(report, "5 min")


def an_event_arrives(w, at, *, looks="heal", id="late"):
    """Return what lets an event arrive, and another automation look, so that the source's cursor is past it."""

    def happens():
        w.shop.add(w.instant(at), w.now + SECOND, id=id)
        w.clock.advance(2 * SECOND)
        w.tick(looks)

    return happens


def is_whole(w, table="dashboard"):
    """Each partition holds what its input has now."""
    for receipt in w.receipts(table).values():
        rows = w.pipeline.lake.read("events", receipt.span).num_rows
        there = w.pipeline.lake.read(table, receipt.span)
        assert sum(there["event_id_count"].to_pylist()) == rows, receipt.span
    return True


def test_a_late_event_that_is_seen_while_its_window_is_first_made(world):
    w = world(dashboard, report, now="2026-03-10 14:37", start="2026-03-10")
    w.run()
    w.at("2026-03-10 14:40").clock.advance(35 * SECOND)
    with w.before_commit("events", an_event_arrives(w, "2026-03-10 14:38")):
        w.tick("every_5_min")
    assert "late" not in w.ids()
    w.live("14:51")
    assert w.ids().count("late") == 1
    assert is_whole(w)
    assert w.receipts("events")["2026-03-10T14:35+0000"].reason == "events arrived late"


def test_a_late_event_that_is_seen_while_its_day_is_read_whole(world):
    w = world(report, now="2026-03-10 14:37", start="2026-03-08")
    with w.before_commit("events_daily", an_event_arrives(w, "2026-03-08 14:38", looks="daily")):
        w.run()
    w.live("16:01", every="30 min")
    assert w.ids().count("late") == 1
    assert w.pipeline.lake.ledger.reopened.all() == {}


def test_a_late_event_that_is_seen_while_its_day_is_compacted(world):
    w = world(dashboard, report, now="2026-03-10 14:37", start="2026-03-10")
    w.run()
    w.live("2026-03-11 00:01", every="30 min")
    with w.before_commit("events_daily", an_event_arrives(w, "2026-03-10 14:38")):
        w.live("00:12")
    w.live("01:30", every="30 min")
    assert w.ids().count("late") == 1
    assert is_whole(w)
    day, window = w.receipts("events_daily")["2026-03-10"], w.receipts("events")["2026-03-10T14:35+0000"]
    assert next(f.rows for f in day.windows if f.window == window.span) == window.rows == 6
    assert w.pipeline.lake.ledger.reopened.all() == {}


def test_a_late_event_between_midnight_and_the_days_turn(world):
    w = world(dashboard, report, now="2026-03-10 14:37", start="2026-03-10")
    w.run()
    w.live("2026-03-11 00:01", every="30 min")
    an_event_arrives(w, "2026-03-10 14:38")()
    w.live("00:30")
    day, window = w.receipts("events_daily")["2026-03-10"], w.receipts("events")["2026-03-10T14:35+0000"]
    assert next(f.rows for f in day.windows if f.window == window.span) == window.rows == 6
    assert w.pipeline.lake.ledger.reopened.all() == {}
    assert is_whole(w)


def test_a_slow_look_is_not_settled_by_a_read_that_began_before_it_ended(world):
    w = world(dashboard, now="2026-03-10 14:37", start="2026-03-10")
    w.run()
    looks = w.shop.arrivals

    def slow(cursor, *, now, state=None):
        w.shop.arrivals = looks
        w.clock.advance(5 * SECOND)

        def lands():
            w.shop.add(w.instant("2026-03-10 14:02"), w.now + 3 * SECOND, id="late")
            w.clock.advance(5 * SECOND)

        w.shop.add(w.instant("2026-03-10 14:01"), w.now - SECOND, id="seen")
        found = []

        def ends():
            lands()
            found.append(looks(cursor, now=w.now, state=state))

        with w.before_commit("events", ends):
            w.by_hand("events", "2026-03-10T14:00", "2026-03-10T14:05")
        return found[0]

    w.shop.arrivals = slow
    w.pipeline.observe()
    w.live("14:51")
    assert {"seen", "late"} <= set(w.ids())
    assert is_whole(w)


@pytest.mark.parametrize("hand", ["2026-03-10T14:35", "2026-03-10T14:30"])
def test_an_input_that_is_republished_while_its_reader_is_first_made(world, hand):
    w = world(dashboard, now="2026-03-10 14:37", start="2026-03-10")
    w.run()
    w.at("2026-03-10 14:40").clock.advance(35 * SECOND)

    def republished():
        w.shop.add(w.instant(hand.replace("T", " ")) + 60 * SECOND, w.now + SECOND, id="late")
        w.clock.advance(2 * SECOND)
        w.by_hand("events", hand)
        w.tick("heal")

    with w.before_commit("dashboard", republished):
        w.tick("every_5_min")
    w.live("14:51")
    assert w.ids().count("late") == 1
    assert is_whole(w)


def test_one_of_many_partitions_made_together_is_reopened_meanwhile(world):
    busy = []

    @consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id"]})
    def slow(events: pa.Table) -> pa.Table:
        """Count events, and let another one arrive, once."""
        if busy:
            busy.pop()()
        return pa.table({"event_id_count": [events.num_rows]})

    w = world(slow, now="2026-03-10 04:02", start="2026-03-10")
    w.run()

    def meanwhile():
        w.shop.add(w.instant("2026-03-10 01:01"), w.now + SECOND, id="late")
        w.clock.advance(2 * SECOND)
        w.by_hand("events", "2026-03-10T01:00", "2026-03-10T01:10")
        w.tick("heal")
        w.clock.advance(2 * SECOND)

    busy.append(meanwhile)
    w.by_hand("slow", "2026-03-10T00:00", "2026-03-10T04:00")
    w.live("04:31")
    assert is_whole(w, "slow")


def test_an_open_day_is_never_cut_back(world):
    w = world(dashboard, book, now="2026-03-10 14:37", start="2026-03-09")
    w.run()
    before = w.receipts("report")["2026-03-10"]
    w.define(dashboard, at_freshness(book, "1 hour"))
    w.pipeline.lake.ledger.reopened.add("report", before.covered, "the test says so", w.now, w.now)
    w.live("14:51")
    after = w.receipts("report")["2026-03-10"]
    assert after.complete_through >= before.complete_through
    assert after.revision == before.revision or after.complete_through > before.complete_through


def test_an_input_that_comes_between_two_parts_of_a_long_fill(world):
    """What is read of an input, and what is said to have been read, are of one moment."""

    @consumer(freshness="5 min", grain="5 min", lookback="15 min", reads={"dashboard": ["event_id_count"]})
    def smooth(dashboard: pa.Table) -> pa.Table:
        """Events of twenty minutes, from what another consumer counted."""
        return pa.table({"events": [sum(dashboard["event_id_count"].to_pylist())]})

    w = world(dashboard, smooth, now="2026-03-10 06:02", start="2026-03-10")
    w.by_hand("events", "2026-03-10T00:00", "2026-03-10T06:00")
    for start, end in (("00:00", "01:00"), ("04:10", "06:00")):
        w.by_hand("dashboard", f"2026-03-10T{start}", f"2026-03-10T{end}")
    with w.before_commit("smooth", lambda: w.by_hand("dashboard", "2026-03-10T03:55", "2026-03-10T04:10")):
        w.by_hand("smooth", "2026-03-10T00:00", "2026-03-10T06:00")
    w.run()
    window = w.pipeline.range("smooth", "2026-03-10T04:10")
    assert w.pipeline.lake.read("smooth", window).to_pydict() == {"events": [20]}


def test_the_planner_is_told_of_one_moment_whatever_others_do_while_it_asks(world):
    w = world(dashboard, now="2026-03-10 00:12", start="2026-03-10")
    before, failures, left = w.pipeline.state(), WorkRecords.failures, [w.run]

    def slow(records):
        while left:
            other = threading.Thread(target=left.pop())
            other.start()
            other.join()
        return failures(records)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkRecords, "failures", slow)
        assert w.pipeline.state() == before
    assert w.revisions("dashboard")
    assert w.pipeline.state() != before
