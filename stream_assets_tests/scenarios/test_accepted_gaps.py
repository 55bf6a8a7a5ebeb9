"""Gaps whose data is gone for good, accepted by name; and what an operator has made again."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from stream_assets import consumer
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Accepted, Receipt
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.errors import LakeUnavailable, SourceUnavailable, UsageError
from stream_assets.lake.publish import Publisher
from stream_assets.lake.rebuild import rebuild
from stream_assets.pipeline.gaps import accept_gap, reopen
from stream_assets.pipeline.outcome import Report
from stream_assets.pipeline.recognise import recognise
from stream_assets.pipeline.verify import verify
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import COLUMNS, Shop
from stream_assets_tests.scenarios.world import World

SAID = "gap accepted by Ada: the disk died"
FIRST = "2026-03-11T00:20+0000"


@consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id"]})
def picky(events: pa.Table) -> pa.Table:
    if "bad" in events["event_id"].to_pylist():
        raise ValueError("bad")
    return events


def accepted(w: World, table: str, start: str, end: str | None = None, by="Ada", reason="the disk died") -> Report:
    return accept_gap(w.pipeline, table, w.pipeline.range(table, start, end), by, reason)


def gap(w: World, start: str, end: str) -> tuple[Accepted, ...]:
    return (Accepted(TimeWindow(w.instant(start), w.instant(end)), SAID),)


@pytest.fixture
def torn(world) -> World:
    """The third hour of the open day has two windows that cannot be read, so that its consumers wait."""
    w = world(dashboard, now="2026-03-11 00:02", start="2026-03-11")
    w.shop.break_(w.instant("2026-03-11 00:20"), w.instant("2026-03-11 00:30"))
    w.live("2026-03-11 00:51", every="15 min")
    assert len(w.failures("events")) == 2
    return w


def test_windows_are_sealed_as_empty_with_name_and_reason_and_nothing_waits_any_longer(torn):
    w = torn
    assert w.standing("dashboard").complete_through == w.instant("2026-03-11 00:20")
    made = accepted(w, "events", "2026-03-11T00:15", "2026-03-11T00:35")
    assert [o.state for o in made.outcomes] == ["unchanged", "published", "published", "unchanged"]
    receipt = w.receipts("events")[FIRST]
    assert (receipt.rows, receipt.reason, receipt.is_sealed) == (0, SAID, True)
    assert receipt.accepted == gap(w, "2026-03-11 00:20", "2026-03-11 00:25")
    assert w.failures("events") == []
    w.live("2026-03-11 00:56")
    assert w.standing("dashboard").is_kept
    assert w.receipts("dashboard")[FIRST].rows == 0
    assert [t for t, _ in w.pipeline.lake.ledger.accepted()] == ["events", "events"]


def test_what_can_be_read_after_all_is_read_and_not_given_up(torn):
    torn.shop.mend()
    made = accepted(torn, "events", "2026-03-11T00:20", "2026-03-11T00:30")
    assert [o.receipt.rows for o in made.outcomes if o.receipt] == [5, 5]
    assert torn.pipeline.lake.ledger.accepted() == []


def test_a_late_arrival_reopens_an_accepted_window(torn):
    w = torn
    accepted(w, "events", "2026-03-11T00:20", "2026-03-11T00:30")
    w.shop.mend()
    w.shop.add(w.instant("2026-03-11 00:22"), w.instant("2026-03-11 00:52"))
    w.live("2026-03-11 01:01")
    receipt = w.receipts("events")[FIRST]
    assert (receipt.revision, receipt.rows, receipt.accepted) == (2, 6, ())
    assert len(w.pipeline.lake.ledger.accepted()) == 1


def test_a_day_takes_its_windows_what_its_source_gives_and_nothing_else_and_survives_a_rebuild(torn):
    w = torn
    w.stop("every_5_min")
    w.at("2026-03-11 23:59").live("2026-03-12 00:06")
    assert w.failures("events_daily") != []
    made = accepted(w, "events_daily", "2026-03-11")
    assert not made.failed
    receipt = w.receipts("events_daily")["2026-03-11"]
    assert receipt.accepted == gap(w, "2026-03-11 00:20", "2026-03-11 00:30")
    assert receipt.rows == 1440 - 10
    assert w.failures("events_daily") == []
    w.pipeline.lake.ledger.database.close()
    rebuild(w.folder, w.now)
    w.define(dashboard)
    assert recognise(w.pipeline.site) == 0
    assert [(t, (g,)) for t, g in w.pipeline.lake.ledger.accepted()] == [("events_daily", receipt.accepted)]


def test_a_day_of_accepted_windows_says_so_after_compaction_and_after_a_heal(torn):
    w = torn
    accepted(w, "events", "2026-03-11T00:20", "2026-03-11T00:30")
    w.shop.mend()
    w.live("2026-03-12 00:06", every="4 hour")
    assert w.receipts("events_daily")["2026-03-11"].accepted == gap(w, "2026-03-11 00:20", "2026-03-11 00:30")
    w.shop.add(w.instant("2026-03-11 00:22"), w.instant("2026-03-12 00:07"))
    w.at("2026-03-12 01:16").run()
    healed = w.receipts("events_daily")["2026-03-11"]
    assert (healed.revision, healed.accepted) == (2, gap(w, "2026-03-11 00:25", "2026-03-11 00:30"))


def test_a_partition_that_would_lose_events_keeps_them_and_waits_no_longer(world):
    w = world(dashboard, now="2026-03-11 00:02", start="2026-03-11")
    w.live("2026-03-11 00:31", every="15 min")
    w.shop.expired_before = w.instant("2026-03-11 00:20")
    w.shop.add(w.instant("2026-03-11 00:11"), w.instant("2026-03-11 00:32"))
    w.live("2026-03-11 00:46")
    assert "no longer gives" in w.failures("events")[0]
    before = w.receipts("events")
    made = accepted(w, "events", "2026-03-11T00:10")
    assert [o.state for o in made.outcomes] == ["unchanged"]
    assert w.receipts("events") == before
    assert (w.failures("events"), w.pipeline.lake.ledger.reopened().get("events", ())) == ([], ())


def test_a_consumers_partition_that_fails_for_good_is_empty_and_typed(world):
    w = world(picky, now="2026-03-11 00:02", start="2026-03-11")
    w.live("2026-03-11 00:11")
    w.shop.add(w.instant("2026-03-11 00:12"), w.instant("2026-03-11 00:12"), id="bad")
    w.live("2026-03-11 00:31")
    assert len(w.failures("picky")) == 1
    accepted(w, "picky", "2026-03-11T00:10")
    receipt = w.receipts("picky")["2026-03-11T00:10+0000"]
    assert (receipt.rows, receipt.reason, receipt.accepted) == (0, SAID, gap(w, "2026-03-11 00:10", "2026-03-11 00:15"))
    assert w.failures("picky") == []
    assert w.standing("picky").is_kept
    assert w.pipeline.lake.read("picky", receipt.span).column_names == ["event_id"]
    assert w.plan().works == ()


def test_a_consumer_whose_inputs_are_not_there_has_no_gap_of_its_own(torn):
    made = accepted(torn, "dashboard", "2026-03-11T00:20", "2026-03-11T00:30")
    assert len(made.failed) == 2
    assert FIRST not in torn.receipts("dashboard")


@pytest.mark.parametrize(
    ("by", "reason"), [("", "x"), ("Ada", " "), ("A\nda", "x"), ("Ada", "x" * 501), ("\x1b[31m", "x")]
)
def test_names_and_reasons_are_one_printable_line(torn, by, reason):
    with pytest.raises(UsageError, match="must be one line"):
        accepted(torn, "events", "2026-03-11T00:20", by=by, reason=reason)
    assert len(torn.failures("events")) == 2


def test_text_from_strangers_is_kept_as_it_is(torn):
    accepted(
        torn,
        "events",
        "2026-03-11T00:20",
        by="Robert'); drop table current;--",
        reason='\u05e9\u05dc\u05d5\u05dd "x" 💾',
    )
    said = torn.receipts("events")[FIRST].accepted[0].said
    assert said == 'gap accepted by Robert\'); drop table current;--: \u05e9\u05dc\u05d5\u05dd "x" 💾'


def proof(w: World) -> list[tuple[str, bool]]:
    found = verify(w.pipeline.site, list(w.pipeline.declarations.tables), TimeWindow(w.pipeline.lake.start, w.now))
    return [(f"{d.table} {d.said} | {d.mend}", d.is_known) for d in found.differences]


def test_verify_knows_a_gap_while_the_source_does_not_give_it_and_names_it_once_it_does(torn):
    w = torn
    accepted(w, "events", "2026-03-11T00:20", "2026-03-11T00:30")
    w.live("2026-03-11 00:56")
    assert (
        proof(w)
        == [(f"events sealed without data ({SAID}), and its source still does not give it | none needed", True)] * 2
    )
    w.shop.break_(w.instant("2026-03-11 00:40"))  # what has been sealed and cannot be read is another matter
    assert [known for _, known in proof(w)] == [True, True, False]
    w.shop.broken = Intervals()
    said = proof(w)
    assert [known for _, known in said] == [False, False]
    assert "its source has 5 events there now | stream-assets reopen events --from 2026-03-11T00:20+0000" in said[0][0]
    reopen(
        w.pipeline, "events", w.pipeline.range("events", "2026-03-11T00:20", "2026-03-11T00:30"), "it is back", "Ada"
    )
    w.live("2026-03-11 01:06")
    assert proof(w) == []
    assert w.receipts("events")[FIRST].accepted == ()


def test_verify_knows_the_gaps_of_a_day(torn):
    w = torn
    w.stop("every_5_min").at("2026-03-11 23:59").live("2026-03-12 00:06")
    accepted(w, "events_daily", "2026-03-11")
    w.stop().run()
    assert [known for _, known in proof(w)] == [True]
    w.shop.broken = Intervals()
    assert "stream-assets reopen events_daily --from 2026-03-11 " in proof(w)[0][0]
    reopen(w.pipeline, "events_daily", w.pipeline.range("events_daily", "2026-03-11"), "it is back")
    w.run()
    assert proof(w) == []


def test_an_unsettled_window_is_no_gap(torn):
    with pytest.raises(UsageError, match="settles at"):
        accepted(torn, "events", "2026-03-11T00:50")


def test_a_receipt_of_before_has_accepted_nothing(torn):
    old = torn.receipts("events")["2026-03-11T00:00+0000"]
    assert Receipt.from_json(old.to_json().replace(',"accepted":[]', "")) == old


# Reopening.


def test_what_is_reopened_is_made_again_with_the_reason_and_what_comes_out_equal_stays(world):
    w = world(dashboard, report, now="2026-03-11 23:32", start="2026-03-10")
    w.live("2026-03-12 00:26", every="15 min")
    before = {t: w.revisions(t) for t in ("events", "events_daily", "dashboard", "report")}
    # The source corrects itself without a word.
    w.shop.add(w.instant("2026-03-10 12:02"), w.instant("2026-03-10 12:02"))
    w.shop._added[-1]["arrival_time"] = w.instant("2000-01-01 00:00")
    for table in ("events_daily", "events"):
        span = w.pipeline.range(table, "2026-03-10", "2026-03-12")
        assert reopen(w.pipeline, table, span, "the feed was wrong", "Ada") == Intervals.of(span)
    w.live("2026-03-12 00:36")
    day = w.receipts("events_daily")["2026-03-10"]
    assert (day.revision, day.rows, day.reason) == (2, 1441, "reopened by Ada: the feed was wrong")
    changed = {(t, k) for t in before for k, r in w.revisions(t).items() if k in before[t] and before[t][k] != r}
    assert changed == {("events_daily", "2026-03-10"), ("report", "2026-03-10"), ("dashboard", "2026-03-10T12:00+0000")}


def test_a_consumer_that_paused_goes_on_when_it_is_reopened(world):
    w = world(picky, now="2026-03-11 00:02", start="2026-03-11")
    w.live("2026-03-11 00:11")
    span = w.pipeline.range("picky", "2026-03-11T00:00", "2026-03-11T00:30")
    assert reopen(w.pipeline, "picky", span, "again") == Intervals.of(
        TimeWindow(span.start, w.instant("2026-03-11 00:10"))
    )
    assert [work.tables for work in w.live("2026-03-11 00:16")] == [("events", "picky")]
    assert w.pipeline.lake.ledger.reopened() == {}


def test_nothing_is_reopened_where_nothing_is_sealed(torn):
    span = torn.pipeline.range("events", "2026-03-11T00:20")
    assert not reopen(torn.pipeline, "events", span, "x")


# What is no gap, and what is not given up with one.


def test_a_late_event_of_a_sealed_window_is_not_given_up_with_its_day(world):
    w = world(
        dashboard, now="2026-03-11 23:02", start="2026-03-11", sources={"events": Shop(every=timedelta(minutes=10))}
    )
    w.run()
    w.live("23:51", every="30 min")
    w.shop.break_(w.calendar.instant("2026-03-11T23:40"))
    w.stop("every_5_min")
    w.shop.add(w.calendar.instant("2026-03-11T08:12"), w.calendar.instant("2026-03-12T00:00"), id="late")
    w.at("23:59").live("2026-03-12 00:06")
    assert w.failures("events_daily")
    assert accepted(w, "events_daily", "2026-03-11").count("published") == 1
    assert w.ids().count("late") == 1


def test_a_late_event_of_another_window_is_not_given_up_with_one_that_cannot_be_read(world):
    w = world(report, now="2026-03-12 02:01", start="2026-03-11", sources={"events": Shop(every=timedelta(minutes=10))})
    w.run()
    w.shop.break_(w.calendar.instant("2026-03-11T08:00"))
    w.shop.add(w.calendar.instant("2026-03-11T08:02"), w.instant("02:10"), id="unreadable")
    w.live("03:31", every="30 min")
    assert w.failures("events_daily")
    w.shop.add(w.calendar.instant("2026-03-11T15:02"), w.instant("03:32"), id="late")
    w.at("03:33")
    assert accepted(w, "events_daily", "2026-03-11").count("unchanged") == 1
    assert (w.ids().count("late"), w.ids().count("unreadable")) == (1, 0)
    w.live("08:01", every="1 hour")
    assert w.failures("events_daily") == []


def test_what_fails_on_the_lake_is_no_gap(world, monkeypatch):
    w = world(dashboard, now="2026-03-12 00:52", start="2026-03-12")
    w.run()
    w.shop.add(w.calendar.instant("2026-03-12T00:12"), w.instant("00:53"), id="late")
    w.at("00:53")

    def full(*_, **__):
        raise LakeUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "commit", full)
        assert accepted(w, "events", "2026-03-12T00:10").count("failed") == 1
    w.live("01:06")
    assert w.ids().count("late") == 1


def test_an_outage_is_no_gap(world, monkeypatch):
    w = world(dashboard, now="2026-03-12 00:21", start="2026-03-12")
    w.run()
    w.at("00:41").pipeline.observe()

    def away(*_, **__):
        raise SourceUnavailable("it does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Shop, "read", away)
        assert accepted(w, "events", "2026-03-12T00:20", "2026-03-12T00:40").count("failed") == 4
    w.retry("events")
    w.live("01:06")
    assert {r.rows for k, r in w.receipts("events").items() if k.startswith("2026-03-12T00:2")} == {5}


def test_what_was_released_of_a_window_is_there_all_the_same(torn):
    (span, *_) = [f.span for f in torn.pipeline.lake.ledger.work.failures()["events"]]
    row = {"event_id": "released", "event_time": span.start, "arrival_time": None, "country": "DE", "amount": 1.0}
    window = TimeWindow(span.start, span.start + GRID)
    torn.pipeline.lake.beside.release("events", window, pa.Table.from_pylist([row], schema=COLUMNS))
    start, end = (torn.calendar.key(TimeWindow(t, t + GRID), "5 min") for t in (window.start, window.end))
    assert accepted(torn, "events", start, end).count("published") == 1
    assert torn.ids().count("released") == 1


def test_what_was_accepted_stays_so_when_the_ledger_is_made_anew(world):
    w = world(
        dashboard, now="2026-03-12 00:02", start="2026-03-12", sources={"events": Shop(every=timedelta(minutes=30))}
    )
    bad = w.calendar.instant("2026-03-12T00:20")
    w.shop.break_(bad)
    w.shop.add(bad, bad, id="unreadable")
    w.live("00:41")
    accepted(w, "events", "2026-03-12T00:20")
    w.live("01:01")
    w.pipeline.lake.ledger.database.close()
    rebuild(w.folder, w.now)
    w.define(dashboard)
    recognise(w.pipeline.site)
    w.live("02:01")
    assert w.failures("events") == []
    w.live("2026-03-13 01:01", every="1 hour")
    assert w.coverage("events_daily").covers(w.calendar.day_around(bad))
