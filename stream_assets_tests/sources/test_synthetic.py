"""What synthetic events promise beyond the suite of every source."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_assets.core.window import EPOCH, GRID, TimeWindow
from stream_assets.errors import DeclarationError, SourceError
from stream_assets.sources.generate import LATE_SPAN, SCHEMA
from stream_assets.sources.synthetic import SyntheticEvents

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = TimeWindow(NOON.replace(hour=0), NOON.replace(hour=0) + timedelta(days=1))
MUCH_LATER = NOON + timedelta(days=9)


def table(source: SyntheticEvents, window: TimeWindow, now: datetime = MUCH_LATER) -> pa.Table:
    return pa.Table.from_batches(source.read(window, now=now), SCHEMA)


def test_a_day_has_exactly_the_declared_rate_and_unique_ids_but_for_duplicates() -> None:
    events = table(SyntheticEvents(rate=3.3, quiet=""), DAY)
    ids = events["event_id"].unique()
    assert len(ids) == round(3.3 * 86400)
    assert 0.0015 < (len(events) - len(ids)) / len(ids) < 0.0025


def test_another_seed_gives_other_events() -> None:
    window = TimeWindow(NOON, NOON + GRID)
    first, second = (table(SyntheticEvents(seed=seed), window) for seed in (1, 2))
    assert not set(first["event_id"].to_pylist()) & set(second["event_id"].to_pylist())


def test_events_are_out_of_order_and_arrive_after_they_happened() -> None:
    events = table(SyntheticEvents(), TimeWindow(NOON, NOON + GRID))
    times, arrivals = (events[name].cast(pa.int64()).to_numpy() for name in ("event_time", "arrival_time"))
    assert (np.diff(times) < 0).any()
    assert (arrivals >= times).all()


@given(
    rate=st.floats(0.01, 20),
    late=st.floats(0, 0.3),
    double=st.floats(0, 0.3),
    lateness=st.integers(0, 600),
    seed=st.integers(-(2**70), 2**70),
    start=st.integers(0, 6_000_000),
)
@settings(max_examples=40, deadline=None)
def test_a_settled_window_has_all_its_events_but_the_late_ones_which_arrivals_names(
    rate: float, late: float, double: float, lateness: int, seed: int, start: int
) -> None:
    source = SyntheticEvents(rate, seed, timedelta(seconds=lateness), late, double, quiet="")
    window = TimeWindow(EPOCH + start * GRID, EPOCH + (start + 1) * GRID)
    settled = window.end + source.lateness
    assert source.watermark(settled) == window.end
    at_once, in_the_end = table(source, window, settled), table(source, window, settled + LATE_SPAN)
    missing = in_the_end.num_rows - at_once.num_rows
    assert in_the_end.equals(table(source, window, settled + timedelta(days=30)))
    assert abs(missing - late * rate * 300) < 2
    found = source.arrivals(settled.isoformat(), now=settled + LATE_SPAN)
    assert any(span.covers(window) for span in found.windows) == (missing > 0)


def test_every_late_arrival_is_named_exactly_when_it_comes() -> None:
    source = SyntheticEvents(rate=1, late_share=0.02)
    cursor, now = NOON.isoformat(), NOON
    hour = TimeWindow(NOON - timedelta(hours=2), NOON - timedelta(hours=1))
    before = {window: table(source, window, now).num_rows for window in hour.windows()}
    for _ in range(24):
        now += timedelta(minutes=7)
        found = source.arrivals(cursor, now=now)
        after = {window: table(source, window, now).num_rows for window in hour.windows()}
        changed = {window for window in after if after[window] != before[window]}
        assert {w for span in found.windows for w in span.windows() if hour.covers(w)} == changed
        cursor, before = found.cursor, after


def test_a_clock_that_goes_back_takes_neither_cursor_nor_events_with_it() -> None:
    found = SyntheticEvents().arrivals(NOON.isoformat(), now=NOON - timedelta(hours=1))
    assert (found.windows, found.cursor) == ((), NOON.isoformat())


def test_a_cursor_of_something_else_is_refused() -> None:
    for cursor in ("17", "2026-03-01", "x"):
        with pytest.raises(SourceError, match="no cursor"):
            SyntheticEvents().arrivals(cursor, now=NOON)


@pytest.mark.parametrize(("quiet", "empty"), [("02:00-02:30", 6), ("23:50-00:10", 4), ("00:00-24:00", 288), ("", 0)])
def test_quiet_hours_have_no_events(quiet: str, empty: int) -> None:
    source = SyntheticEvents(rate=1, quiet=quiet)
    assert [table(source, window).num_rows for window in DAY.windows()].count(0) == empty


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"rate": -1.0}, "rate must be 0 to 50000"),
        ({"rate": float("nan")}, "rate must be"),
        ({"rate": 1e9}, "rate must be"),
        ({"late_share": 1.5}, "late_share must be 0 to 1"),
        ({"late_share": 0.6, "duplicate_share": 0.6}, "together"),
        ({"lateness": timedelta(seconds=-1)}, "lateness must not be negative"),
        ({"quiet": "night"}, "quiet 'night' is not understood"),
        ({"quiet": "02:01-02:30"}, "5-minute grid"),
        ({"quiet": "24:00-02:30"}, "not understood"),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(fields: dict[str, object], what: str) -> None:
    with pytest.raises(DeclarationError, match=what):
        SyntheticEvents(**fields)


def test_no_events_at_all_is_a_source_too() -> None:
    assert table(SyntheticEvents(rate=0), DAY).num_rows == 0
