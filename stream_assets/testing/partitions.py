# pyright: reportUnknownMemberType=false
"""Partitions for tests of a lake: events, and their publication in one line."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Receipt, WindowFact
from stream_assets.core.window import TimeWindow
from stream_assets.events.hashing import digest
from stream_assets.lake.publish import Publisher
from stream_assets.lake.store import Lake

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = TimeWindow(START, START + timedelta(days=1))
WINDOWS = tuple(DAY.windows())


def events(window: TimeWindow, count: int = 3, *, mark: str = "a") -> pa.Table:
    """Return `count` events of a window, evenly spread: `event_id`, `event_time`, `amount`."""
    times = [window.start + n * (window.duration / max(1, count)) for n in range(count)]
    columns = {
        "event_id": pa.array([f"{mark}{t:%H%M%S%f}" for t in times], pa.string()),
        "event_time": pa.array(times, pa.timestamp("us", "UTC")),
        "amount": pa.array(range(count), pa.int64()),
    }
    return pa.table(columns)


def stage(
    lake: Lake,
    publisher: Publisher,
    table: str,
    span: TimeWindow,
    rows: Iterable[pa.Table],
    *,
    revision: int | None = None,
    inputs_seq: int = 0,
    inputs: Mapping[str, Intervals] = MappingProxyType({}),
) -> Receipt:
    """Stage a revision of a partition, by default the next one; a day's receipt has a fact for each table of rows."""
    tables = list(rows)
    revision = lake.ledger.revision(table, span) + 1 if revision is None else revision
    total = Digest.total(digest(t, skip=()) for t in tables)
    facts = [WindowFact(w.start, t.num_rows, digest(t, skip=())) for w, t in zip(span.windows(), tables, strict=False)]
    is_days = lake.ledger.tables()[table] == "day" and lake.ledger.stream_of(table) is not None
    count = sum(t.num_rows for t in tables)
    receipt = Receipt(
        table, span, revision, count, total, Intervals.of(span), NOW,
        windows=tuple(facts) if is_days else (), inputs_seq=inputs_seq,
    )  # fmt: skip
    schema = lake.unified(t.schema for t in tables)
    return publisher.stage(
        lake.ledger.tables()[table], schema, tables, lambda: receipt, touched=lambda said: said.covered,
        read_at=lake.ledger.reopened.mark(), inputs=inputs,
    )  # fmt: skip


def publish(lake: Lake, table: str, *partitions: tuple[TimeWindow, pa.Table]) -> list[Receipt]:
    """Publish partitions in one transaction; a day of a stream is dealt to its windows."""
    with lake.publisher() as publisher:
        for span, rows in partitions:
            stage(
                lake, publisher, table, span, _dealt(rows, span) if span == DAY and table == "events_daily" else [rows]
            )
        return publisher.commit()


def publish_day_and_window(lake: Lake, rows: pa.Table) -> list[Receipt]:
    """Publish the first window of the day, and the day with nothing but that window's rows, in one transaction."""
    with lake.publisher() as publisher:
        stage(lake, publisher, "events", WINDOWS[0], [rows])
        stage(lake, publisher, "events_daily", DAY, _dealt(rows, DAY))
        return publisher.commit()


def _dealt(rows: pa.Table, day: TimeWindow) -> list[pa.Table]:
    times: list[Any] = rows.column("event_time").to_pylist()
    edges = [bisect_left(times, w.start) for w in day.windows()] + [len(times)]
    return [rows.slice(start, stop - start) for start, stop in pairwise(edges)]


def ids(rows: pa.Table) -> list[str]:
    """Return the ids of events, in the order of the rows."""
    found: list[Any] = rows.column("event_id").to_pylist() if rows.num_columns else []
    return found
