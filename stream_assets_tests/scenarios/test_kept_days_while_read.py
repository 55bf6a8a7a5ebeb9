"""Days that go while somebody reads, verifies or asks for what was made of them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from stream_assets.core.intervals import Intervals
from stream_assets.errors import Conflict, UsageError
from stream_assets.pipeline.compute import Compute
from stream_assets.pipeline.gaps import accept_gap, reopen
from stream_assets.pipeline.inputs import Inputs
from stream_assets.pipeline.verify import verify
from stream_assets.pipeline.verify.consumers import UNREADABLE
from stream_assets_tests.scenarios.buyers import dashboard, ledger_book, report
from stream_assets_tests.scenarios.kept import (
    everything,
    files,
    month,
    no_difference,
    totals_of_report,
    week,
)


def test_what_goes_between_a_consumers_look_and_its_reading_is_no_smaller_answer(world):
    w = month(world, week)
    w.at("2026-03-11 00:06")
    span = w.pipeline.range("week", "2026-03-08")
    files, left = type(w.pipeline.lake).files, [True]

    def late(lake, *args):
        if left:
            left.pop()
            lake.ledger.cover("events_daily", [w.pipeline.range("events_daily", "2026-03-05")], Intervals())
        return files(lake, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(w.pipeline.lake), "files", late)
        state = w.pipeline.state()
        with pytest.raises(Conflict, match="was removed while it was about to be read"):
            Compute(w.pipeline.site, week, state).inputs([span])


lazy_week = replace(ledger_book, name="week", lookback=timedelta(days=3))
moving = replace(dashboard, name="week", lookback=timedelta(hours=12))


@pytest.mark.parametrize("reader", [week, lazy_week])
def test_what_goes_under_a_run_that_is_held_up_for_longer_than_its_lease_is_no_smaller_answer(world, reader):
    w = month(world, reader)
    w.at("2026-03-11 00:06")
    before, other = w.table("week"), w.project.open((), w.clock)
    argument = Inputs.argument

    def held_up(inputs, *asked):
        """The laptop slept between the look at what is there and the reading of it."""
        w.clock.advance(timedelta(minutes=10))
        list(other.run())
        return argument(inputs, *asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inputs, "argument", held_up)
        (outcome,) = w.by_hand("week", "2026-03-08").outcomes
    assert "2026-03-05" not in w.revisions("events_daily")
    assert "needs events, which is not sealed in [2026-03-05T00:00Z, 2026-03-06T00:00Z)" in (outcome.error or "")
    assert w.table("week") == before


def test_what_goes_while_it_is_verified_is_no_difference(world):
    w = month(world, week)
    w.at("2026-03-12 00:06")
    other, span = w.project.open((), w.clock), w.pipeline.range("week", "2026-03-08")
    argument = Inputs.argument

    def goes(inputs, *asked):
        list(other.run())
        return argument(inputs, *asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inputs, "argument", goes)
        found = verify(w.pipeline.site, ["week"], span)
    assert "2026-03-05" not in w.revisions("events_daily")
    assert (found.differences, found.reasons) == ([], {UNREADABLE: 1})


def test_rows_that_verify_looks_at_again_are_counted_once(world, monkeypatch):
    w = month(world, moving)
    span = w.pipeline.range("week", "2026-03-09T12:00", "2026-03-09T14:00")
    quiet = verify(w.pipeline.site, ["week"], span)
    refuse, looks = Inputs.refuse_removed, []

    def once(inputs):
        looks.append(inputs)
        if len(looks) == 10:
            raise Conflict("the test says so")
        refuse(inputs)

    monkeypatch.setattr(Inputs, "refuse_removed", once)
    found = verify(w.pipeline.site, ["week"], span)
    assert (found.consumer_rows, found.partitions) == (quiet.consumer_rows, quiet.partitions)
    assert len(looks) > found.partitions > 0 < found.consumer_rows


def test_what_cannot_be_made_again_is_not_promised_to_be(world):
    w = month(world, week)
    w.at("2026-03-12 00:06").run()
    for table, day, first in [("week", "2026-03-09", "2026-03-10"), ("events_daily", "2026-03-06", "2026-03-07")]:
        with pytest.raises(UsageError, match=f"not kept any more .* begins with {first}"):
            reopen(w.pipeline, table, w.pipeline.range(table, day), "a wrong price")
    assert reopen(w.pipeline, "week", w.pipeline.range("week", "2026-03-10"), "a wrong price")


def test_a_lost_partition_that_cannot_be_made_again_is_accepted_as_a_gap_and_holds_nobody_up(world):
    deep = replace(report, lookback=timedelta(days=3))
    w = month(world, deep, replace(totals_of_report, lookback=timedelta(days=3)))
    w.at("2026-03-12 00:06").run()
    (lost,), span = files(w, "report", "2026-03-09"), w.pipeline.range("report", "2026-03-09")
    shutil.rmtree(lost.parent)
    (found,) = verify(w.pipeline.site, ["report"], everything(w)).differences
    assert (found.span, found.mend.way) == (span, "by hand")
    assert "`stream-assets accept-gap report --from 2026-03-09 --to 2026-03-10 --by NAME" in found.mend.said
    w.at("2026-03-13 00:06").run()
    assert w.failures("totals_of_report")
    kept = accept_gap(w.pipeline, "report", w.pipeline.range("report", "2026-03-08", "2026-03-13"), "me", "lost")
    assert [(o.span, o.state) for o in kept.outcomes if o.state == "published"] == [(span, "published")]
    w.clock.advance(timedelta(hours=2))
    w.run()
    assert w.failures("totals_of_report") == []
    assert w.receipts("report")["2026-03-09"].accepted[0].said == "gap accepted by me: lost"
    assert list(w.standing("totals_of_report").holes) == []
    no_difference(w)


def test_windows_that_are_read_together_are_no_smaller_where_their_day_goes_first(world):
    w = month(world, moving)
    compute = Compute(w.pipeline.site, moving, w.pipeline.state())
    spans = list(w.pipeline.range("week", "2026-03-05T12:00", "2026-03-05T12:10").windows())
    inputs = compute.inputs(spans)
    w.at("2026-03-11 00:06").run()
    with pytest.raises(Conflict, match="events .* was removed while it was about to be read"):
        compute.partition(spans[0], inputs, Intervals.of(spans[0]))


def test_what_others_publish_while_a_run_reads_is_no_news_to_it(world):
    w = month(world, week)
    compute, span = Compute(w.pipeline.site, week, w.pipeline.state()), w.pipeline.range("week", "2026-03-09")
    inputs = compute.inputs([span])
    w.by_hand("events_daily", "2026-03-09")
    made = compute.partition(span, inputs, Intervals.of(span))
    assert made.digest == w.receipts("week")["2026-03-09"].digest
