"""How long events waited from event time to queryable, and what a day's receipt makes of its windows'."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa

from stream_assets.core.receipt import Latency
from stream_assets.events.dedup import deduplicate
from stream_assets.pipeline.content import DaySummary, WindowContent, bounds, latency_of
from stream_assets.testing.partitions import WINDOWS, events

WINDOW = WINDOWS[0]


def content(rows: pa.Table) -> WindowContent:
    kept = deduplicate(rows)
    return WindowContent(WINDOW, kept.table, kept.digest, kept.duplicates, 0, rows.num_rows)


def test_waits_are_counted_from_event_time_in_seconds() -> None:
    rows = events(WINDOW, 5)  # one a minute
    waited = latency_of(rows, WINDOW.end + timedelta(seconds=30))
    assert waited == Latency(210.0, 318.0, 330.0)
    assert bounds(rows) == (WINDOW.start, WINDOW.start + timedelta(minutes=4))


def test_no_events_waited_no_time() -> None:
    assert latency_of(events(WINDOW, 0), WINDOW.end) is None
    assert bounds(events(WINDOW, 0)) == (None, None)


def test_a_day_has_the_longest_wait_exactly_and_medians_weighted_by_rows() -> None:
    at = WINDOW.end + timedelta(seconds=30)
    summary = DaySummary()
    for count in (1, 5, 0):
        summary.add(content(events(WINDOW, count)), at)
    assert summary.rows == 6
    assert summary.latency == Latency(210.0, 318.0, 330.0)
    assert DaySummary().latency is None
