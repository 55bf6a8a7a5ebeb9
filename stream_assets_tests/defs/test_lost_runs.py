"""Runs and work that lost each other: a process was killed or stopped between two lines, or waits in a queue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from unittest.mock import patch

import dagster as dg
import pandas as pd
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.test_utils import create_run_for_test

from stream_assets import consumer
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.defs.names import LOCATION, RANGE_START, RUN_KEY, WORK_TAG
from stream_assets.errors import SourceUnavailable
from stream_assets.testing import SettableClock
from stream_assets_tests.defs.conftest import Host

Hosted = Callable[..., Host]


@consumer(freshness="5 min", grain="5 min")
def orders(events: pd.DataFrame) -> pd.DataFrame:
    """At 5-minute grain."""
    return pd.DataFrame({"events": [len(events)]})


def test_a_run_that_gives_no_sign_of_life_is_ended(
    hosted: Hosted, instance: dg.DagsterInstance, clock: SettableClock
) -> None:
    host = hosted(orders)
    request = host.tick("every_5_min").requests[0]
    other = create_run_for_test(instance, tags={}, status=dg.DagsterRunStatus.STARTED)
    run = create_run_for_test(
        instance, tags={**request.tags, RUN_KEY: str(request.run_key)}, status=dg.DagsterRunStatus.STARTED
    )
    id = int(request.tags[WORK_TAG])
    span = TimeWindow(clock.now() - timedelta(minutes=10), clock.now())
    host.tick("heal")
    clock.advance(timedelta(minutes=3))
    host.pipeline.lake.ledger.work.begin(id, "every_5_min", "5 min", ("events",), span, clock.now())
    assert "is lost" not in str(host.tick("heal").said)
    clock.advance(timedelta(seconds=61))  # no sign of life for a minute
    with patch.object(dg.SensorEvaluationContext, "log") as log:
        host.tick("heal")
    assert f"run {run.run_id[:8]} is lost and was ended" in log.info.call_args_list[-1].args[0]
    statuses = {r.run_id: r.status for r in instance.get_runs()}
    assert statuses == {run.run_id: dg.DagsterRunStatus.FAILURE, other.run_id: dg.DagsterRunStatus.STARTED}


def test_work_whose_run_was_stopped_between_two_tables_is_asked_for_again(
    hosted: Hosted, instance: dg.DagsterInstance, clock: SettableClock
) -> None:
    host = hosted(orders)
    request = host.tick("every_5_min").requests[0]
    id = int(request.tags[WORK_TAG])
    span = host.pipeline.range("events", request.tags[RANGE_START], "2026-03-10T00:35+0000")
    with host.pipeline.running("events", span, request=id) as running:
        host.pipeline.fill("events", span, running)
    tags = {**request.tags, RUN_KEY: str(request.run_key)}
    run = create_run_for_test(instance, tags=tags, status=dg.DagsterRunStatus.STARTED)
    assert "free again" not in str(host.tick("heal").said)
    assert not host.tick("every_5_min").requests
    instance.report_run_failed(run)
    assert f"the work of run {run.run_id[:8]}, which has ended, is free again" in str(host.tick("heal").said)
    assert host.tick("every_5_min").requests


def test_work_is_not_asked_for_again_while_its_run_queues(
    hosted: Hosted, instance: dg.DagsterInstance, clock: SettableClock
) -> None:
    host = hosted(orders)
    request = host.tick("every_5_min").requests[0]
    tags = {**request.tags, RUN_KEY: str(request.run_key)}
    create_run_for_test(instance, tags=tags, status=dg.DagsterRunStatus.NOT_STARTED)
    for _ in range(4):
        clock.advance(timedelta(minutes=4))
        asked = [r for r in host.tick("every_5_min").requests if r.tags[RANGE_START] == request.tags[RANGE_START]]
        assert asked == []


def test_what_a_stopped_run_published_and_did_not_report_is_reported(
    hosted: Hosted, instance: dg.DagsterInstance
) -> None:
    host = hosted(orders)
    request = host.tick("every_5_min").requests[0]
    tags = {**request.tags, RUN_KEY: str(request.run_key)}
    with patch("stream_assets.defs.assets.facts", side_effect=DagsterExecutionInterruptedError):
        host.execute(["events", "orders"], tags)
    (run,) = instance.get_runs()
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert len(host.sealed("events")) == 7
    assert not host.materialized("events")
    assert f"run {run.run_id[:8]} ended before it reported 7 sound partitions" in str(host.tick("heal").said)
    assert host.materialized("events") == set(host.sealed("events"))
    assert not host.materialized("orders")
    assert "ended before" not in str(host.tick("heal").said)


FAILURE = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])


def failed(instance: dg.DagsterInstance, table: str) -> set[str]:
    """The partitions that Dagster shows as failed."""
    log = instance.event_log_storage
    return set(log.get_latest_asset_partition_materialization_attempts_without_materializations(dg.AssetKey(table)))


def heal(host: Host, location: str) -> str:
    with patch.object(dg.SensorEvaluationContext, "code_location_origin", SimpleNamespace(location_name=location)):
        return str(host.tick("heal").said)


@pytest.mark.parametrize("is_by_hand", [False, True])
def test_what_a_stopped_run_was_only_to_confirm_does_not_stay_failed(
    hosted: Hosted, instance: dg.DagsterInstance, is_by_hand: bool
) -> None:
    host = hosted(orders)
    request = host.tick("every_5_min").requests[0]
    assert host.do(request)
    tags = {**request.tags, **({LOCATION: "ours"} if is_by_hand else {RUN_KEY: str(request.run_key)})}
    tables = ["events", "orders"]
    assert host.execute(tables, tags).success
    with patch("stream_assets.defs.assets.facts", side_effect=DagsterExecutionInterruptedError):
        host.execute(tables, tags)
    (run,) = instance.get_runs(filters=FAILURE)
    assert failed(instance, "events") == set(host.sealed("events"))
    span = TimeWindow(host.pipeline.lake.start, host.pipeline.lake.start + timedelta(minutes=5))
    now = host.pipeline.clock.now()
    host.pipeline.lake.ledger.reopened.add("events", Intervals.of(span), "the test says so", now, now)
    if is_by_hand:
        assert "ended before" not in heal(host, "another's")
    said = heal(host, "ours")
    assert f"run {run.run_id[:8]} ended before it reported 13 sound partitions: now they are" in said
    assert failed(instance, "events") == {host.pipeline.calendar.key(span, "5 min")}


def test_what_a_run_named_as_failed_and_a_day_that_is_to_be_healed_stay_failed(
    hosted: Hosted, instance: dg.DagsterInstance
) -> None:
    host = hosted(orders, start="2026-03-08")
    assert all(not r.failed for _, reports in host.pipeline.run() for r in reports)
    days, tags = host.sealed("events_daily"), {LOCATION: "ours"}
    assert days == ["2026-03-08", "2026-03-09"]
    whole = TimeWindow(host.pipeline.lake.start, host.yesterday().end)
    with patch("stream_assets.defs.assets.facts", side_effect=DagsterExecutionInterruptedError):
        host.run(["events_daily"], whole, tags=tags)
    late = TimeWindow(host.yesterday().start, host.yesterday().start + timedelta(minutes=5))
    now = host.pipeline.clock.now()
    host.pipeline.lake.ledger.reopened.add("events", Intervals.of(late), "the test says so", now, now)
    assert failed(instance, "events_daily") == set(days)
    heal(host, "ours")
    assert failed(instance, "events_daily") == {days[1]}
    today = TimeWindow(whole.start, whole.end + timedelta(days=1))
    with patch("stream_assets.pipeline.ingest.Ingest.days", side_effect=SourceUnavailable("the test says so")):
        host.run(["events_daily"], today, tags=tags)
    heal(host, "ours")
    assert failed(instance, "events_daily") == {*days, "2026-03-10"}


def test_runs_of_others_assets_are_left_alone(hosted: Hosted, instance: dg.DagsterInstance) -> None:
    host = hosted(orders)
    theirs = create_run_for_test(
        instance, tags={LOCATION: "ours"}, status=dg.DagsterRunStatus.FAILURE,
        asset_selection=frozenset({dg.AssetKey("theirs")}),
    )  # fmt: skip
    heal(host, "ours")
    (run,) = instance.get_runs(filters=FAILURE)
    assert run.tags == theirs.tags
