"""One SQLite file, opened once a thread, changed in immediate transactions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.errors import LakeError, SourceUnavailable

BUSY_TIMEOUT = timedelta(seconds=60)

Row = sqlite3.Row


def text(instant: datetime) -> str:
    """Return an instant as the ledger keeps it."""
    return instant.isoformat()


def instant(value: str) -> datetime:
    """Read an instant as the ledger keeps it."""
    return datetime.fromisoformat(value)


class Database:
    """A SQLite file in WAL mode. Safe for many threads and processes; reads outside a transaction see the last commit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def create(self) -> None:
        """Make the tables that are not there yet; idempotent."""
        self._connection.executescript(files("stream_assets.lake.ledger").joinpath("schema.sql").read_text())

    @property
    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            try:
                connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT.total_seconds(), isolation_level=None)
                connection.row_factory = Row
                connection.execute("pragma journal_mode=wal")
                connection.execute("pragma synchronous=full")
            except sqlite3.Error as error:
                raise LakeError(f"the ledger {self.path} cannot be opened ({error}): check that the lake is writable") from error
            self._local.connection = connection
        return connection

    def close(self) -> None:
        """Close this thread's connection; the next use opens it again."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is one change: all of it, or on an exception nothing. Inside another one it is part of that.

        Raises:
            SourceUnavailable: transient; the ledger stayed locked for a minute, or the disk is full.
        """
        connection = self._connection
        if connection.in_transaction:
            yield
            return
        try:
            connection.execute("begin immediate")
        except sqlite3.OperationalError as error:
            raise SourceUnavailable(f"the ledger {self.path} could not be written ({error}): it is tried again") from error
        try:
            yield
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a query."""
        return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """Return the first row of a query; None without one."""
        return self._connection.execute(sql, values).fetchone()

    def change(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement that changes rows, and return the last row's id."""
        return self._connection.execute(sql, values).lastrowid or 0

    def change_many(self, sql: str, values: Iterable[Sequence[Any]]) -> None:
        """Run one statement once for each of `values`."""
        self._connection.executemany(sql, values)


def spans(rows: Iterable[Row]) -> Iterator[TimeWindow]:
    """Read the columns `start` and `end`."""
    return (TimeWindow(instant(row["start"]), instant(row["end"])) for row in rows)


def merged(rows: Iterable[Row]) -> Intervals:
    """Read the columns `start` and `end` as one set."""
    return Intervals.union_of(spans(rows))
