"""Two processes write one partition: both have read, and both are about to commit."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from stream_assets.core.receipt import Receipt
from stream_assets.errors import LakeUnavailable
from stream_assets.lake.publish import Publisher
from stream_assets.pipeline.verify import verify
from stream_assets_tests.lake.processes import ended, start
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.faults import shared_clock
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import World, at_freshness

SECOND = timedelta(seconds=1)
PATIENCE = 60
book = replace(at_freshness(report, "5 min"), name="book")


def race(w: World, table: str, first: Callable[[], object], second: Callable[[], object]) -> None:
    """Let `first` read its inputs, then `second` too, two seconds later, and both commit at once, each in a process.

    What arrives in between is seen by the second alone.
    """
    fork = multiprocessing.get_context("fork")
    has_read, both = fork.Event(), fork.Barrier(2)
    commit = Publisher.commit

    def meeting(work: Callable[[], object], read: Callable[[], object]) -> Callable[[], None]:
        waits = [True]

        def at_once(publisher: Publisher, *others: object) -> list[Receipt]:
            if waits and table in publisher.tables:
                waits.clear()
                read()
                both.wait(PATIENCE)
            return commit(publisher, *others)

        def child() -> None:
            Publisher.commit = at_once
            work()
            assert not waits, f"{table} was not written"

        return child

    def later() -> None:
        assert has_read.wait(PATIENCE)
        w.clock.advance(2 * SECOND)
        second()

    children = [start(meeting(first, has_read.set)), start(meeting(later, lambda: None))]
    assert [ended(child) for child in children] == [0, 0]


def assert_one_won(w: World, fresh: World, table: str) -> None:
    """Nothing is mixed, lost, doubled or missing: all is as in a lake where only one process ever wrote."""
    for then in (timedelta(minutes=10), timedelta(minutes=80)):
        w.clock.advance(then)
        w.run()
    fresh.clock.set(w.now)
    fresh.run()
    ledger = w.pipeline.lake.ledger
    for name in ledger.tables():
        assert w.table(name) == fresh.table(name), name
    assert len(w.ids()) == len(set(w.ids()))
    assert verify(w.pipeline.site, list(ledger.tables()), w.pipeline.range("events_daily", w.first)).differences == []
    assert ledger.work.failures() == {}
    history: dict[str, list[int]] = {}
    for row in ledger.database.rows(
        "select key_start, revision from publication where tbl = ? and kind != 'delivered' order by seq", (table,)
    ):
        history.setdefault(row["key_start"], []).append(row["revision"])
    assert all(seen == list(range(1, len(seen) + 1)) for seen in history.values()), history


class Race(World):
    """A world of hourly events that starts on a day of its own."""

    first = "2026-03-10"

    def __init__(self, folder: Path, now: str, shop: Shop) -> None:
        super().__init__(folder, dashboard, book, now=now, start=self.first, sources={"events": shop})
        shared_clock(self)


@pytest.fixture
def worlds(memory: Path) -> Callable[[str], tuple[Race, Race]]:
    """Two lakes of one source: that of the race, and one for comparison."""

    def make(now: str) -> tuple[Race, Race]:
        shop = Shop(every=timedelta(minutes=2))
        return Race(memory / "raced", now, shop), Race(memory / "fresh", now, shop)

    return make


Worlds = Callable[[str], tuple[Race, Race]]


@pytest.mark.parametrize("there", [False, True], ids=["new", "there before"])
def test_windows(worlds: Worlds, there: bool) -> None:
    w, fresh = worlds("2026-03-10 00:17")
    if there:
        w.run()
        w.shop.add(w.instant("2026-03-10 00:03"), w.now)
    w.shop.add(w.instant("2026-03-10 00:02"), w.now + SECOND)
    race(w, "events", *[lambda: w.by_hand("events", "2026-03-10T00:00", "2026-03-10T00:15")] * 2)
    assert_one_won(w, fresh, "events")


def test_an_automation_and_a_person(worlds: Worlds) -> None:
    w, fresh = worlds("2026-03-10 00:17")
    w.shop.add(w.instant("2026-03-10 00:02"), w.now + SECOND)
    race(
        w,
        "events",
        lambda: w.tick("every_5_min"),
        lambda: w.by_hand("events", "2026-03-10T00:00", "2026-03-10T00:15"),
    )
    assert_one_won(w, fresh, "events")


def test_days(worlds: Worlds) -> None:
    w, fresh = worlds("2026-03-11 01:00")
    w.shop.add(w.instant("2026-03-10 00:02"), w.now + SECOND)
    race(w, "events_daily", *[lambda: w.by_hand("events_daily", "2026-03-10")] * 2)
    assert_one_won(w, fresh, "events_daily")


def test_the_heal_of_a_day_and_a_window_of_it(worlds: Worlds) -> None:
    w, fresh = worlds("2026-03-10 01:02")
    w.run()
    w.at("2026-03-11 00:06").run()
    w.shop.add(w.instant("2026-03-10 00:02"), w.now + SECOND)
    w.at("2026-03-11 01:10").ticks()
    w.shop.add(w.instant("2026-03-10 00:12"), w.now + SECOND)
    assert w.revisions("events_daily")["2026-03-10"] == 2
    w.shop.add(w.instant("2026-03-10 00:03"), w.now - SECOND)
    w.clock.advance(timedelta(hours=1, minutes=1))
    w.shop.add(w.instant("2026-03-10 00:22"), w.now + SECOND)
    race(
        w,
        "events_daily",
        lambda: w.tick("heal"),
        lambda: w.by_hand("events", "2026-03-10T00:00", "2026-03-10T00:30"),
    )
    assert_one_won(w, fresh, "events_daily")


def test_a_consumer_and_a_late_event_of_its_input(worlds: Worlds) -> None:
    w, fresh = worlds("2026-03-10 00:17")
    w.run()
    w.at("00:20").clock.advance(36 * SECOND)
    w.by_hand("events", "2026-03-10T00:15", "2026-03-10T00:20")
    w.shop.add(w.instant("2026-03-10 00:17"), w.now + SECOND)

    def late() -> None:
        w.by_hand("events", "2026-03-10T00:15", "2026-03-10T00:20")
        w.by_hand("dashboard", "2026-03-10T00:15", "2026-03-10T00:20")

    race(w, "dashboard", lambda: w.tick("every_5_min"), late)
    assert_one_won(w, fresh, "dashboard")


def test_what_another_has_sealed_meanwhile_keeps_no_failure(worlds: Worlds) -> None:
    """Nobody would try it again, so nothing would ever strike it out."""
    w, _ = worlds("2026-03-10 00:17")

    def sealed_by_another() -> None:
        w.by_hand("events", "2026-03-10T00:00", "2026-03-10T00:15")
        raise LakeUnavailable("the disk had a moment")

    with w.before_commit("events", sealed_by_another):
        report = w.by_hand("events", "2026-03-10T00:00", "2026-03-10T00:15")
    assert {o.state for o in report.outcomes} == {"failed"}
    assert w.failures("events") == []
