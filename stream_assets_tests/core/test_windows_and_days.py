"""Every instant lies in exactly one window and one local day, whatever the clocks do."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_assets.core.window import GRAINS, GRID, Calendar, Grain, TimeWindow, floor_to_grid, utc
from stream_assets.errors import DeclarationError, UsageError

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Seoul", "Australia/Lord_Howe",
    "Africa/Cairo", "America/Santiago", "Asia/Beirut", "Asia/Kathmandu", "America/St_Johns",
]  # fmt: skip
MICROSECOND = timedelta(microseconds=1)

zones = st.sampled_from(ZONES)
instants = st.datetimes(datetime(2015, 1, 2), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@cache
def clock_changes(zone: str) -> list[date]:
    """The local days from 2015 to 2035 on which the UTC offset changes."""
    tz = ZoneInfo(zone)
    noons = [datetime(2015, 1, 1, 12, tzinfo=UTC) + timedelta(days=n) for n in range(20 * 365)]
    days = [n.astimezone(tz) for n in noons]
    changed = [b.date() for a, b in itertools.pairwise(days) if a.utcoffset() != b.utcoffset()]
    return [d + timedelta(days=n) for d in changed for n in (-1, 0)]


def days_of_interest() -> st.SearchStrategy[tuple[str, date]]:
    """Any day, and often one on which clocks change."""
    some = st.tuples(zones, st.dates(date(2015, 1, 2), date(2034, 12, 30)))
    return (
        zones.flatmap(lambda z: st.tuples(st.just(z), st.sampled_from(clock_changes(z) or [date(2026, 3, 1)]))) | some
    )


@given(instants)
def test_every_instant_lies_in_exactly_one_window(instant: datetime) -> None:
    start = floor_to_grid(instant)
    windows = list(TimeWindow(start - GRID, start + 2 * GRID).windows())
    assert [w for w in windows if instant in w] == [TimeWindow(start, start + GRID)]


@given(zones, instants)
def test_every_instant_lies_in_exactly_one_day(zone: str, instant: datetime) -> None:
    calendar = Calendar(zone)
    day = calendar.day_of(instant)
    near = [day + timedelta(days=n) for n in (-1, 0, 1)]
    assert [d for d in near if instant in calendar.day(d)] == [day]
    assert calendar.day_around(instant) == calendar.day(day)


@given(days_of_interest())
def test_a_day_is_276_to_300_windows_that_touch_the_next_day(where: tuple[str, date]) -> None:
    calendar, day = Calendar(where[0]), where[1]
    span = calendar.day(day)
    windows = list(span.windows())
    assert 276 <= len(windows) <= 300
    assert (windows[0].start, windows[-1].end) == (span.start, span.end)
    assert span.end == calendar.day(day + timedelta(days=1)).start
    assert (
        {calendar.day_of(w.start) for w in windows} == {calendar.day_of(w.end - MICROSECOND) for w in windows} == {day}
    )


@pytest.mark.parametrize(
    ("zone", "day", "windows"),
    [
        ("UTC", "2026-03-29", 288), ("Asia/Seoul", "2026-03-29", 288),
        ("Europe/Berlin", "2026-03-29", 276), ("Europe/Berlin", "2026-10-25", 300),
        ("America/New_York", "2026-03-08", 276), ("America/New_York", "2026-11-01", 300),
        ("Australia/Lord_Howe", "2026-04-05", 294), ("Australia/Lord_Howe", "2026-10-04", 282),
        ("Africa/Cairo", "2026-04-24", 276), ("Africa/Cairo", "2026-10-29", 300),
        ("America/Santiago", "2026-09-06", 276), ("America/Santiago", "2026-04-04", 300),
        ("Asia/Beirut", "2026-03-29", 276), ("Asia/Beirut", "2026-10-24", 300),
    ],
)  # fmt: skip
def test_days_on_which_clocks_change(zone: str, day: str, windows: int) -> None:
    calendar = Calendar(zone)
    assert len(list(calendar.day(date.fromisoformat(day)).windows())) == windows


@settings(max_examples=40)
@given(days_of_interest())
def test_keys_are_unique_and_round_trip(where: tuple[str, date]) -> None:
    calendar, day = Calendar(where[0]), where[1]
    span = TimeWindow(calendar.midnight(day - timedelta(days=1)), calendar.midnight(day + timedelta(days=2)))
    for grain in GRAINS:
        partitions = calendar.partitions(span, grain)
        keys = [calendar.key(p, grain) for p in partitions]
        assert len(set(keys)) == len(keys)
        assert [calendar.parse_key(key, grain) for key in keys] == partitions


@given(zones, instants, st.timedeltas(timedelta(0), timedelta(days=3)), st.sampled_from(GRAINS))
def test_partitions_cover_a_span_without_gap_or_overlap(
    zone: str, start: datetime, length: timedelta, grain: Grain
) -> None:
    span = TimeWindow(start, start + length)
    partitions = Calendar(zone).partitions(span, grain)
    assert all(p.overlaps(span) for p in partitions)
    assert all(a.end == b.start for a, b in itertools.pairwise(partitions))
    assert not partitions if not span else TimeWindow(partitions[0].start, partitions[-1].end).covers(span)


@given(instants, instants, instants, instants)
def test_clip_is_what_both_share(a: datetime, b: datetime, c: datetime, d: datetime) -> None:
    one, other = TimeWindow(min(a, b), max(a, b)), TimeWindow(min(c, d), max(c, d))
    shared = one.clip(other)
    assert bool(shared) == one.overlaps(other) == other.overlaps(one)
    assert not shared or (one.covers(shared) and other.covers(shared))
    assert shared.duration == other.clip(one).duration


@pytest.mark.parametrize("zone", ["America/Havana", "Atlantic/Azores", "America/Scoresbysund"])
def test_a_zone_whose_clock_repeats_midnight_is_refused(zone: str) -> None:
    with pytest.raises(DeclarationError, match="repeats midnight .* use another zone, such as UTC"):
        Calendar(zone)


@pytest.mark.parametrize("zone", ["Europe/Berlinn", "", "../etc/passwd", "/etc/localtime", "Mars/Olympus"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(DeclarationError, match="unknown time zone"):
        Calendar(zone)


@pytest.mark.parametrize(
    ("key", "grain"),
    [
        ("2026-03-01", "5 min"), ("2026-03-01T00:05", "5 min"), ("2026-03-01T00:05+01:00", "5 min"), ("2026-03-01T00:05Z", "5 min"),
        ("2026-03-01T00:07+0100", "5 min"), ("2026-03-01T00:05+0200", "5 min"), ("2026-02-30T00:05+0100", "5 min"),
        ("2026-03-29T02:30+0100", "5 min"), ("yesterday", "5 min"), ("", "5 min"), ("9999-12-31T23:55-0800", "5 min"),
        ("2026-3-1", "day"), ("2026-02-30", "day"), ("20260301", "day"), ("2026-03-01T00:00+0100", "day"), (" 2026-03-01", "day"),
        ("9999-12-31", "day"), ("0001-01-01", "day"), ("", "day"),
    ],
)  # fmt: skip
def test_a_key_typed_wrongly_is_refused_with_an_example(key: str, grain: Grain) -> None:
    with pytest.raises(UsageError, match="write it like '2026-03-01"):
        Calendar("Europe/Berlin").parse_key(key, grain)


def test_instants_are_read_as_people_write_them() -> None:
    calendar = Calendar("Europe/Berlin")
    assert calendar.instant("2026-03-01") == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert calendar.instant("2026-03-01T00:05") == datetime(2026, 2, 28, 23, 5, tzinfo=UTC)
    assert (
        calendar.instant("2026-03-01T00:05+00:00")
        == calendar.instant("2026-03-01T00:05Z")
        == datetime(2026, 3, 1, 0, 5, tzinfo=UTC)
    )
    for text in ("", "now", "2026-02-30", "2026-03-01T25:00", "03/01/2026"):
        with pytest.raises(UsageError, match="is no instant: write"):
            calendar.instant(text)


def test_naive_datetimes_are_refused() -> None:
    naive = datetime(2026, 3, 1)  # noqa: DTZ001
    for call in (utc, floor_to_grid, Calendar().day_of, lambda t: TimeWindow(t, t)):
        with pytest.raises(UsageError, match="has no time zone"):
            call(naive)


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    with pytest.raises(UsageError, match="must not end before it starts"):
        TimeWindow(start, start - GRID)


@pytest.mark.parametrize("text", ["0001-01-01", "0001-01-02", "1969-12-30", "9999-01-02", "9999-12-31T23:55+00:00"])
def test_instants_of_years_that_have_no_events_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="before 1970 or after 9998|is no instant|such old days cannot be kept"):
        Calendar("Europe/Berlin").instant(text)
