"""What DuckDB is told: which files, which event time, which columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stream_assets.core.window import TimeWindow
from stream_assets.events.schema import EVENT_TIME


def scan(paths: Sequence[str]) -> str:
    """Return the table of several Parquet files, their columns united by name."""
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"


def condition(wanted: Iterable[TimeWindow]) -> str:
    """Return the condition of events inside `wanted`."""
    return " or ".join(
        f"({EVENT_TIME} >= '{s.start.isoformat()}'::timestamptz and {EVENT_TIME} < '{s.end.isoformat()}'::timestamptz)"
        for s in wanted
    )


def quoted(name: str) -> str:
    """Return a column's name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'
