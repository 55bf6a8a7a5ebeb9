"""Freshness says when work happens. It never changes what a table contains."""

import pytest

from stream_assets_tests.scenarios.buyers import dashboard, ledger_book, report
from stream_assets_tests.scenarios.world import at_freshness

FRESHNESSES = ("5 min", "1 hour", "1 day")


def by_day(freshness):
    return at_freshness(report, freshness)


def by_window(freshness):
    return at_freshness(dashboard, freshness)


@pytest.fixture(scope="module")
def changed(shared_world):
    """A lake whose two consumers went from 5 min over 1 hour and 1 day back to 5 min while events flowed."""
    w = shared_world(by_window("5 min"), by_day("5 min"), now="2026-03-10 21:02", start="2026-03-09")
    w.live("21:32")
    for freshness, until in (("1 hour", "23:02"), ("1 day", "2026-03-11 00:11"), ("5 min", "00:27")):
        w.define(by_window(freshness), by_day(freshness))
        w.live(until)
    return w


def test_no_partition_is_rebuilt_lost_or_doubled(changed):
    revisions = changed.revisions("dashboard")
    assert len(revisions) == 2 * 288 + 5
    assert set(revisions.values()) == {1}
    assert set(changed.revisions("events").values()) == {1}
    assert changed.revisions("events_daily") == {"2026-03-09": 1, "2026-03-10": 1}
    assert changed.revisions("report")["2026-03-09"] == 1
    assert len(changed.ids()) == len(set(changed.ids())) == 2 * 1440 + 25


@pytest.mark.parametrize("freshness", FRESHNESSES)
def test_the_table_is_that_of_a_lake_with_a_single_freshness(changed, world, freshness):
    fresh = world(by_window(freshness), by_day(freshness), now="2026-03-11 00:27", start="2026-03-09")
    fresh.run()
    for table in ("dashboard", "report", "events"):
        assert changed.table(table, "2026-03-11") == fresh.table(table, "2026-03-11")


def test_a_change_by_itself_runs_nothing(world):
    w = world(by_window("5 min"), by_day("5 min"), ledger_book, now="2026-03-10 03:01", start="2026-03-09")
    w.run()
    before = {t: w.revisions(t) for t in ("events", "events_daily", "dashboard", "report")}
    for freshness in ("1 hour", "1 day", "20 min", "7 days", "5 min"):
        w.define(by_window(freshness), by_day(freshness), ledger_book)
        assert w.run() == []
    assert {t: w.revisions(t) for t in before} == before


def test_a_looser_freshness_never_takes_away_what_is_there(world):
    w = world(by_window("5 min"), by_day("5 min"), now="2026-03-10 03:01", start="2026-03-09")
    w.run()
    before = w.table("report")
    assert "2026-03-10" in w.revisions("report")
    w.define(by_window("1 day"), by_day("1 day")).live("03:40")
    assert w.table("report") == before
    assert w.revisions("report")["2026-03-10"] == 1
