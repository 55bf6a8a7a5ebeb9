"""Row hashes, which decide how long a day takes."""

from __future__ import annotations

from typing import Any

from stream_assets_tests.benchmarks.child import Stopwatch, call
from stream_assets_tests.benchmarks.figure import Figure
from stream_assets_tests.benchmarks.settings import Settings

NAME = "row_hash"


def measure(settings: Settings) -> list[Figure]:
    """Return processor seconds for a million rows of eight columns."""
    found = call("row_hash", "hashing", rows=settings.hash_rows)
    scale = 1_000_000 / found["rows"]
    return [
        Figure("row_hash", found["cpu_seconds"] * scale, "s/million rows", 0.4, 0.4, "8 columns, one thread, best of 5")
    ]


def hashing(rows: int) -> dict[str, Any]:
    """Hash made-up events, all eight columns of them."""
    from datetime import UTC, datetime, timedelta

    import pyarrow as pa

    from stream_assets.core.window import TimeWindow
    from stream_assets.events.hashing import hash_rows
    from stream_assets.sources.synthetic import SyntheticEvents

    pa.set_cpu_count(1)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    hour = TimeWindow(start, start + timedelta(hours=1))
    batches = SyntheticEvents(rate=rows / 3600 * 1.1, quiet="").read(hour, now=start + timedelta(days=2))
    table = pa.Table.from_batches(list(batches)).slice(0, rows)
    assert table.num_columns == 8
    found: list[dict[str, float]] = []
    for _ in range(5):
        watch = Stopwatch()
        hash_rows(table, skip=())
        found.append(watch.seconds())
    return {**min(found, key=lambda f: f["cpu_seconds"]), "rows": table.num_rows}
