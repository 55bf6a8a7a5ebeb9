"""Runs over ranges of partitions, as the daemon and people start them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import dagster as dg
import pandas as pd

from stream_assets import Project, consumer
from stream_assets.core.window import TimeWindow
from stream_assets.defs.adopt import adopt
from stream_assets.defs.names import WORK_TAG, Names
from stream_assets.pipeline.project import find_consumers
from stream_assets_tests.defs.conftest import Host, error_of


def test_a_range_run_shows_facts_on_every_partition(host: Host) -> None:
    start = host.yesterday().start
    span = TimeWindow(start, start + timedelta(minutes=20))
    assert host.run(["events"], span).success
    assert len(host.materialized("events")) == 4
    for window in span.windows():
        key = host.pipeline.calendar.key(window, "5 min")
        records = host.instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey("events"), asset_partitions=[key]), limit=10
        ).records
        assert len(records) == 1
        metadata = records[0].asset_materialization.metadata if records[0].asset_materialization else {}
        receipt = host.pipeline.lake.ledger.current("events", window)[0].receipt
        assert metadata["dagster/row_count"].value == receipt.rows
        assert metadata["rows_read"].value == receipt.rows + receipt.duplicates + receipt.rejected
        assert {"path", "preview", "receipt", "dagster/column_schema"} <= set(metadata)
        # What people look for comes first, the long receipt last.
        assert [*metadata][:3] == ["state", "why", "dagster/row_count"]
        assert [*metadata][-1] == "receipt"


def test_days_and_their_consumers_fill_in_one_run(host: Host) -> None:
    result = host.run(["events_daily", "finance_report"], host.yesterday())
    assert result.success
    assert len(host.materialized("events_daily")) == len(host.materialized("finance_report")) == 1


def test_a_failing_window_leaves_the_others_materialised_and_the_run_failed(
    project: Project, instance: dg.DagsterInstance
) -> None:
    @consumer(freshness="5 min", grain="5 min")
    def picky(events: pd.DataFrame, window: TimeWindow) -> pd.DataFrame:
        if window.start.minute == 10:
            raise ValueError("no tens")
        return events

    host = Host(project, [picky], instance)
    start = host.yesterday().start
    span = TimeWindow(start, start + timedelta(minutes=30))
    result = host.run(["events", "picky"], span)
    assert not result.success
    bad = host.pipeline.calendar.key(TimeWindow(start + timedelta(minutes=10), start + timedelta(minutes=15)), "5 min")
    assert len(host.materialized("events")) == 6
    assert len(host.materialized("picky")) == 5
    assert bad not in host.materialized("picky")
    assert bad in error_of(result)
    assert "no tens" in error_of(result)


def test_of_many_failures_the_first_are_told_and_all_are_listed(project: Project, instance: dg.DagsterInstance) -> None:
    @consumer(freshness="5 min", grain="5 min")
    def broken(events: pd.DataFrame) -> pd.DataFrame:
        raise KeyError("amont")

    host = Host(project, [broken], instance)
    start = host.yesterday().start
    result = host.run(["events", "broken"], TimeWindow(start, start + timedelta(minutes=40)))
    (failure,) = (e.step_failure_data for e in result.all_events if e.is_step_failure)
    assert failure.user_failure_data is not None
    said = failure.user_failure_data.description or ""
    assert "broken: 8 of 8 partitions failed" in said
    assert said.count("raised KeyError: 'amont'") == 5
    assert "and 3 more" in said
    assert len(failure.user_failure_data.metadata["failed_partitions"].value) == 8


def test_today_is_never_sealed_by_a_click(host: Host) -> None:
    today = host.pipeline.calendar.day_around(host.pipeline.clock.now())
    result = host.run(["events_daily"], today)
    assert not result.success
    assert "the open day is never sealed; materialize `events`" in error_of(result)


def test_a_closed_day_whose_inputs_are_not_sealed_fails_and_names_the_selection(host: Host) -> None:
    result = host.run(["finance_report"], host.yesterday())
    assert not result.success
    assert "materialize events, events_daily, finance_report" in error_of(result)


def test_planned_work_makes_what_is_due_and_confirms_the_rest(hosted: Callable[..., Host]) -> None:
    host = hosted(*find_consumers("stream_assets.consumers"), start="2026-03-08")
    day = host.yesterday()
    assert host.run(["events_daily"], day).success
    _, requests = host.pipeline.request("heal")
    work, lease = requests[0]
    assert host.run(list(work.tables), work.span, tags={WORK_TAG: str(lease.id)}).success
    assert [c.revision for c in host.pipeline.lake.ledger.current("events_daily", day)] == [1]
    assert host.pipeline.lake.ledger.work.in_flight(host.pipeline.clock.now()) == ()


def test_a_new_instance_on_an_old_lake_is_told_and_asked_for_nothing(hosted: Callable[..., Host]) -> None:
    host = hosted(*find_consumers("stream_assets.consumers"), start="2026-03-08")
    for _ in host.pipeline.run():
        pass
    assert host.pipeline.plan().works == ()
    reported = adopt(host.instance, host.pipeline, Names())
    sealed = len(
        host.pipeline.lake.ledger.current("events", host.pipeline.calendar.day_around(host.pipeline.clock.now()))
    )
    assert reported["events"] == len(host.materialized("events")) == sealed
    assert reported["events_daily"] == 2
    assert set(adopt(host.instance, host.pipeline, Names()).values()) == {0}
