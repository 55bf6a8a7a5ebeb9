"""Late events of sources that cannot name what arrived: sealed windows are looked at again at growing ages."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stream_assets.pipeline.ages import DAY_AGES, WINDOW_AGES, what_finds_late_events
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.sources.untracked import Counted, Untracked

LATE = "2026-03-11T00:10+0000"


def untracked(world, kind, *consumers, now="2026-03-11 00:02", start="2026-03-11", **options):
    w = world(*consumers, now=now, start=start, sources={"events": kind(Shop())}, **options)
    w.source = w.sources["events"]
    return w


def reads_of(w, start):
    return [r for r in w.source.reads if r.start <= w.instant(start) < r.end]


@pytest.mark.parametrize("kind", [Untracked, Counted])
def test_a_late_event_is_found_and_heals_what_reads_it(world, kind):
    w = untracked(world, kind, dashboard)
    w.live("00:16")
    w.source.inner.add(w.instant("2026-03-11 00:12"), w.instant("2026-03-11 00:24"))
    w.live("00:36")
    assert w.receipts("events")[LATE].rows == 6
    assert w.revisions("events")[LATE] == w.revisions("dashboard")[LATE] == 2
    assert all(r == 1 for key, r in w.revisions("events").items() if key != LATE)
    assert w.receipts("events")[LATE].reason in {
        "the source cannot name what arrived: looked at again",
        "the source counts other rows than were read",
    }


def test_a_window_is_read_again_at_each_age_and_no_more(world):
    w = untracked(world, Untracked, dashboard)
    w.live("07:31")
    # Once when it settled, then after 5 min, 15 min, 1 h and 6 h, each with the next run of the cadence.
    reads = reads_of(w, "2026-03-11 00:11")
    assert len(reads) == 1 + 4
    assert w.revisions("events")[LATE] == 1


def test_a_source_that_counts_is_counted_at_each_age_and_read_once(world):
    w = untracked(world, Counted, dashboard)
    w.live("07:31")
    assert len(reads_of(w, "2026-03-11 00:11")) == 1
    assert len([r for r in w.source.asked if r.start <= w.instant("2026-03-11 00:11") < r.end]) == 4


def test_only_what_changed_starts_the_ages_again(world):
    w = untracked(world, Counted, dashboard)
    w.source.inner.add(w.instant("2026-03-11 00:12"), w.instant("2026-03-11 00:50"), id="in an hour")
    w.source.inner.add(w.instant("2026-03-11 00:12"), w.instant("2026-03-11 01:22"), id="after that")
    w.live("01:31")
    assert {"in an hour", "after that"} <= set(w.ids())
    # The second would have been found after six hours, had the first one not started the ages again.
    assert w.revisions("events")[LATE] == 3
    assert all(r == 1 for key, r in w.revisions("events").items() if key != LATE)


def test_a_closed_day_is_read_whole_after_a_day_and_after_a_week(world):
    w = untracked(world, Untracked, report, now="2026-03-11 00:36", start="2026-03-10", end="2026-03-11")
    w.run()
    assert len(w.source.reads) == 1
    w.source.inner.add(w.instant("2026-03-10 08:01"), w.instant("2026-03-11 02:00"))
    w.live("2026-03-12 00:31", every="30 min")
    assert len(w.source.reads) == 1
    w.live("2026-03-12 02:01", every="30 min")
    day = w.calendar.day_around(w.instant("2026-03-10 08:00"))
    assert [r for r in w.source.reads if r.covers(day)] == [day, day]
    assert w.receipts("events_daily")["2026-03-10"].rows == 1441
    w.source.reads.clear()
    w.live("2026-03-26", every="6 hours")
    # What changed is looked at again after a day and a week, like all of it a week after it was sealed.
    assert sorted(w.source.reads) == sorted([day, *(2 * [w.calendar.partitions(day, "5 min")[96]])])
    w.source.inner.add(w.instant("2026-03-10 08:01"), w.now + timedelta(minutes=1))
    w.live("2026-04-10", every="1 day")
    assert w.receipts("events_daily")["2026-03-10"].rows == 1441


def test_a_live_day_costs_a_bounded_number_of_reads(world):
    w = untracked(world, Untracked, report, dashboard, now="2026-03-11 00:02", start="2026-03-11")
    w.live("2026-03-12 01:31", every="1 hour")
    w.source.reads.clear()
    works = w.live("2026-03-12 06:31", every="1 hour")
    closed = [work for work in works if work.tables[0] == "events_daily"]
    assert len(closed) <= 6, "closed days heal at most hourly"
    assert w.revisions("events_daily") == {"2026-03-11": 1}


def test_windows_of_a_sealed_day_leave_the_ages_of_days_to_it(world):
    w = untracked(world, Counted, report, dashboard)
    w.live("2026-03-12 00:21", every="1 hour")
    w.source.asked.clear()
    w.live("2026-03-13 00:31", every="1 hour")
    day = w.calendar.day_around(w.instant("2026-03-11 00:00"))
    assert len([r for r in w.source.asked if r.covers(day)]) == 1
    asked = [r for r in w.source.asked if r.start < day.end and not r.covers(day)]
    assert max(r.duration for r in asked) <= timedelta(hours=2)


def test_a_lake_without_marks_counts_what_is_older_than_the_last_age_as_looked_at(world):
    w = untracked(world, Untracked, report, now="2026-03-01 00:36", start="2026-02-28", end="2026-03-01")
    w.run()
    ledger, day = w.pipeline.lake.ledger, w.calendar.day_around(w.instant("2026-02-28 00:00"))
    for now, expected in (("2026-03-05", [day]), ("2026-03-09", [])):
        ledger.database.change("delete from looked_at")
        w.at(now)
        due = ledger.ages.due("events_daily", DAY_AGES[0], w.now, w.now - DAY_AGES[-1])
        assert list(due.spans) == expected


def test_what_it_costs_does_not_grow_with_history(world):
    w = untracked(world, Counted, dashboard)
    w.live("08:01", every="1 hour")
    ledger, now = w.pipeline.lake.ledger, w.now
    plans = [
        ledger.database.rows("explain query plan " + query, values)
        for query, values in (
            (
                "select seq from publication where tbl = ? and seq > ? and committed_at > ? order by seq limit 1",
                ("events", 1, "x"),
            ),
            ("select seq from looked_at where tbl = ? and age = ?", ("events", 300)),
        )
    ]
    assert all("SEARCH" in row["detail"] and "SCAN" not in row["detail"] for plan in plans for row in plan)
    known_before = now - DAY_AGES[-1]
    for age in WINDOW_AGES:
        assert not ledger.ages.due("events", age, now, known_before).spans


def test_it_says_what_finds_late_events_and_until_when(world):
    for kind, how in ((Untracked, "read"), (Counted, "counted")):
        w = untracked(world, kind, dashboard)
        w.run()
        said = what_finds_late_events(w.pipeline.site, w.pipeline.declarations.stream("events"))
        assert said.startswith(f"windows are {how} again 5 min, 15 min, 1 h, 6 h, 24 h and 7 days after sealing")
        assert said.endswith("found by `verify` alone")
    named = world(dashboard, now="2026-03-11 00:32", start="2026-03-11")
    named.run()
    said = what_finds_late_events(named.pipeline.site, named.pipeline.declarations.stream("events"))
    assert said == "the source names the windows that they touch"
