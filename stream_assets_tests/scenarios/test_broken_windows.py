"""A part of the source cannot be read: it stands alone, everything else goes on, and what is mended heals."""

from datetime import timedelta

import pytest

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.errors import SourceIncomplete, SourceUnavailable
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import at_freshness, ranges

book = at_freshness(report, "5 min")


@pytest.fixture
def broken(world):
    """At 03:02 the window of 01:00 cannot be read."""
    w = world(dashboard, book, now="2026-03-10 03:02", start="2026-03-10")
    w.shop.break_(w.instant("2026-03-10 01:00"))
    w.live("03:06")
    return w


def hole(w):
    start = w.instant("2026-03-10 01:00")
    return Intervals.of(TimeWindow(start, start + GRID))


def test_a_broken_window_stands_alone_after_halving(broken):
    w = broken
    assert w.coverage("events") == Intervals.of(
        TimeWindow(w.pipeline.lake.start, w.instant("2026-03-10 03:05"))
    ) - hole(w)
    assert len(w.failures("events")) == 1
    assert "the shop's book cannot be read" in w.failures("events")[0]
    assert len(w.revisions("dashboard")) == 36


def test_the_open_day_goes_on_without_it_and_says_what_is_missing(broken):
    receipt = broken.receipts("report")["2026-03-10"]
    assert receipt.missing.clip(TimeWindow(receipt.span.start, broken.instant("2026-03-10 03:05"))) == hole(broken)
    assert receipt.complete_through == broken.instant("2026-03-10 01:00")
    assert receipt.rows == 3
    broken.live("03:11")
    assert broken.coverage("report").covers(TimeWindow(*map(broken.instant, ("2026-03-10 01:05", "2026-03-10 03:10"))))


def test_lag_grows_from_the_hole(broken):
    for name in ("dashboard", "report"):
        assert broken.standing(name).complete_through == broken.instant("2026-03-10 01:00")
        assert not broken.standing(name).is_kept
    before = broken.lag("report")
    broken.live("03:16")
    assert broken.lag("report") == before + timedelta(minutes=10)


def test_it_is_tried_three_times_and_then_paused_and_says_so(broken):
    broken.live("03:16")
    reads = len(broken.shop.reads)
    broken.live("03:31")
    tried = [r for r in broken.shop.reads[reads:] if r.start < broken.instant("2026-03-10 03:00")]
    assert tried == []
    assert "events 2026-03-10T01:00+0000 paused" in broken.says("every_5_min")


def test_a_source_that_says_it_is_mended_heals_by_itself(broken, world):
    w = broken
    w.shop.mend()
    w.live("03:11")
    assert w.standing("report").is_kept
    assert w.standing("dashboard").is_kept
    assert w.failures("events") == []
    fresh = world(dashboard, book, now="2026-03-10 03:11", start="2026-03-10")
    fresh.run()
    for table in ("dashboard", "report", "events"):
        assert w.table(table) == fresh.table(table)


def test_a_source_that_does_not_say_so_heals_when_somebody_says_retry(broken):
    w = broken
    w.live("03:16")
    w.shop.broken = Intervals()
    w.live("03:21")
    assert not w.standing("report").is_kept
    assert w.retry("events") == 1
    w.live("03:26")
    assert w.standing("report").is_kept


def test_a_closed_day_waits_for_all_of_it(world):
    w = world(report, now="2026-03-11 00:32", start="2026-03-10")
    w.shop.break_(w.instant("2026-03-10 01:00"))
    w.run()
    assert w.revisions("events_daily") == w.revisions("report") == {}
    assert "cannot be read" in w.failures("events_daily")[0]
    assert w.failures("report") == []
    w.live("2026-03-11 02:32", every="30 min")
    assert len(w.shop.reads) == 3
    w.shop.mend()
    w.live("2026-03-11 03:32", every="30 min")
    assert w.revisions("report") == {"2026-03-10": 1}
    assert w.failures("events_daily") == []


def test_one_bad_day_of_a_range_does_not_stop_its_neighbours(world):
    w = world(report, now="2026-03-14 00:32", start="2026-03-10")
    w.shop.break_(w.instant("2026-03-12 01:00"))
    w.run()
    assert sorted(w.revisions("report")) == ["2026-03-10", "2026-03-11", "2026-03-13"]


def test_an_outage_is_one_range_to_try_again_not_one_run_a_window(world):
    class Watch(Shop):
        def watermark(self, now):
            return now - self.settling

        def arrivals(self, cursor, *, now, state=None):
            return None

    w = world(dashboard, now="2026-03-10 01:02", start="2026-03-10", sources={"events": Watch(is_down=True)})
    works = w.live("03:02")
    assert all(work.span.start == w.pipeline.lake.start for work in works)
    assert len(works) < 30
    w.shop.is_down = False
    w.live("03:22")
    assert w.standing("dashboard").is_kept


def test_what_was_published_before_an_outage_in_mid_range_is_no_failure(world, monkeypatch):
    w = world(dashboard, now="2026-03-10 06:02", start="2026-03-10")
    from stream_assets.lake.publish import Publisher

    commit, commits = Publisher.commit, []

    def second_fails(self, *others):
        if len(self):
            commits.append(len(self))
        if len(commits) == 2:
            raise SourceUnavailable("the disk is full")
        return commit(self, *others)

    monkeypatch.setattr(Publisher, "commit", second_fails)
    [(work, lease)] = w.pipeline.request("every_5_min")[1]
    report = w.pipeline.run_work(work, lease.id)[0]
    assert report.count("published") == commits[0] > 0
    assert report.count("failed") == 72 - commits[0]
    assert len(w.failures("events")) == report.count("failed")
    monkeypatch.undo()
    w.live("06:07")
    assert w.standing("dashboard").is_kept
    assert w.failures("events") == []


def test_a_source_with_a_bug_fails_its_window_and_names_the_line(world):
    class Buggy(Shop):
        def events(self, window):
            if self.broken.clip(window):
                raise KeyError("postgresql://me:secret@host")
            return super().events(window)

        def read(self, window, *, now, state=None):
            broken = self.broken
            try:
                self.broken = Intervals()
                rows = list(super().read(window, now=now, state=state))
            finally:
                self.broken = broken
            self.events(window)
            yield from rows

    w = world(dashboard, now="2026-03-10 01:02", start="2026-03-10", sources={"events": Buggy()})
    w.shop.break_(w.instant("2026-03-10 00:30"))
    w.run()
    assert len(w.revisions("dashboard")) == 11
    [said] = w.failures("events")
    assert "raised KeyError" in said
    assert "test_broken_windows.py, line" in said
    assert "secret" not in said


def test_ranges_after_a_hole_are_asked_for_once(broken):
    assert ranges(broken.ticks()) == []


def test_a_part_that_is_being_written_holds_no_other_window(world):
    class Writing(Shop):
        def read(self, window, *, now, state=None):
            if self.broken.clip(window):
                raise SourceIncomplete("the last line is not whole: wait for its newline")
            return super().read(window, now=now, state=state)

    w = world(dashboard, now="2026-03-10 03:02", start="2026-03-10", sources={"events": Writing()})
    w.shop.break_(w.instant("2026-03-10 01:00"))
    w.live("03:06")
    assert w.coverage("events") == Intervals.of(
        TimeWindow(w.pipeline.lake.start, w.instant("2026-03-10 03:05"))
    ) - hole(w)
    assert len(w.failures("events")) == 1
    w.shop.broken = Intervals()
    w.live("03:21")
    assert w.standing("dashboard").is_kept
