"""One stream, one file or one process that misbehaves leaves the others alone, and tells no secrets."""

import os
from datetime import timedelta

import pyarrow as pa
import pytest

from stream_assets import consumer
from stream_assets.errors import SourceError
from stream_assets.lake.publish import KEEP_REPLACED
from stream_assets_tests.scenarios.buyers import dashboard, panda, report
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import at_freshness

SECRET = "postgresql://etl:hunter2@warehouse/shop"


@consumer(freshness="5 min", grain="5 min", reads={"other": ["event_id"]})
def others(other: pa.Table) -> pa.Table:
    """Count the events of the other stream."""
    return pa.table({"events": [other.num_rows]})


class Wrong(Shop):
    """Raises what it was given when it is asked what has arrived."""

    def arrivals(self, cursor, *, now, state=None):
        raise self.error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SourceError("the folder has a link that leads out of it: remove it"), "a link that leads out of it"),
        (
            RuntimeError(f"cannot connect to {SECRET}"),
            "raised RuntimeError for what has arrived (test_bad_neighbours.py, line",
        ),
    ],
)
def test_a_source_that_is_wrong_stops_its_own_stream_alone(world, error, said):
    wrong = Wrong(name="o")
    wrong.error = error
    w = world(dashboard, others, now="2026-03-10 01:02", start="2026-03-10", sources={"events": Shop(), "other": wrong})
    w.run()
    assert len(w.revisions("dashboard")) == 12
    assert w.standing("dashboard").is_kept
    assert not w.standing("others").is_kept
    assert said in w.pipeline.observe()["other"]
    planned, _ = w.pipeline.request("every_5_min")
    assert said in planned.says["every_5_min"]
    assert "hunter2" not in repr(planned.says) + repr(w.pipeline.observe())


def test_a_damaged_file_fails_the_partitions_that_read_it_alone(world):
    w = world(dashboard, now="2026-03-10 04:02", start="2026-03-10")
    w.tick("every_5_min")
    window = w.pipeline.range("events", "2026-03-10T01:00")
    path = w.pipeline.lake.files("events", window)[0].path
    path.write_bytes(path.read_bytes()[:-20])
    outcomes = w.by_hand("dashboard", "2026-03-10T00:00", "2026-03-10T04:00").outcomes
    assert [o.span for o in outcomes if not o.is_good] == [window]
    assert "no whole Parquet file" in next(o.error for o in outcomes if not o.is_good)
    assert sum(o.is_good for o in outcomes) == 47


def test_planned_work_that_is_due_no_more_is_not_said_to_be_made(world):
    w = world(dashboard, panda, now="2026-03-10 01:02", start="2026-03-10")
    [(work, lease)] = w.pipeline.request("every_5_min")[1]
    w.pipeline.lake.ledger.sources.pause("dashboard", w.now)
    events, made, other = w.pipeline.run_work(work, lease.id)
    assert events.count("published") == other.count("published") == 12
    assert made.count("not made") == len(made.failed) == 12
    assert "was not made" in made.outcomes[0].error
    assert w.failures("dashboard") == []


def test_what_follows_for_the_good_partitions_is_due_at_once_after_a_run_has_failed(world):
    w = world(dashboard, now="2026-03-10 01:02", start="2026-03-10")
    w.shop.break_(w.instant("2026-03-10 00:30"))
    [(work, lease)] = w.pipeline.request("every_5_min")[1]
    with w.pipeline.running("events", work.span, request=lease.id) as running:
        assert len(w.pipeline.fill("events", work.span, running).failed) == 1
    w.pipeline.give_back(running, "one window failed")
    assert any("dashboard" in asked.tables for asked in w.plan().of("every_5_min"))


def test_a_dead_stream_does_not_widen_the_open_day_of_another(world):
    w = world(
        dashboard, others, at_freshness(report, "5 min"), now="2026-03-10 01:02", start="2026-03-10",
        sources={"events": Shop(), "other": Shop(name="o")},
    )  # fmt: skip
    w.run()
    w.sources["other"].is_down = True
    w.live("2026-03-12 01:02", every="1 hour")
    before = w.receipts("report")

    @consumer(freshness="5 min", reads={"events": ["country", "amount"]})
    def report_(events: pa.Table) -> pa.Table:
        """Another body."""
        return events.group_by("country").aggregate([("amount", "sum"), ("amount", "count")]).sort_by("amount_sum")

    object.__setattr__(report_, "name", "report")
    w.define(dashboard, others, report_)
    w.live("01:12")
    changed = {key for key, receipt in w.receipts("report").items() if receipt.code != before[key].code}
    assert changed == {"2026-03-12"}


def test_heal_sweeps_what_was_exchanged_out_an_hour_ago(world):
    w = world(dashboard, now="2026-03-10 01:02", start="2026-03-10")
    w.run()
    staging = w.pipeline.lake.layout.staging
    for name, age in (("old", KEEP_REPLACED + timedelta(minutes=1)), ("new", timedelta(minutes=5))):
        (staging / name).mkdir()
        stamp = (w.now - age).timestamp()
        os.utime(staging / name, (stamp, stamp))
    w.at("01:20").tick("heal")
    assert not (staging / "old").exists()
    assert (staging / "new").exists()
