"""An event whose time was corrected leaves one window and enters another (S7): never in both, never in neither."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta

import pytest

from stream_assets.core.window import GRID, TimeWindow, floor_to_grid
from stream_assets.lake.publish import Publisher
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import Shop

OPEN, LATER, CLOSED, BEFORE = "2026-03-12 00:12", "2026-03-12 00:42", "2026-03-11 08:12", "2026-03-10 08:12"


@contextmanager
def watched(w, *ids):
    """Look at the lake after every commit: each id is there once."""
    commit, seen = Publisher.commit, []

    def looked_at(publisher, *others):
        receipts = commit(publisher, *others)
        if any(r.table.startswith("events") for r in receipts):
            there = w.ids()
            seen.append([there.count(i) for i in ids])
        return receipts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Publisher, "commit", looked_at)
        yield
    assert seen
    assert all(counts == [1] * len(ids) for counts in seen), seen


def instant(w, text):
    return w.calendar.instant(text.replace(" ", "T"))


def around(at):
    return TimeWindow(floor_to_grid(at), floor_to_grid(at) + GRID)


def filled(world, *windows, now="2026-03-12 00:47"):
    w = world(dashboard, report, now=now, start="2026-03-10", sources={"events": Shop(every=timedelta(minutes=4))})
    for n, at in enumerate(windows):
        w.shop.add(instant(w, at), instant(w, at), id=f"moving-{n}")
    w.run()
    w.live("01:01", every="1 hour")
    return w


@pytest.mark.parametrize(
    ("start", "end"),
    [(OPEN, LATER), (LATER, OPEN), (OPEN, CLOSED), (CLOSED, OPEN), (BEFORE, CLOSED), (CLOSED, BEFORE)],
)
def test_a_named_move_is_one_commit(world, start, end):
    # Some windows of the closed day have files of their own, too.
    w = filled(world, start, now="2026-03-12 00:02" if start == OPEN else "2026-03-12 00:47")
    w.shop.move("moving-0", instant(w, end), at=w.instant("01:02"))
    with watched(w, "moving-0"):
        w.live("03:01", every="30 min")
    rows = w.pipeline.lake.read("events", w.calendar.day_around(instant(w, end)))
    assert "moving-0" in rows["event_id"].to_pylist()
    assert w.failures("events") == w.failures("events_daily") == []
    assert w.run() == []


def test_a_chain_of_moves_is_one_commit(world):
    w = filled(world, BEFORE, CLOSED, OPEN)
    for n, at in enumerate((CLOSED, OPEN, LATER)):
        w.shop.move(f"moving-{n}", instant(w, at), at=w.instant("01:02"))
    with watched(w, "moving-0", "moving-1", "moving-2"):
        w.live("03:01", every="30 min")
    assert w.run() == []


def test_an_event_stays_where_it_was_while_the_window_that_it_entered_cannot_be_read(world):
    w = filled(world, OPEN)
    w.shop.move("moving-0", instant(w, LATER), at=w.instant("01:02"))
    w.shop.break_(instant(w, "2026-03-12 00:40"))
    with watched(w, "moving-0"):
        w.live("01:31")
        assert w.failures("events")
        w.shop.mend()
        w.live("02:31")
    assert w.failures("events") == []
    rows = w.pipeline.lake.read("events", w.calendar.partitions(w.calendar.day_around(w.now), "5 min")[8])
    assert "moving-0" in rows["event_id"].to_pylist()


def test_late_events_that_moved_nowhere_take_nothing_along(world):
    w = filled(world)
    for at in (OPEN, CLOSED):
        w.shop.add(instant(w, at), w.instant("01:02"))
    commit, made = Publisher.commit, []

    def told(publisher, *others):
        receipts = commit(publisher, *others)
        made.append({r.table for r in receipts if r.revision > 1})
        return receipts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Publisher, "commit", told)
        w.live("02:31", every="30 min")
    assert {"events"} in made
    assert {"events_daily"} in made


@pytest.mark.parametrize(("to", "start"), [("00:52", "00:50"), ("01:07", "01:05")])
def test_a_move_into_a_window_that_is_not_sealed_yet_is_one_commit(world, to, start):
    w = world(
        dashboard, now="2026-03-12 00:02", start="2026-03-12", sources={"events": Shop(every=timedelta(minutes=4))}
    )
    w.shop.add(w.instant("00:12"), w.instant("00:12"), id="moving")
    w.live("00:51")
    w.shop.move("moving", w.instant(to), at=w.instant("00:52"))
    with watched(w, "moving"):
        w.live("01:04")
        assert all("have moved into windows that are not sealed yet" in said for said in w.failures("events"))
        w.live("01:11")
        assert w.failures("events") == []
        w.live("2026-03-13 00:30", every="30 min")
        w.run()
    assert w.coverage("events_daily").covers(w.calendar.day_around(w.instant("2026-03-12")))
    there = w.pipeline.lake.read("events", w.pipeline.range("events", f"2026-03-12T{start}"))
    assert "moving" in there["event_id"].to_pylist()


def test_a_move_waits_as_long_as_the_window_that_it_entered_is_not_sealed(world):
    w = world(
        dashboard, now="2026-03-12 00:02", start="2026-03-12", sources={"events": Shop(every=timedelta(minutes=4))}
    )
    w.shop.add(w.instant("00:12"), w.instant("00:12"), id="moving")
    w.live("00:51")
    w.shop.move("moving", w.instant("02:32"), at=w.instant("00:52"))
    with watched(w, "moving"):
        w.live("02:31")
        (failure,) = w.pipeline.lake.ledger.work.failures()["events"]
        assert failure.transient
        assert failure.tries > 3
        w.live("02:56")
    assert w.failures("events") == []
    assert w.run() == []


def test_a_move_into_a_day_that_is_not_sealed_yet_is_one_commit(world):
    w = world(report, now="2026-03-12 00:47", start="2026-03-10", sources={"events": Shop(every=timedelta(minutes=4))})
    w.shop.add(instant(w, BEFORE), instant(w, BEFORE), id="moving")
    w.shop.break_(instant(w, CLOSED))
    w.run()
    assert w.receipts("events_daily").keys() == {"2026-03-10"}
    w.shop.move("moving", instant(w, CLOSED), at=w.instant("00:52"))
    w.live("02:01", every="30 min")
    assert w.ids().count("moving") == 1
    w.shop.mend()
    with watched(w, "moving"):
        w.live("05:01", every="30 min")
    assert w.failures("events_daily") == []
    rows = w.pipeline.lake.read("events", w.calendar.day_around(instant(w, CLOSED)))
    assert "moving" in rows["event_id"].to_pylist()
    assert w.run() == []


def test_a_window_that_an_event_entered_is_not_given_up_while_the_one_that_it_left_cannot_be_read(world):
    w = filled(world, BEFORE)
    w.shop.move("moving-0", w.instant("01:07"), at=w.instant("01:02"))
    w.shop.break_(instant(w, "2026-03-10 08:10"))
    with watched(w, "moving-0"):
        w.live("03:01")
        assert all(f.transient for f in w.pipeline.lake.ledger.work.failures()["events"])
        w.shop.mend()
        w.live("05:01")
    assert w.failures("events") == w.failures("events_daily") == []
    assert w.ids().count("moving-0") == 1


@pytest.mark.parametrize("poisoned", ["2026-03-11 01:12", "2026-03-11 12:12"])
@pytest.mark.parametrize(("start", "end"), [(CLOSED, "2026-03-11 20:12"), ("2026-03-11 20:12", CLOSED)])
def test_a_move_within_a_closed_day_is_one_commit_while_another_window_of_it_cannot_be_read(
    world, start, end, poisoned
):
    w = filled(world, start)
    w.shop.move("moving-0", instant(w, end), at=w.instant("01:02"))
    w.shop.add(instant(w, poisoned), w.instant("01:02"), id="poisoned")
    w.shop.break_(floor_to_grid(instant(w, poisoned)))
    with watched(w, "moving-0"):
        w.live("03:01", every="30 min")
    there = w.pipeline.lake.read("events", around(instant(w, end)))["event_id"].to_pylist()
    assert "moving-0" in there
    assert all("cannot be read" in said for said in w.failures("events_daily"))
    assert w.failures("events_daily")
    w.shop.mend()
    w.retry("events_daily")
    w.live("05:01", every="30 min")
    assert w.failures("events_daily") == []
    assert w.ids().count("poisoned") == w.ids().count("moving-0") == 1
    assert w.run() == []


def test_moves_between_two_closed_days_are_one_commit_while_another_window_of_each_cannot_be_read(world):
    w = filled(world, BEFORE, CLOSED)
    w.shop.move("moving-0", instant(w, "2026-03-11 20:12"), at=w.instant("01:02"))
    w.shop.move("moving-1", instant(w, "2026-03-10 20:12"), at=w.instant("01:02"))
    for poisoned in ("2026-03-10 12:12", "2026-03-11 12:12"):
        w.shop.add(instant(w, poisoned), w.instant("01:02"))
        w.shop.break_(floor_to_grid(instant(w, poisoned)))
    with watched(w, "moving-0", "moving-1"):
        w.live("03:01", every="30 min")
    for id, end in (("moving-0", "2026-03-11 20:12"), ("moving-1", "2026-03-10 20:12")):
        assert id in w.pipeline.lake.read("events", around(instant(w, end)))["event_id"].to_pylist()
    assert len(w.failures("events_daily")) == 2
    w.shop.mend()
    w.retry("events_daily")
    w.live("05:01", every="30 min")
    assert w.failures("events_daily") == []
    assert w.run() == []


@pytest.mark.parametrize(("start", "end"), [(CLOSED, "2026-03-11 20:12"), ("2026-03-11 20:12", CLOSED)])
@pytest.mark.parametrize("is_entered", [True, False])
def test_both_ends_of_a_move_within_a_closed_day_wait_while_one_of_them_cannot_be_read(world, start, end, is_entered):
    w = filled(world, start)
    w.shop.move("moving-0", instant(w, end), at=w.instant("01:02"))
    w.shop.add(instant(w, "2026-03-11 12:12"), w.instant("01:02"), id="late")
    w.shop.break_(floor_to_grid(instant(w, end if is_entered else start)))
    with watched(w, "moving-0"):
        w.live("03:01", every="30 min")
        assert "late" in w.ids()
        assert w.failures("events_daily")
        w.shop.mend()
        w.retry("events_daily")
        w.live("05:01", every="30 min")
    assert w.failures("events_daily") == []
    assert "moving-0" in w.pipeline.lake.read("events", around(instant(w, end)))["event_id"].to_pylist()
    assert w.run() == []


def test_a_move_in_the_open_day_is_one_commit_while_a_window_beside_it_cannot_be_read(world):
    w = filled(world, OPEN)
    w.shop.move("moving-0", instant(w, LATER), at=w.instant("01:02"))
    for poisoned in ("2026-03-12 00:37", "2026-03-12 00:47"):
        w.shop.add(instant(w, poisoned), w.instant("01:02"))
        w.shop.break_(floor_to_grid(instant(w, poisoned)))
    with watched(w, "moving-0"):
        w.live("01:31")
    assert "moving-0" in w.pipeline.lake.read("events", around(instant(w, LATER)))["event_id"].to_pylist()
    assert len(w.failures("events")) == 2
