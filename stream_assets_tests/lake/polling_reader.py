"""A process that reads a lake's table over and over while its partitions are replaced, and says what it saw.

    python -m stream_assets_tests.lake.polling_reader KIND FOLDER

KIND is `lake`, `relation`, or the name of an engine that is given the table's folder alone. It says `ready`, reads until
a file `stop` lies in FOLDER, and then prints its counts as JSON.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stream_assets.testing.partitions import DAY, WINDOWS
from stream_assets_tests.lake.conftest import lake_in

SHOWN = WINDOWS[:4]
ROWS = 40
NOT_FOUND = (
    "No such file",
    "not found",
    "No files found",
    "cannot find",
    "does not exist",
    "were empty",
    "Cannot open file",
)

Seen = list[tuple[Any, Any, int]]
"""Of each window: name, revision, rows."""


def read_lake(folder: Path) -> Callable[[], Seen]:
    lake = lake_in(folder)

    def read() -> Seen:
        table = lake.read("dashboard", DAY, ["revision"], keys=True)
        counts = Counter(zip(table["window_start"].to_pylist(), table["revision"].to_pylist(), strict=True))
        return [(window, revision, count) for (window, revision), count in counts.items()]

    return read


def read_relation(folder: Path) -> Callable[[], Seen]:
    import duckdb

    lake = lake_in(folder)

    def read() -> Seen:
        relation = lake.relation(duckdb.connect(), "dashboard", DAY)
        assert relation is not None
        return relation.aggregate("part, revision, count(*)").fetchall()

    return read


def read_duckdb(folder: Path) -> Callable[[], Seen]:
    import duckdb

    connection = duckdb.connect()
    glob = f"{folder}/lake/dashboard/*/*/*.parquet"

    def read() -> Seen:
        return connection.sql(
            f"select window_start, revision, count(*) from read_parquet('{glob}', hive_partitioning = true) group by all"
        ).fetchall()

    return read


def read_pandas(folder: Path) -> Callable[[], Seen]:
    import pandas as pd

    def read() -> Seen:
        frame = pd.read_parquet(folder / "lake" / "dashboard")
        if frame.empty:
            return []
        counts = frame.groupby(["window_start", "revision"], observed=True).size()
        return [(str(w), int(r), int(n)) for (w, r), n in counts.items()]  # type: ignore[misc]

    return read


def read_polars(folder: Path) -> Callable[[], Seen]:
    import polars as pl

    def read() -> Seen:
        frame = pl.scan_parquet(folder / "lake" / "dashboard" / "**" / "*.parquet", hive_partitioning=True)
        return frame.group_by("window_start", "revision").len().collect().rows()

    return read


READERS = {
    "lake": read_lake,
    "relation": read_relation,
    "duckdb": read_duckdb,
    "pandas": read_pandas,
    "polars": read_polars,
}


def main(kind: str, folder: Path) -> None:
    read = READERS[kind](folder)
    read()
    print("ready", flush=True)
    seen = Counter[str]()
    while not (folder / "stop").exists() or not seen:
        try:
            found = read()
        except Exception as error:
            said = str(error)
            seen[
                "not found"
                if isinstance(error, FileNotFoundError) or any(n in said for n in NOT_FOUND)
                else f"{error!r:.300}"
            ] += 1
            continue
        windows = Counter(window for window, _, _ in found)
        if any(rows != ROWS for _, _, rows in found):
            seen["double or torn"] += 1
        elif any(count > 1 for count in windows.values()):
            seen["mixture"] += 1
        elif len(windows) < len(SHOWN):
            seen["missed"] += 1
        else:
            seen["whole"] += 1
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
