"""The check `verify` through Dagster: in its own job, with a verdict on each partition, and in no run that materializes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import dagster as dg
import pyarrow as pa

from stream_assets import consumer
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.defs.verify import VERIFY
from stream_assets.pipeline.verify.consumers import REOPENED
from stream_assets_tests.defs.conftest import Host

Hosted = Callable[..., Host]


@consumer(freshness="5 min", reads={"events": ["event_id"]})
def totals(events: pa.Table) -> pa.Table:
    return pa.table({"events": pa.array([events.num_rows], pa.int64())})


def filled(hosted: Hosted, **options: Any) -> Host:
    """Yesterday sealed, 00:00 to 00:35 of today in windows, and a consumer of both."""
    host = hosted(totals, start="2026-03-09", **options)
    assert all(not r.failed for _, reports in host.pipeline.run() for r in reports)
    return host


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    found = result.get_asset_check_evaluations()
    return {e.asset_key.to_user_string(): e for e in found if e.check_name == VERIFY}


def verified(host: Host) -> dict[str, Any]:
    job = host.repository.get_job("verify")
    return evaluations(job.execute_in_process(instance=host.instance, raise_on_error=False))


def lines(evaluation: Any) -> dict[str, dict[str, Any]]:
    return {r.data["partition"]: dict(r.data) for r in evaluation.metadata["partitions"].records}


def test_its_job_gives_a_verdict_on_every_partition_of_the_live_span(hosted: Hosted) -> None:
    host = filled(hosted)
    seq = host.pipeline.lake.ledger.seq()
    found = verified(host)
    assert {name: e.passed for name, e in found.items()} == {"events": True, "events_daily": True, "totals": True}
    assert {key: line["verdict"] for key, line in lines(found["totals"]).items()} == {
        "2026-03-09": "agrees", "2026-03-10": "agrees",
    }  # fmt: skip
    assert len(lines(found["events"])) == 7
    (day,) = host.pipeline.lake.ledger.current("events_daily", host.yesterday())
    assert lines(found["events_daily"])["2026-03-09"] == {
        "partition": "2026-03-09", "rows": day.rows, "digest": str(day.digest), "verdict": "agrees",
    }  # fmt: skip
    assert found["events_daily"].metadata["source_queries"].value == 1
    assert host.pipeline.lake.ledger.seq() == seq


def test_a_broken_lake_fails_it_and_the_partition_is_named(hosted: Hosted) -> None:
    host = filled(hosted)
    window = TimeWindow(host.yesterday().end, host.yesterday().end + timedelta(minutes=5))
    (current,) = host.pipeline.lake.ledger.current("events", window)
    (host.pipeline.lake.layout.root / current.file).unlink()
    found = verified(host)
    assert (found["events"].passed, found["events"].severity) == (False, dg.AssetCheckSeverity.ERROR)
    verdicts = {key: line["verdict"] for key, line in lines(found["events"]).items()}
    beside = {key for key, said in verdicts.items() if said.startswith("ids were not compared")}
    assert {key for key, said in verdicts.items() if said != "agrees"} - beside == {"2026-03-10T00:00+0000"}
    assert "is not there" in lines(found["events"])["2026-03-10T00:00+0000"]["verdict"]
    assert "stream-assets verify events --from 2026-03-10T00:00+0000" in found["events"].metadata["mend"].value
    assert found["events_daily"].passed


def test_a_run_that_materializes_plans_it_with_the_others_and_does_not_verify(hosted: Hosted) -> None:
    host = filled(hosted)
    result = host.run(["events_daily"], host.yesterday())
    assert result.success
    assert evaluations(result) == {}
    assert {e.check_name for e in result.get_asset_check_evaluations()} == {"rows_add_up"}


def test_it_can_be_executed_by_itself(hosted: Hosted) -> None:
    host = filled(hosted)
    key = dg.AssetCheckKey(dg.AssetKey("totals"), VERIFY)
    job = host.definitions.resolve_implicit_global_asset_job_def()
    part = job.get_subset(asset_selection=set(), asset_check_selection={key})
    result = part.execute_in_process(instance=host.instance, raise_on_error=False)
    assert {name: e.passed for name, e in evaluations(result).items()} == {"totals": True}


def test_its_schedule_and_job_are_prefixed_and_off_until_somebody_wants_them(hosted: Hosted) -> None:
    repository = hosted(totals, name="shop").repository
    schedule = repository.get_schedule_def("shop_verify")
    assert (schedule.job_name, schedule.default_status) == ("shop_verify", dg.DefaultScheduleStatus.STOPPED)
    assert "asks the source" in (schedule.description or "")


def test_what_is_known_to_differ_is_said(hosted: Hosted) -> None:
    host = filled(hosted)
    now = host.pipeline.clock.now()
    host.pipeline.lake.ledger.reopened.add("totals", Intervals.of(host.yesterday()), "the test says so", now, now)
    found = verified(host)["totals"]
    assert found.passed
    assert found.description == f"2 partitions, nothing differs; known: 1 {REOPENED}"
