"""Days of time zones, whose clocks change, through the whole pipeline: every event in exactly one day and one window."""

from datetime import date, timedelta
from itertools import pairwise

import pytest

from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import at_freshness, ranges

DAYS = [
    ("UTC", "2026-03-10", 288),
    ("Asia/Seoul", "2026-03-10", 288),
    ("Europe/Berlin", "2026-03-29", 276),
    ("Europe/Berlin", "2026-10-25", 300),
    ("America/New_York", "2026-03-08", 276),
    ("America/New_York", "2026-11-01", 300),
    ("Australia/Lord_Howe", "2026-10-04", 282),
    ("Australia/Lord_Howe", "2026-04-05", 294),
]


def plus(day, days):
    return str(date.fromisoformat(day) + timedelta(days=days))


@pytest.mark.parametrize(("zone", "day", "count"), DAYS)
def test_a_day_read_whole_holds_each_of_its_events_once(world, zone, day, count):
    shop = Shop()
    w = world(report, now=f"{plus(day, 2)} 00:32", start=plus(day, -1), zone=zone, sources={"events": shop})
    w.run()
    receipts = w.receipts("events_daily")
    assert sorted(receipts) == [plus(day, -1), day, plus(day, 1)]
    assert len(receipts[day].windows) == count
    assert receipts[day].rows == count * 5
    assert len(w.ids()) == len(set(w.ids())) == sum(r.rows for r in receipts.values())
    assert sum(dict(row)["amount_count"] for row in w.table("report") if dict(row)["day"] == day) == count * 5


@pytest.mark.parametrize(("zone", "day", "count"), [d for d in DAYS if d[2] != 288])
def test_the_windows_of_a_day_whose_clock_changes(world, zone, day, count):
    w = world(at_freshness(report, "5 min"), now=f"{day} 23:53", start=day, zone=zone)
    w.run()
    w.live(f"{plus(day, 1)} 00:12")
    revisions = w.revisions("events")
    assert len([key for key in revisions if key.startswith(day)]) == count
    assert set(revisions.values()) == {1}
    assert len(w.ids()) == len(set(w.ids())) == (count + 2) * 5
    # The day was compacted from its windows: the source was not asked for it again.
    assert len(w.receipts("events_daily")[day].windows) == count
    assert max(r.duration for r in w.shop.reads[1:]) <= timedelta(minutes=5)
    whole = world(report, now=f"{plus(day, 1)} 00:12", start=day, zone=zone, sources={"events": w.shop})
    whole.run()
    assert whole.receipts("events_daily")[day].digest == w.receipts("events_daily")[day].digest


def test_five_minute_partitions_of_the_day_that_repeats_half_an_hour(world):
    w = world(dashboard, now="2026-04-06 00:12", start="2026-04-05", zone="Australia/Lord_Howe")
    w.run()
    keys = [key for key in w.revisions("dashboard") if key.startswith("2026-04-05")]
    assert len(keys) == len(set(keys)) == 294
    assert {"2026-04-05T01:30+1100", "2026-04-05T01:30+1030"} <= set(keys)
    assert sum(dict(row)["event_id_count"] for row in w.table("dashboard")) == (294 + 2) * 5


def test_cadences_count_from_local_midnight(world):
    w = world(at_freshness(dashboard, "50 min"), now="2026-10-25 00:01", start="2026-10-25", zone="Europe/Berlin")
    works = w.live("2026-10-26 00:12")
    ends = [work.span.end for work in works if "dashboard" in work.tables]
    assert len(ends) == 30
    assert ends[-1] == w.instant("2026-10-26")
    assert [e - s for s, e in pairwise(ends)] == [timedelta(minutes=50)] * 29
    assert ranges(works)[-1].startswith("events_daily")
