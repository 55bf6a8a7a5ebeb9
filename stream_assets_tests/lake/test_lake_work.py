"""Requests, leases, failures, pauses, places and automations in the ledger."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from stream_assets.core.planning import Failure, Work
from stream_assets.lake.ledger import FileRecord, Lease
from stream_assets.lake.ledger.history import Worked
from stream_assets.lake.ledger.work import AWAKE, BACKOFF_LIMIT, LEASE, REQUESTED, TERMINAL_TRIES, WorkRecords
from stream_assets.lake.store import Lake
from stream_assets.testing.partitions import DAY, NOW, WINDOWS

SECOND = timedelta(seconds=1)


@pytest.fixture
def work(lake: Lake) -> WorkRecords:
    return lake.ledger.work


def a_work(*tables: str) -> Work:
    return Work("every_5_min", "5 min", WINDOWS[0], tables, is_catch_up=False, reason="because")


def test_a_request_is_in_flight_until_nobody_begins_it(work: WorkRecords) -> None:
    lease = work.request(a_work("events"), NOW)
    assert [f.tables for f in work.in_flight(NOW)] == [("events",)]
    assert work.is_in_flight(lease.id, NOW + REQUESTED - SECOND)
    assert not work.is_in_flight(lease.id, NOW + REQUESTED)
    assert work.in_flight(NOW + REQUESTED) == ()


def test_work_is_in_flight_while_it_gives_signs_of_life(work: WorkRecords) -> None:
    asked = work.request(a_work("events"), NOW)
    running = work.begin(asked.id, "every_5_min", "5 min", ("events",), WINDOWS[0], NOW)
    assert running.id == asked.id
    at = NOW
    for _ in range(10):
        at += LEASE / 3
        work.renew(running, at)
    assert work.is_in_flight(running.id, at + LEASE - SECOND)
    assert not work.is_in_flight(running.id, at + LEASE)
    work.finish(running, "events", at)
    assert not work.is_in_flight(running.id, at)
    work.renew(running, at)
    assert work.in_flight(at) == ()


def test_steps_of_one_run_keep_it_in_flight_until_the_last(work: WorkRecords) -> None:
    asked = work.request(a_work("events", "dashboard"), NOW)
    for table, left in (("events", [("dashboard",)]), ("dashboard", [])):
        step = work.begin(asked.id, "every_5_min", "5 min", (table,), WINDOWS[0], NOW)
        work.finish(step, table, NOW, cpu_seconds=1.5)
        assert [f.tables for f in work.in_flight(NOW)] == left
    (row,) = work.recent()
    assert (row.state, row.cpu_seconds, row.tables) == ("done", 3.0, ("events", "dashboard"))


def test_a_failed_step_frees_the_work(work: WorkRecords) -> None:
    asked = work.request(a_work("events", "dashboard"), NOW)
    step = work.begin(asked.id, "every_5_min", "5 min", ("events",), WINDOWS[0], NOW)
    work.finish(step, "events", NOW, error="boom")
    assert work.in_flight(NOW) == ()
    (row,) = work.recent()
    assert (row.state, row.error) == ("failed", "boom")


def both_steps(work: WorkRecords, *tables: str) -> list[Lease]:
    """Begin the steps of one run that run at once."""
    asked = work.request(a_work(*tables), NOW)
    return [work.begin(asked.id, "every_5_min", "5 min", (table,), WINDOWS[0], NOW) for table in tables[:2]]


def test_of_two_steps_that_run_at_once_the_one_that_ends_first_leaves_the_other_its_lease(work: WorkRecords) -> None:
    for ends in (0, 1):
        leases = both_steps(work, "dashboard", "alerts", "hours")
        lives, at = 1 - ends, NOW
        work.finish(leases[ends], ("dashboard", "alerts")[ends], at)
        for _ in range(30):
            at += LEASE / 3
            work.renew(leases[lives], at)
        assert ("dashboard", "alerts")[lives] in work.in_flight(at)[0].tables
        work.finish(leases[lives], ("dashboard", "alerts")[lives], at)
        assert [f.tables for f in work.in_flight(at)] == [("hours",)]
        assert work.waiting(at) == (leases[0].id,)
        work.drop(leases[0].id, "over", at)


def test_of_two_steps_that_run_at_once_one_that_dies_is_noticed_while_the_other_lives(work: WorkRecords) -> None:
    _, lives = both_steps(work, "dashboard", "alerts")
    at = NOW
    for _ in range(4):
        at += LEASE / 3
        work.renew(lives, at)
    assert [f.tables for f in work.in_flight(at)] == [("alerts",)]
    work.finish(lives, "alerts", at)
    assert work.in_flight(at + SECOND) == ()
    (claim,) = work.unfinished()
    assert claim.is_lost(at + LEASE)


def test_a_step_that_fails_beside_another_frees_all_but_what_the_other_does(work: WorkRecords) -> None:
    fails, lives = both_steps(work, "dashboard", "alerts", "hours")
    work.finish(fails, "dashboard", NOW, error="boom")
    work.drop(fails.id, "boom", NOW)
    assert [f.tables for f in work.in_flight(NOW)] == [("alerts",)]
    work.renew(lives, NOW + LEASE / 2)
    assert work.is_in_flight(lives.id, NOW + LEASE)
    work.finish(lives, "alerts", NOW + LEASE)
    assert work.in_flight(NOW + LEASE) == ()
    (row,) = work.recent()
    assert (row.state, row.error) == ("failed", "boom")


def test_a_step_that_wakes_after_another_has_taken_over_its_table_neither_keeps_nor_frees_it(work: WorkRecords) -> None:
    asleep, _ = both_steps(work, "dashboard", "alerts")
    at = NOW + 2 * LEASE
    over = work.begin(asleep.id, "every_5_min", "5 min", ("dashboard",), WINDOWS[0], at)
    work.renew(asleep, at + LEASE / 2)
    work.finish(asleep, "dashboard", at + LEASE / 2)
    assert [f.tables for f in work.in_flight(at + LEASE / 2)] == [("dashboard",)]
    assert not work.is_in_flight(over.id, at + LEASE)


def test_work_that_was_lost_counts_as_failed_and_is_folded_like_other_work(lake: Lake, work: WorkRecords) -> None:
    work.finish(work.request(a_work("events"), NOW), "events", NOW, cpu_seconds=1.5)
    work.request(a_work("events"), NOW)
    later, history = NOW + REQUESTED, lake.ledger.history
    assert [(w.runs, w.failed) for w in history.worked(NOW.date(), NOW)] == [(1, 0)]  # the other one is in flight
    history.fold(NOW + SECOND)
    assert [claim.state for claim in work.recent()] == ["requested"]
    before = history.worked(NOW.date(), later)
    assert before == [Worked(NOW.date(), "every_5_min", runs=2, failed=1, cpu_seconds=1.5)]
    history.fold(later)
    assert work.recent() == []
    assert history.worked(NOW.date(), later) == before


def test_work_by_hand_needs_no_request(work: WorkRecords) -> None:
    for unknown in (None, 99):
        lease = work.begin(unknown, "by hand", "day", ("events_daily",), DAY, NOW)
        assert work.is_in_flight(lease.id, NOW)


def test_transient_failures_are_tried_for_ever_ever_more_slowly(work: WorkRecords) -> None:
    at, waits = NOW, list[timedelta]()
    for tries in range(1, 30):
        failure = work.fail("events", WINDOWS[0], "away", at, transient=True)
        assert failure.next_try_at is not None
        waits.append(failure.next_try_at - at)
        assert (failure.tries, failure.is_paused) == (tries, False)
        at = failure.next_try_at
    assert waits == sorted(waits)
    assert (waits[0], waits[1], waits[-1]) == (30 * SECOND, 60 * SECOND, BACKOFF_LIMIT)


def test_a_terminal_failure_pauses_after_three(work: WorkRecords) -> None:
    failures = [work.fail("events", WINDOWS[0], "wrong", NOW, transient=False, code="a") for _ in range(TERMINAL_TRIES)]
    assert [f.is_paused for f in failures] == [False, False, True]
    assert work.fail("events", WINDOWS[0], "wrong", NOW, transient=False, code="b").tries == 1


def test_an_outage_does_not_count_as_tries_of_what_is_wrong(work: WorkRecords) -> None:
    for _ in range(5):
        work.fail("events", WINDOWS[0], "away", NOW, transient=True)
    assert not work.fail("events", WINDOWS[0], "wrong", NOW, transient=False).is_paused


def test_failures_are_kept_by_partition_until_they_are_mended(lake: Lake, work: WorkRecords) -> None:
    kept = [work.fail("events", w, "away", NOW, transient=True, upto=w.end) for w in WINDOWS[:3]]
    assert work.failures() == {"events": tuple(kept)}
    assert work.failures()["events"][0] == Failure(
        WINDOWS[0], "away", 1, NOW, NOW + 30 * SECOND, True, "", WINDOWS[0].end
    )
    assert work.clear_failures("events", WINDOWS[1]) == 1
    assert work.clear_failures("events", WINDOWS[1]) == 0
    with lake.ledger.transaction():
        lake.ledger.settle("events", WINDOWS[2], lake.ledger.reopened.mark())
    assert work.failures() == {"events": (kept[0],)}


def test_an_automation_is_awake_while_it_looks_every_few_minutes(work: WorkRecords) -> None:
    work.tick("heal", NOW)
    work.tick("heal", NOW + AWAKE)
    assert work.ticks()["heal"] == (NOW + AWAKE, NOW)
    later = NOW + 2 * AWAKE + SECOND
    work.tick("heal", later)
    assert work.ticks()["heal"] == (later, later)


def test_an_automation_that_looks_again_and_again_says_so_once_a_minute(work: WorkRecords) -> None:
    said: list[datetime] = []
    for seconds in (0, 10, 50, 60, 70, 30):  # at last the clock is set back
        work.stay_awake("heal", NOW + seconds * SECOND)
        said.append(work.ticks()["heal"][0])
    assert said == [NOW + seconds * SECOND for seconds in (0, 0, 0, 60, 60, 30)]


def test_a_pause_is_remembered_and_lifted(lake: Lake) -> None:
    sources = lake.ledger.sources
    assert sources.meet("dashboard", "code", code_stated=False, seq=3, now=NOW) is None
    sources.pause("dashboard", NOW)
    assert sources.consumers()["dashboard"].paused_at == NOW
    sources.pause("dashboard", None)
    known = sources.consumers()["dashboard"]
    assert (known.paused_at, known.first_seen, known.reconciled_seq) == (None, NOW, 3)


def test_a_place_is_held_as_long_as_it_is_kept(work: WorkRecords) -> None:
    place = work.take_place("events", 1, NOW, LEASE)
    assert place is not None
    work.keep_place("events", place, NOW + LEASE / 2, LEASE)
    assert work.take_place("events", 1, NOW + LEASE, LEASE) is None
    assert work.take_place("events", 1, NOW + LEASE * 1.5, LEASE) is not None


def test_source_files_are_remembered_by_look(lake: Lake) -> None:
    sources = lake.ledger.sources
    sources.remember_files("events", [FileRecord("a", 1, 2, DAY, "fact 1"), FileRecord("b", 3, 4, None, "fact 1")])
    sources.remember_files("events", [FileRecord("b", 5, 6, WINDOWS[3], "fact 2")])
    sources.remember_files("other", [FileRecord("a", 7, 8, None, "fact x")])
    assert set(sources.file_versions("events")) == {("a", 1, 2, 1), ("b", 5, 6, 2)}
    assert set(sources.file_versions("events", WINDOWS[2])) == {("b", 5, 6, 2)}
    assert set(sources.file_versions("events", WINDOWS[3])) == set()
    assert sources.file_fact("events", "a") == ("fact 1", 1)
    assert sources.file_facts_since("events", 1) == [("fact 2", 2)]
    sources.forget_files("events", ["a", "never"])
    assert set(sources.file_versions("events")) == {("b", 5, 6, 2)}
    assert sources.file_fact("events", "a") is None
    assert sources.file_fact("other", "a") == ("fact x", 1)
