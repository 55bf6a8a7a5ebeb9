"""What receipts say of how late events came, and the allowed lateness that is learned from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from stream_assets.core.lateness import ALLOWANCES, Auto, Lateness, allowed
from stream_assets.core.window import GRID, TimeWindow, floor_to_grid
from stream_assets.events.conform import Names
from stream_assets.pipeline.lateness import lateness_of_stream
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import at_freshness

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@dataclass
class Nameless(Shop):
    """A shop whose events do not say when they arrived."""

    @property
    def names(self) -> Names:
        return Names(arrival=None)

    def read(self, window: Any, *, now: datetime, state: Any = None) -> Any:
        for batch in super().read(window, now=now, state=state):
            yield batch.drop_columns(["arrival_time"])

    def schema(self, *, now: datetime) -> Any:
        return super().schema(now=now).remove(2)


def seen(w) -> Lateness:
    return lateness_of_stream(w.pipeline.site, w.pipeline.declarations.stream("events"))[1]


def left_in_truth(w, allowance: timedelta) -> int:
    """Count the events of the lake that came after the end of their window and `allowance`."""
    rows = w.pipeline.lake.read("events", w.calendar.day_around(w.instant("2026-03-10 08:00"))).to_pylist()
    return sum(r["arrival_time"] > floor_to_grid(r["event_time"]) + GRID + allowance for r in rows)


def late_ones(w) -> None:
    for minutes in (0.5, 2, 4.9, 5.1, 30, 61, 300):
        at = w.instant("2026-03-10 08:01")
        w.shop.add(at, floor_to_grid(at) + GRID + timedelta(minutes=minutes))


def test_receipts_say_exactly_what_each_allowance_would_have_left(world):
    w = world(report, now="2026-03-11 00:32", start="2026-03-10")
    late_ones(w)
    w.run()
    told = w.receipts("events_daily")["2026-03-10"].lateness
    assert [told.left(a) for a in ALLOWANCES] == [left_in_truth(w, a) for a in ALLOWANCES] == [7, 6, 4, 2]
    assert (told.events, told.known) == (1447, 1447)
    assert told.longest == timedelta(minutes=304)
    assert told.quantile(0.5) <= timedelta(seconds=10)
    assert seen(w) == told


def test_windows_add_up_to_their_day_whichever_way_it_was_made(world):
    compacted = world(dashboard, report, now="2026-03-10 00:02", start="2026-03-10")
    whole = world(report, now="2026-03-11 00:36", start="2026-03-10")
    for w in (compacted, whole):
        w.shop.add(w.instant("2026-03-10 08:01"), w.instant("2026-03-10 09:00"))
        w.shop.add(w.instant("2026-03-10 08:02"), w.instant("2026-03-11 03:00"))
    compacted.live("2026-03-10 23:59", every="1 hour")
    before = [r.lateness for r in compacted.receipts("events").values()]
    assert seen(compacted) == Lateness.total(before)
    compacted.live("2026-03-11 05:01", every="1 hour")
    whole.run()
    whole.live("2026-03-11 05:01", every="1 hour")
    days = [w.receipts("events_daily")["2026-03-10"] for w in (compacted, whole)]
    assert days[0].revision == days[1].revision == 2
    assert days[0].lateness == days[1].lateness
    assert days[0].lateness.left(HOUR) == 1


def test_without_an_arrival_time_an_added_event_came_when_it_was_read(world):
    w = world(
        at_freshness(report, "5 min"),
        dashboard,
        now="2026-03-10 00:02",
        start="2026-03-10",
        sources={"events": Nameless()},
    )
    w.live("00:31")
    assert seen(w).known == 0
    w.shop.add(w.instant("2026-03-10 00:12"), w.instant("2026-03-10 00:33"))
    w.live("00:51")
    w.shop.add(w.instant("2026-03-10 00:13"), w.instant("2026-03-10 01:33"))
    w.live("01:51")
    told = w.receipts("events")["2026-03-10T00:10+0000"].lateness
    # Read with the next run of the cadence: at 00:40 and 01:40 and some seconds.
    assert (told.events, told.known) == (7, 2)
    assert [told.left(a) for a in ALLOWANCES] == [2, 2, 2, 1]
    assert timedelta(minutes=87) < told.longest < timedelta(minutes=88)
    w.shop.add(w.instant("2026-03-10 00:13"), w.instant("2026-03-11 01:33"))
    w.live("2026-03-11 00:21", every="6 hours")
    day = w.receipts("events_daily")["2026-03-10"]
    assert (day.lateness.events, day.lateness.known) == (1442, 2)
    w.live("2026-03-11 03:01", every="1 hour")
    day = w.receipts("events_daily")["2026-03-10"]
    assert (day.lateness.events, day.lateness.known, day.lateness.left(HOUR)) == (1443, 3, 2)


def test_receipts_of_older_releases_say_nothing(world):
    w = world(report, now="2026-03-11 00:32", start="2026-03-10")
    w.run()
    w.pipeline.lake.ledger.database.change("update current set receipt = json_remove(receipt, '$.lateness')")
    assert w.receipts("events_daily")["2026-03-10"].lateness is None
    assert seen(w) == Lateness()


# An allowance that is learned.


def learning(world, rule: Auto, *, now: str, **options):
    source = SyntheticEvents(rate=0.5, lateness=rule, quiet="", **options)
    return world(dashboard, report, now=now, start="2026-03-09", sources={"events": source})


def allowance(w) -> Auto:
    return w.pipeline.site.sources["events"].lateness


def reopened(w):
    """Open the project again, as another process does."""
    return w.define(dashboard, report)


def test_the_allowance_is_learned_from_sealed_days_and_said(world):
    w = learning(world, Auto(0.99, HOUR), now="2026-03-11 02:02", late_share=0.001)
    assert allowed(allowance(w)) == HOUR
    assert "its max, until the arrival of 1,000 events" in w.pipeline.site.sources["events"].describe()
    w.run()
    reopened(w)
    learned = allowance(w)
    assert learned.chosen is not None
    assert learned.chosen < MINUTE
    spec = w.pipeline.declarations.stream("events")
    assert spec.settling == learned.chosen
    assert learned.why in w.pipeline.site.sources["events"].describe()
    # What it says is what it does: at most one in a hundred is left to heal.
    told = seen(w)
    assert told.left(learned.chosen) <= 0.01 * told.known


def test_it_moves_at_most_once_a_day_and_is_the_same_for_everybody(world):
    w = learning(world, Auto(0.99, HOUR), now="2026-03-11 02:02", late_share=0.001)
    w.run()
    first = allowance(reopened(w))
    database = w.pipeline.lake.ledger.database
    database.change(
        "update current set receipt = json_set(receipt, '$.lateness', json(?)) where tbl = 'events_daily'",
        ("[40000, [0, 0, 0, 40000], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40000], 9000000]",),
    )
    assert allowance(reopened(w)) == first
    w.at("2026-03-12 02:02")
    assert allowance(reopened(w)).chosen == 10 * MINUTE
    # Another rule is another choice, at once.
    w.project = replace(
        w.project,
        streams=tuple(replace(s, source=replace(s.source, lateness=Auto(0.99, 2 * MINUTE))) for s in w.project.streams),
    )
    assert allowance(reopened(w)).chosen == 2 * MINUTE


def test_the_watermark_never_goes_back_when_more_is_allowed(world):
    w = learning(world, Auto(0.99, HOUR), now="2026-03-11 02:02", late_share=0.001)
    w.run()
    reopened(w).run()
    marks = w.pipeline.lake.ledger.sources.watermarks
    before = marks()["events"]
    assert w.now - before < MINUTE
    w.project = replace(
        w.project, streams=tuple(replace(s, source=replace(s.source, lateness=HOUR)) for s in w.project.streams)
    )
    w.at("02:12")
    reopened(w).run()
    assert marks()["events"] == before


def test_nothing_is_lost_where_windows_settle_before_all_has_come(world):
    w = learning(world, Auto(0.5, HOUR), now="2026-03-11 02:02", late_share=0.01)
    w.run()
    reopened(w)
    assert allowance(w).chosen == timedelta(0)
    w.live("03:01")
    source, day = w.pipeline.site.sources["events"], w.calendar.day_around(w.now)
    w.at("10:00")
    there = {i for b in source.read(day, now=w.now) for i in b["event_id"].to_pylist()}
    w.live("10:11")
    had = w.pipeline.lake.read("events", day)["event_id"].to_pylist()
    assert there <= set(had)
    assert len(had) == len(set(had))


@pytest.mark.parametrize("lateness", [timedelta(seconds=30), Auto(0.99, HOUR)])
def test_learning_changes_no_event(lateness):
    source = SyntheticEvents(rate=2, late_share=0.01)
    now = datetime.fromisoformat("2026-03-11T12:00+00:00")
    span = TimeWindow(now - HOUR, now - HOUR / 2)
    other = replace(source, lateness=lateness)
    assert [b.to_pydict() for b in other.read(span, now=now)] == [b.to_pydict() for b in source.read(span, now=now)]
