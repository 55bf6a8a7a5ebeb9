"""Readers: four engines that are given folders alone, and three ways through the ledger's list of files."""

from __future__ import annotations

import os
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.core.digest import Digest
from stream_assets.core.window import TimeWindow
from stream_assets.errors import TransientError
from stream_assets.events.hashing import hash_rows
from stream_assets.lake.store import Lake
from stream_assets_tests.chaos.writers import Run
from stream_assets_tests.lake.polling_reader import NOT_FOUND

WINDOWS = ("events", "dashboard", "busiest")
DAYS = ("events_daily", "report", "features")
STREAM = ("events", "events_daily")
"""A relation of a consumer's table does not say which partition a row is of."""
_DAY = timedelta(days=1)
TRIES = 20
SOME = 5

Seen = dict[str, tuple[int, str]]
"""By key of partition (as its folder is called): rows and digest of what was read."""


class Reader:
    """One process that reads over and over. Notes every content that it saw of every partition, once."""

    def __init__(self, run: Run, kind: str) -> None:
        self.run = run
        self.kind = kind
        self.read = READERS[kind]
        self.draw = random.Random(f"{run.seed} reader {kind}")
        self.counts = Counter[str]()
        self.lake: Lake
        self._noted = set[tuple[str, str, int, str]]()

    def live(self) -> None:
        os.nice(10)
        self.lake = Lake.open(self.run.lake, "UTC", self.run.weather.now())
        while not self.run.weather.is_over:
            self.poll()
        self.run.note("polled", [self.kind, dict(self.counts)])

    def poll(self) -> None:
        table = self.draw.choice(STREAM if self.kind == "lake.relation" else WINDOWS + DAYS)
        try:
            span = self.place(table)
            before = self.committed(table, span)
            if not before:
                time.sleep(0.05)
                return
            seen = self.read(self, table, span)
        except TransientError as error:
            self.counts["waits"] += 1
            self.run.note("waited", [self.kind, table, str(error)])
            return
        except Exception as error:
            is_loud = isinstance(error, FileNotFoundError) or any(said in str(error) for said in NOT_FOUND)
            self.counts["not found" if is_loud else "errors"] += 1
            if not is_loud or self.kind not in ENGINES:
                self.run.note("failed", [self.kind, table, traceback.format_exc()])
            return
        self.counts["polls"] += 1
        if self.counts["polls"] == SOME:
            self.run.note("reads", [self.kind])
        missed = before - set(seen)
        if missed:
            self.counts["missed"] += 1
            self.run.note("missed", [self.kind, table, sorted(missed)])
        for key, (rows, digest) in seen.items():
            fact = (table, key, rows, digest)
            if fact not in self._noted:
                self._noted.add(fact)
                self.run.note("seen", [self.kind, *fact])

    def place(self, table: str) -> TimeWindow:
        """Return the newest day that a table has windows of, or one before; of days all."""
        row = self.lake.ledger.database.row("select max(key_start) as newest from current where tbl = ?", (table,))
        newest = datetime.fromisoformat(row["newest"]) if row and row["newest"] else self.lake.start
        if table in DAYS:
            return TimeWindow(self.lake.start, self.lake.calendar.day_around(newest).end)
        return self.lake.calendar.day_around(newest - _DAY * self.draw.choice([0, 0, 0, 1, 2]))

    def committed(self, table: str, span: TimeWindow) -> set[str]:
        """Return the keys of the partitions that have rows by now."""
        rows = self.lake.ledger.database.rows(
            "select key_start from current where tbl = ? and key_start >= ? and key_start < ? and rows > 0",
            (table, span.start.isoformat(), span.end.isoformat()),
        )
        return {key_of(table, row["key_start"]) for row in rows}


def key_of(table: str, start: str) -> str:
    """Return how the folder of a partition is called that starts at `start`."""
    return f"{start[:10]}" if table in DAYS else f"{start[:13]}{start[14:16]}Z".replace("-", "")


def contents(rows: pa.Table, keys: pa.ChunkedArray | pa.Array) -> Seen:
    """Return rows and digest by key."""
    if not rows.num_rows:
        return {}
    low, high = hash_rows(rows, skip=("arrival_time",))
    names, place = np.unique(np.asarray(keys.to_pylist(), dtype=str), return_inverse=True)
    counts = np.bincount(place)
    sums = np.zeros((2, len(names)), np.uint64)
    np.add.at(sums[0], place, low)
    np.add.at(sums[1], place, high)
    return {
        str(name): (int(n), str(Digest(int(a), int(b)))) for name, n, a, b in zip(names, counts, *sums, strict=True)
    }


def by_folder(rows: pa.Table, table: str) -> Seen:
    """Return contents by the column that an engine made of the folders' names."""
    keys = rows.column("window_start" if table in WINDOWS else "day").cast(pa.string())
    return contents(rows.drop_columns([c for c in ("day", "window_start") if c in rows.column_names]), keys)


# Engines that list folders.


def folder(reader: Reader, table: str, span: TimeWindow) -> str:
    return f"{reader.run.lake}/{table}" + (f"/day={span.start:%Y-%m-%d}" if table in WINDOWS else "")


def pattern(reader: Reader, table: str, span: TimeWindow) -> str:
    return folder(reader, table, span) + "/*/*.parquet"


def with_pyarrow(reader: Reader, table: str, span: TimeWindow) -> Seen:
    import pyarrow.dataset as ds

    flavor = ds.partitioning(pa.schema([("window_start" if table in WINDOWS else "day", pa.string())]), flavor="hive")
    return by_folder(ds.dataset(folder(reader, table, span), format="parquet", partitioning=flavor).to_table(), table)


def with_pandas(reader: Reader, table: str, span: TimeWindow) -> Seen:
    import pandas as pd

    frame = pd.read_parquet(folder(reader, table, span))
    return by_folder(pa.Table.from_pandas(frame, preserve_index=False), table) if len(frame) else {}


def with_duckdb(reader: Reader, table: str, span: TimeWindow) -> Seen:
    import duckdb

    with duckdb.connect() as connection:
        files = f"read_parquet('{pattern(reader, table, span)}', hive_partitioning=true, hive_types_autocast=false, union_by_name=true)"
        return by_folder(connection.sql(f"from {files}").to_arrow_table(), table)


def with_polars(reader: Reader, table: str, span: TimeWindow) -> Seen:
    import polars as pl

    frame = pl.scan_parquet(pattern(reader, table, span), hive_partitioning=True, try_parse_hive_dates=False).collect()
    return by_folder(frame.to_arrow(), table)


# Readers through the ledger. Of a stream they get days and windows: every window is looked at by itself.


def of_lake(table: str, rows: pa.Table) -> Seen:
    if table == "events":
        times = pc.floor_temporal(rows.column("event_time"), 5, "minute") if rows.num_rows else pa.array([])
        return contents(rows, pc.strftime(times, "%Y%m%dT%H%MZ") if rows.num_rows else times)
    if table == "events_daily":
        return contents(rows, pc.strftime(rows.column("event_time"), "%Y-%m-%d")) if rows.num_rows else {}
    return by_folder(rows, table) if rows.num_rows else {}


def with_lake(reader: Reader, table: str, span: TimeWindow) -> Seen:
    return of_lake(table, reader.lake.read(table, span, keys=table not in STREAM))


def with_relation(reader: Reader, table: str, span: TimeWindow) -> Seen:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        found = reader.lake.relation(connection, table, span)
        assert found is not None
        return of_lake(table, found.to_arrow_table())


def with_files(reader: Reader, table: str, span: TimeWindow) -> Seen:
    """Open the files of the ledger's list, and where one has been replaced meanwhile ask for the list again."""
    import pyarrow.parquet as pq

    for left in reversed(range(TRIES)):
        seen: Seen = {}
        try:
            for file in reader.lake.files(table, span):
                rows = pq.ParquetFile(file.path).read()
                if table == "events":
                    seen |= of_lake(table, rows)
                else:
                    key = key_of(table, file.current.span.start.isoformat())
                    seen |= contents(rows, pa.array([key] * rows.num_rows))
            return seen
        except FileNotFoundError:
            reader.counts["asked again"] += 1
            if not left:
                raise
    raise AssertionError


ENGINES: Mapping[str, Callable[[Reader, str, TimeWindow], Seen]] = {
    "pyarrow": with_pyarrow, "pandas": with_pandas, "duckdb": with_duckdb, "polars": with_polars
}  # fmt: skip
LEDGER_READERS: Mapping[str, Callable[[Reader, str, TimeWindow], Seen]] = {
    "lake.read": with_lake, "lake.relation": with_relation, "lake.files": with_files
}  # fmt: skip
READERS: dict[str, Any] = {**ENGINES, **LEDGER_READERS}
