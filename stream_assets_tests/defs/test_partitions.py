"""Dagster's partitions and mappings in the lake's zone, on ordinary days and on those whose clock changes."""

from __future__ import annotations

from datetime import date, timedelta

import dagster as dg
import pytest

from stream_assets.core.window import Calendar
from stream_assets.defs.partitions import Partitions, mapping
from stream_assets_tests.scenarios.test_local_days import DAYS


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")  # `build_definitions` says so once, for all that it makes
@pytest.mark.parametrize(("zone", "day", "count"), DAYS)
def test_a_day_maps_to_its_own_windows_and_they_to_it(zone: str, day: str, count: int) -> None:
    calendar = Calendar(zone)
    start = calendar.midnight(date.fromisoformat(day) - timedelta(days=2))
    partitions = Partitions.of(zone, start, start)
    down = mapping("day", "5 min")
    assert isinstance(down, dg.TimeWindowPartitionMapping)
    asked = partitions.days.empty_subset().with_partition_keys([day])
    found = down.get_upstream_mapped_partitions_result_for_partitions(asked, partitions.days, partitions.windows)
    keys = list(found.partitions_subset.get_partition_keys())
    span = calendar.day(date.fromisoformat(day))
    assert sorted(keys) == sorted(calendar.key(window, "5 min") for window in span.windows())
    assert len(set(keys)) == count
    for key in (keys[0], keys[count // 2], keys[-1]):
        one = partitions.windows.empty_subset().with_partition_keys([key])
        back = down.get_downstream_partitions_for_partitions(one, partitions.windows, partitions.days)
        assert list(back.get_partition_keys()) == [day]


@pytest.mark.parametrize(("zone", "day", "count"), DAYS)
def test_keys_are_read_as_the_windows_that_dagster_means(zone: str, day: str, count: int) -> None:
    calendar = Calendar(zone)
    span = calendar.day(date.fromisoformat(day))
    partitions = Partitions.of(zone, span.start, span.start)
    for window in list(span.windows())[:: count // 12]:
        key = calendar.key(window, "5 min")
        meant = partitions.windows.time_window_for_partition_key(key)
        assert (meant.start.timestamp(), meant.end.timestamp()) == (window.start.timestamp(), window.end.timestamp())
        assert calendar.parse_key(key, "5 min") == window


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_keys_of_a_finished_history_end_with_it() -> None:
    start = Calendar("America/New_York").midnight(date(2013, 12, 30))
    partitions = Partitions.of("America/New_York", start, start, date(2014, 1, 1))
    assert partitions.windows.get_num_partitions() == 2 * 288
    assert partitions.windows.get_last_partition_key() == "2013-12-31T23:55-0500"
    assert partitions.days.get_partition_keys() == ["2013-12-30", "2013-12-31"]
