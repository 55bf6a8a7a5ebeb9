"""Where the boundaries of a cadence lie."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.core.cadence import DAILY, Cadence
from stream_assets.core.window import EPOCH, GRID, Calendar
from stream_assets_tests.core.simulator import DAY, HOUR, MINUTE, at
from stream_assets_tests.core.test_windows_and_days import days_of_interest, instants, zones

micro = st.integers(1, 287).map(lambda n: Cadence(n * GRID))
batch = st.integers(1, 40).map(lambda n: Cadence(n * DAY))
UTC_DAYS = Calendar()


def boundaries(cadence: Cadence, first: datetime, until: datetime, calendar: Calendar = UTC_DAYS) -> list[datetime]:
    found = [cadence.last_boundary(first, calendar)]
    while found[-1] < until:
        found.append(cadence.next_boundary(found[-1], calendar))
    return found


@given(micro | batch, zones, instants)
def test_the_last_boundary_is_not_after_and_the_next_one_is(cadence: Cadence, zone: str, now: datetime) -> None:
    calendar = Calendar(zone)
    last, following = cadence.last_boundary(now, calendar), cadence.next_boundary(now, calendar)
    assert last <= now < following
    assert (
        cadence.last_boundary(last, calendar)
        == last
        == cadence.last_boundary(following - timedelta(microseconds=1), calendar)
    )
    assert cadence.last_boundary(following, calendar) == following
    assert following - last <= cadence.step + (HOUR if cadence.is_batch else timedelta(0))


@given(micro, days_of_interest())
def test_boundaries_begin_anew_at_every_local_midnight(cadence: Cadence, where: tuple[str, date]) -> None:
    calendar, day = Calendar(where[0]), Calendar(where[0]).day(where[1])
    found = boundaries(cadence, day.start, day.end, calendar)
    assert (found[0], found[-1]) == (day.start, day.end)
    steps = [b - a for a, b in itertools.pairwise(found)]
    assert set(steps[:-1]) <= {cadence.step}
    assert timedelta(0) < steps[-1] <= cadence.step


def test_90_minutes_over_a_day_of_23_hours_end_in_a_short_interval() -> None:
    berlin = Calendar("Europe/Berlin")
    day = berlin.day(date(2026, 3, 29))
    found = boundaries(Cadence(90 * MINUTE), day.start, day.end, berlin)
    assert len(found) - 1 == 16
    assert found[-1] - found[-2] == 30 * MINUTE


def test_seven_hours_are_cut_short_at_midnight() -> None:
    found = boundaries(Cadence(7 * HOUR), at("2026-03-10"), at("2026-03-11"))
    assert [b.hour for b in found] == [0, 7, 14, 21, 0]


def test_the_boundaries_of_15_and_20_minutes_meet_on_the_hour() -> None:
    quarter = boundaries(Cadence(15 * MINUTE), at("2026-03-10T10:00"), at("2026-03-10T12:00"))
    twenty = boundaries(Cadence(20 * MINUTE), at("2026-03-10T10:00"), at("2026-03-10T12:00"))
    assert [b.minute for b in sorted({*quarter, *twenty})] == [0, 15, 20, 30, 40, 45] * 2 + [0]


@given(st.integers(1, 40), zones, instants)
def test_a_batch_boundary_is_the_local_midnight_of_a_day_since_1970_that_n_divides(
    days: int, zone: str, now: datetime
) -> None:
    calendar, cadence = Calendar(zone), Cadence(days * DAY)
    last = cadence.last_boundary(now, calendar)
    day = calendar.day_of(last)
    assert last == calendar.midnight(day)
    assert (day - EPOCH.date()).days % days == 0
    assert cadence.is_due_on(day)
    assert [cadence.is_due_on(day + timedelta(days=n)) for n in range(1, days)] == [False] * (days - 1)


@pytest.mark.parametrize("day", ["2026-03-12", "2026-03-19"])
def test_weeks_begin_on_thursdays_as_1970_did(day: str) -> None:
    assert Cadence(7 * DAY).is_due_on(date.fromisoformat(day))
    assert date.fromisoformat(day).weekday() == 3


def test_daily_boundaries_are_local_midnights_also_where_clocks_change() -> None:
    berlin = Calendar("Europe/Berlin")
    found = boundaries(DAILY, at("2026-03-28T12:00"), at("2026-03-30T12:00"), berlin)
    assert [b.isoformat()[5:16] for b in found] == ["03-27T23:00", "03-28T23:00", "03-29T22:00", "03-30T22:00"]
