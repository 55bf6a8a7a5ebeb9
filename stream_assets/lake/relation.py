"""What DuckDB is told: which files, which event time, which columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stream_assets.core.window import TimeWindow
from stream_assets.events.schema import EVENT_TIME


def scan(files: Mapping[str, str]) -> str:
    """Return the table of several Parquet files, their columns united by name.

    To unite them DuckDB opens all files before it reads the first, a tenth of what a small sum over 288 files takes: it
    need not where all are known to be alike.

    Args:
        files: paths, and what the receipts say of the columns (`Receipt.columns`); empty where nobody knows.
    """
    listed, kinds = ", ".join(map(text, files)), set(files.values())
    united = len(kinds) > 1 or "" in kinds
    return f"read_parquet([{listed}], union_by_name = {united}, hive_partitioning = false)"


def condition(wanted: Iterable[TimeWindow]) -> str:
    """Return the condition of events inside `wanted`."""
    return " or ".join(
        f"({EVENT_TIME} >= '{s.start.isoformat()}'::timestamptz and {EVENT_TIME} < '{s.end.isoformat()}'::timestamptz)"
        for s in wanted
    )


def text(value: str) -> str:
    """Return a text as SQL has it."""
    return "'" + value.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """Return a column's name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'
