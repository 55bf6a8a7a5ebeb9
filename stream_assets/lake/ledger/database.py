"""One SQLite file, opened once a thread, changed in immediate transactions."""

from __future__ import annotations

import ctypes
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from weakref import WeakSet

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow, utc
from stream_assets.errors import LakeError, LakeUnavailable, UsageError

BUSY_TIMEOUT = timedelta(seconds=60)

Row = sqlite3.Row

_PASSES = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
}  # fmt: skip
_STAYS = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
REBUILD = (
    "stop what uses the lake, and run `stream-assets ledger rebuild`, which makes it anew from the partitions' files"
)


def text(instant: datetime) -> str:
    """Return an instant as the ledger keeps it: UTC text that sorts in time order."""
    return utc(instant).isoformat()


def instant(value: str) -> datetime:
    """Read an instant as the ledger keeps it.

    Raises:
        LakeError: terminal; it is none, so the ledger is damaged where SQLite cannot know.
    """
    with records():
        return utc(datetime.fromisoformat(value))


def names(value: str) -> list[str]:
    """Read a JSON list of names as the ledger keeps it.

    Raises:
        LakeError: terminal; it is none, so the ledger is damaged.
    """
    with records():
        found: list[Any] = json.loads(value)
        if not all(isinstance(name, str) for name in found):
            raise TypeError(value)
        return found


@contextmanager
def records() -> Generator[None]:
    """Turn what a damaged record raises when it is read into an error of ours."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, UsageError, ValueError) as error:
        raise LakeError(
            f"the ledger is damaged (a record cannot be read: {type(error).__name__}: {error}): {REBUILD}"
        ) from error


class Database:
    """A SQLite file in WAL mode. Safe for many threads and processes; reads outside a transaction see the last commit.

    Every thread has a connection of its own, and a forked child opens new ones: an inherited connection would share
    the parent's place in the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def create(self) -> None:
        """Make the file and the tables that are not there yet; idempotent, also where several processes do it at once."""
        self._local.connection = self._connect("rwc")
        schema = files("stream_assets.lake.ledger").joinpath("schema.sql").read_text()
        with self.transaction():
            for statement in schema.split(";"):
                self.change(statement)

    @property
    def _connection(self) -> _Connection:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.pid != os.getpid():
            connection = self._local.connection = self._connect("rw")
        return connection

    def _connect(self, mode: str) -> _Connection:
        self._local.undo = []
        with self._errors():
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_TIMEOUT.total_seconds(),
                isolation_level=None, factory=_Connection, check_same_thread=False,
            )  # fmt: skip
            connection.row_factory = Row
            # Several that make one ledger at once may collide here, and SQLite does not wait for this change by itself.
            if connection.execute("pragma journal_mode").fetchone()[0] != "wal":
                connection.execute("begin immediate").connection.execute("commit")
                connection.execute("pragma journal_mode=wal")
            connection.execute("pragma synchronous=full")
            connection.inode = self._inode()
        _remember(connection)
        return connection

    def close(self) -> None:
        """Close this thread's connection; the next use opens it again."""
        connection: _Connection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None and connection.pid == os.getpid():
            connection.close()

    @property
    def is_changing(self) -> bool:
        """Whether this thread is inside a transaction."""
        connection: _Connection | None = getattr(self._local, "connection", None)
        return connection is not None and connection.pid == os.getpid() and connection.in_transaction

    @contextmanager
    def transaction(self, undo: Callable[[], None] | None = None) -> Generator[None]:
        """Everything inside is one change: all of it, or on an exception nothing. Inside another one it is part of that.

        Args:
            undo: takes back what was done on disk beside the change. It is called when the change has failed, and sees
                the ledger without it, while nobody else can write; where that is impossible the disk stays ahead, as
                after a crash.

        Raises:
            LakeUnavailable: transient; the ledger stayed locked for a minute, or the disk is full.
            LakeError: terminal; the ledger cannot be written, is damaged, or is gone.
        """
        connection = self._connection
        undos: list[Callable[[], None]] = self._local.undo
        known = len(undos)
        is_outer = not connection.in_transaction
        if is_outer:
            self._refuse_other_file(connection)
        with self._errors():
            if is_outer:
                connection.execute("begin immediate")
            connection.execute("savepoint part")
        if undo is not None:
            undos.append(undo)
        try:
            yield
            with self._errors():
                connection.execute("commit" if is_outer else "release part")
        except BaseException:
            steps = [undos.pop() for _ in range(len(undos) - known)]
            with suppress(sqlite3.Error):
                self._take_back(connection, steps)
            with suppress(sqlite3.Error):
                connection.execute("rollback" if is_outer else "release part")
            raise
        if is_outer:
            undos.clear()

    @staticmethod
    def _take_back(connection: _Connection, steps: list[Callable[[], None]]) -> None:
        if connection.in_transaction:
            connection.execute("rollback to part")
        elif steps:
            # A full disk at the commit made SQLite end the transaction, and its lock, by itself.
            connection.execute("begin immediate")
        for step in steps:
            step()

    @contextmanager
    def moment(self) -> Generator[None]:
        """Everything read inside is of one moment, whatever others change meanwhile. What changes it inside is refused.

        Raises:
            LakeUnavailable: transient; the ledger cannot be used now.
        """
        connection = self._connection
        if connection.in_transaction:
            yield
            return
        with self._errors():
            connection.execute("begin")
            connection.execute("pragma query_only = on")
        try:
            yield
        finally:
            connection.execute("pragma query_only = off")
            if connection.in_transaction:
                connection.rollback()

    def rows(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        """Return all rows of a query."""
        with self._errors():
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Row | None:
        """Return the first row of a query; None without one."""
        with self._errors():
            return self._connection.execute(sql, values).fetchone()

    def change(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> int:
        """Run one statement that changes rows, and return the last row's id."""
        with self._errors():
            return self._connection.execute(sql, values).lastrowid or 0

    def change_many(self, sql: str, values: Iterable[Sequence[Any]]) -> None:
        """Run one statement once for each of `values`."""
        with self._errors():
            self._connection.executemany(sql, values)

    def _todo(self, code: int) -> str:
        is_busy = code == sqlite3.SQLITE_BUSY
        todo = "another process writes to it, or was stopped while it did: let that go on; " if is_busy else ""
        with suppress(OSError):
            if code == sqlite3.SQLITE_FULL or not os.statvfs(self.path.parent).f_bavail:
                todo = "make room there; "
        return f"{todo}it is tried again by whatever runs by itself"

    @contextmanager
    def _errors(self) -> Generator[None]:
        connection: _Connection | None = getattr(self._local, "connection", None)
        try:
            if connection is not None:
                connection.calls += 1
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _PASSES:
                raise LakeUnavailable(
                    f"the ledger {self.path} cannot be used now ({error}): {self._todo(code)}"
                ) from error
            if code in _STAYS:
                raise LakeError(
                    f"the ledger {self.path} cannot be used ({error}): check that the lake is there and is writable"
                ) from error
            if code in _DAMAGED:
                raise LakeError(f"the ledger {self.path} is damaged ({error}): {REBUILD}") from error
            if isinstance(error, sqlite3.OperationalError) and (not code or "JSON" in str(error)):
                # Text that is none, or JSON that is none: SQLite has read what nobody wrote like this.
                raise LakeError(f"the ledger {self.path} is damaged ({error}): {REBUILD}") from error
            raise
        except UnicodeEncodeError as error:
            raise UsageError(f"{error.object!r} is not text that can be kept: write it in UTF-8") from error
        finally:
            if connection is not None:
                connection.calls -= 1

    def damage(self, *, is_deep: bool = False) -> list[str]:
        """Return what SQLite finds wrong with the file, page by page; nothing for a whole one. Takes time by its size.

        Args:
            is_deep: whether every index is compared with its rows too.
        """
        found = [str(row[0]) for row in self.rows(f"pragma {'integrity' if is_deep else 'quick'}_check")]
        return [] if found == ["ok"] else found

    def copy_to(self, target: Path) -> None:
        """Write a copy of one moment into the new file `target`, and sync it; others may write meanwhile.

        Raises:
            LakeUnavailable: transient; no room.
            LakeError: terminal; the ledger, or the copy, is damaged.
        """
        copy = sqlite3.connect(target, isolation_level=None)
        try:
            with self._errors():
                # All pages in one step: in several, SQLite begins anew after every change of others.
                self._connection.backup(copy, pages=-1)
                copy.execute("pragma journal_mode=delete")
        finally:
            copy.close()
        with target.open("rb") as file:
            os.fsync(file.fileno())

    def _inode(self) -> int:
        try:
            return self.path.stat().st_ino
        except OSError:
            return 0

    def _refuse_other_file(self, connection: _Connection) -> None:
        """Whoever removes a lake leaves its open connections writing into a file without a name."""
        if connection.inode != self._inode():
            self.close()
            raise LakeError(f"the ledger {self.path} was removed or replaced while it was open: open the lake again")


class _Connection(sqlite3.Connection):
    """Knows its process and its file, and closes when its thread forgets it."""

    pid: int = 0
    inode: int = 0
    calls: int = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pid = os.getpid()

    def __del__(self) -> None:
        if self.pid == os.getpid():
            self.close()


_open: WeakSet[_Connection] = WeakSet()
_guard = threading.Lock()


def _remember(connection: _Connection) -> None:
    with _guard:
        _open.add(connection)


def _leave_to_parent() -> None:
    """Let a forked child begin without what it inherited.

    SQLite takes the locks of an inherited connection for the child's own, which the system does not: the last of the
    others to close would then remove the log that the child writes to. So it is closed; but never in the middle of a
    change or a call, where SQLite would tidy up what the parent uses, or wait for a thread that is not there.
    """
    for connection in list(_open):
        if connection.calls or connection.in_transaction:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        else:
            connection.close()
    _open.clear()
    _guard.release()


os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_leave_to_parent)


def spans(rows: Iterable[Row]) -> Iterator[TimeWindow]:
    """Read the columns `start` and `end`."""
    return (span(row["start"], row["end"]) for row in rows)


def span(start: str, end: str) -> TimeWindow:
    """Read two instants as the ledger keeps them.

    Raises:
        LakeError: terminal; they are none, so the ledger is damaged.
    """
    with records():
        return TimeWindow(instant(start), instant(end))


def merged(rows: Iterable[Row]) -> Intervals:
    """Read the columns `start` and `end` as one set."""
    return Intervals.union_of(spans(rows))
