"""What has been mended goes on by itself, what cannot be had holds up nothing else, and what is equal moves nothing."""

import json
import os
from datetime import timedelta

import pytest

from stream_assets.errors import SourceIncomplete
from stream_assets.sources.files import FileEvents
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import Shop

MINUTE = timedelta(minutes=1)


def put(w, landing, name, *minutes, id="event_id"):
    """Write a file of events, one a minute given, that lands now."""
    start = w.instant("2026-03-09")
    lines = [
        json.dumps({id: f"e{m}", "event_time": (start + m * MINUTE).isoformat(), "country": "DE", "amount": 1.0})
        for m in minutes
    ]
    path = landing / name
    path.write_text("".join(line + "\n" for line in lines))
    os.utime(path, (w.now.timestamp(), w.now.timestamp()))
    return path


@pytest.fixture
def landed(world, tmp_path):
    """A day that was paused, since one of its two files has no column of ids."""
    landing = tmp_path / "landing"
    landing.mkdir()
    source = FileEvents(str(landing), arrival=None)
    w = world(report, now="2026-03-10 00:32", start="2026-03-09", sources={"events": source})
    put(w, landing, "good.jsonl", 10, 20)
    bad = put(w, landing, "bad.jsonl", 600, id="ident")
    w.live("02:02", every="10 min")
    assert w.revisions("events_daily") == {}
    assert "event_id" in w.failures("events_daily")[0]
    return w, landing, bad


def test_a_paused_day_goes_on_when_its_file_is_written_anew(landed):
    w, landing, bad = landed
    put(w, landing, bad.name, 600)
    w.live("03:02", every="10 min")
    assert w.ids() == ["e10", "e20", "e600"]
    assert w.failures("events_daily") == []


def test_a_paused_day_goes_on_when_its_file_is_put_aside(landed):
    w, _, bad = landed
    bad.rename(bad.with_name("_bad.jsonl"))
    w.live("03:02", every="10 min")
    assert w.ids() == ["e10", "e20"]
    assert w.failures("events_daily") == []


class Writing(Shop):
    """Is in the middle of writing one window."""

    def read(self, window, *, now, state=None):
        if self.writes in window:
            raise SourceIncomplete("a line has no end yet")
        return super().read(window, now=now, state=state)


def test_a_window_that_is_being_written_holds_up_no_other_late_one_of_its_day(world):
    w = world(report, now="2026-03-11 00:32", start="2026-03-10", sources={"events": Writing()})
    w.shop.writes = w.instant("2026-03-11")
    w.run()
    w.shop.writes = w.instant("2026-03-10 23:52")
    for at, id in (("2026-03-10 10:01", "whole"), ("2026-03-10 23:51", "in the middle")):
        w.shop.add(w.instant(at), w.now + MINUTE, id=id)
    w.live("02:32", every="10 min")
    assert w.ids().count("whole") == 1
    assert w.ids().count("in the middle") == 0
    w.shop.writes = w.instant("2026-03-11")
    w.live("04:02", every="10 min")
    assert w.ids().count("in the middle") == 1
    assert w.failures("events_daily") == []


def test_two_that_compact_one_day_publish_it_once_and_neither_fails(world):
    w = world(dashboard, report, now="2026-03-10 14:37", start="2026-03-10")
    w.run()
    w.live("2026-03-11 00:01", every="30 min")
    with w.before_commit("events_daily", lambda: w.by_hand("events_daily", "2026-03-10")):
        w.live("00:07")
    w.live("00:21")
    assert w.revisions("events_daily") == {"2026-03-10": 1}
    assert w.failures("events_daily") == []
    assert w.revisions("report")["2026-03-10"] == 1


def test_a_closed_day_that_is_touched_all_the_time_and_stays_equal_is_read_once_an_hour(world):
    w = world(report, now="2026-03-11 00:32", start="2026-03-10")
    w.run()
    row = w.shop.events(w.pipeline.range("events", "2026-03-10T08:00"))[0]
    for minute in range(1, 180):
        w.shop.add(
            row["event_time"], w.now + minute * MINUTE, id=row["event_id"], amount=row["amount"], country=row["country"]
        )
    reads = len(w.shop.reads)
    w.live("03:32", every="5 min")
    assert 2 <= len(w.shop.reads) - reads <= 3
    assert w.revisions("events_daily") == {"2026-03-10": 1}


def test_windows_of_a_sealed_day_that_cannot_be_read_again_are_named_themselves(world):
    w = world(dashboard, report, now="2026-03-10 14:37", start="2026-03-10")
    w.run()
    w.live("2026-03-11 00:21", every="30 min")
    bad = w.instant("2026-03-10 08:05")
    w.shop.break_(bad)
    made = w.by_hand("events", "2026-03-10T08:00", "2026-03-10T08:15")
    assert {o.table for o in made.outcomes} == {"events"}
    assert len(made.outcomes) == len({o.span for o in made.outcomes}) == 3
    assert bad in [o.span.start for o in made.failed]
    assert w.failures("events") == w.failures("events_daily") == []
