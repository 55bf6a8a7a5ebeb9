"""Gaps whose data is gone for good, accepted by name; and what an operator has made again."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from stream_assets import consumer
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Receipt
from stream_assets.core.window import TimeWindow
from stream_assets.errors import SourceIncomplete, UsageError
from stream_assets.lake.rebuild import rebuild
from stream_assets.pipeline.gaps import reopen
from stream_assets.pipeline.recognise import recognise
from stream_assets.pipeline.verify import verify
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.given_up import FIRST, SAID, accepted, gap
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import World


@consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id"]})
def picky(events: pa.Table) -> pa.Table:
    if "bad" in events["event_id"].to_pylist():
        raise ValueError("bad")
    return events


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
    assert (w.failures("events"), w.pipeline.lake.ledger.reopened.all().get("events", ())) == ([], ())


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


def test_verify_says_of_a_gap_that_its_source_could_not_be_asked_and_not_that_it_is_still_gone(torn):
    w = torn
    accepted(w, "events", "2026-03-11T00:20", "2026-03-11T00:30")
    w.shop.is_down = True
    said = [(line, known) for line, known in proof(w) if "sealed without data" in line]
    assert [known for _, known in said] == [False, False]
    assert (
        "not compared, because the source cannot be read there: the shop does not answer | mend the source"
        in said[0][0]
    )


def test_verify_asks_for_a_gap_around_a_part_that_the_source_is_still_writing(torn, monkeypatch):
    w = torn.at("2026-03-12 00:10")
    accepted(w, "events_daily", "2026-03-11")
    w.shop.broken = Intervals()
    writing, read = w.instant("2026-03-11 00:20"), Shop.read

    def half(shop: Shop, window: TimeWindow, **options: Any) -> Any:
        if writing in window:
            raise SourceIncomplete("it is being written")
        return read(shop, window, **options)

    w.pipeline.observe()
    monkeypatch.setattr(Shop, "read", half)
    back, gone = [(line, known) for line, known in proof(w) if "sealed without data" in line]
    assert gone == (
        f"events_daily sealed without data ({SAID}), and its source still does not give it | none needed",
        True,
    )
    assert "its source has 5 events there now" in back[0]
    assert not back[1]


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
    assert w.pipeline.lake.ledger.reopened.all() == {}


def test_nothing_is_reopened_where_nothing_is_sealed(torn):
    span = torn.pipeline.range("events", "2026-03-11T00:20")
    assert not reopen(torn.pipeline, "events", span, "x")
