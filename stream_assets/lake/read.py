# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Reading: the list of files comes from the ledger, each is opened once, and only what is wanted is read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import Grain, TimeWindow
from stream_assets.errors import Conflict, LakeError
from stream_assets.events.columns import Columns
from stream_assets.events.schema import EMPTY, empty
from stream_assets.lake.disk import lake_errors
from stream_assets.lake.layout import Layout
from stream_assets.lake.ledger import Current, Ledger
from stream_assets.lake.ledger.database import records
from stream_assets.lake.parquet import fit, unified
from stream_assets.lake.part import LakeFile, rows_inside
from stream_assets.lake.publish import adopt_newer
from stream_assets.lake.relation import condition, quoted, scan

if TYPE_CHECKING:
    import duckdb

Opened = dict[tuple[str, Intervals], tuple[pa.Schema, pa.Table]]
"""What has been read of files, each with all of its columns' names: see `Lake.read`."""

LOOKS_BEFORE_LOCK = 5
"""So often a replaced file is looked up again before the ledger is locked to see who is in between."""
LOOKS = 200
FILES_AT_ONCE = min(8, (os.cpu_count() or 1) * 2)

T = TypeVar("T")


class Replaced(Conflict, FileNotFoundError):
    """A file was replaced between the ledger's answer and its opening."""


class Reader:
    """Reads the tables of one lake. A partition that is replaced meanwhile is read as it was or as it is."""

    def __init__(self, layout: Layout, ledger: Ledger) -> None:
        self._layout = layout
        self._ledger = ledger

    def grain(self, table: str) -> Grain:
        """Return the grain of a table.

        Raises:
            LakeError: terminal; the lake has no such table.
        """
        grains = self._ledger.tables()
        if table not in grains:
            raise LakeError(f"the lake has no table {table!r}; it has: {', '.join(sorted(grains)) or 'none yet'}")
        return grains[table]

    def files(self, table: str, span: TimeWindow) -> list[LakeFile]:
        """Return the files that hold `table` inside `span`, oldest first, each event in exactly one of them.

        The name of a stream gives its sealed days, and windows elsewhere. Of a consumer's table, whose rows have no
        event time, every partition that shares an instant with `span` is wanted whole.
        """
        self.grain(table)
        return self._again(lambda: self._files(table, span)) if span else []

    def _files(self, table: str, span: TimeWindow) -> list[LakeFile]:
        daily, is_cut = self._ledger.days_of(table), self._ledger.stream_of(table) is not None
        there = self._ledger.serving(table, daily, span) if daily else self._ledger.current(table, span)
        root = self._layout.root
        return [
            LakeFile(c, root / c.file, Intervals.of(c.span.clip(span) if is_cut else c.span), is_cut)
            for c in map(self._present, there)
        ]

    def _present(self, current: Current) -> Current:
        """Return a partition; where a writer died before its commit, the one that it left is adopted."""
        if not (self._layout.root / current.file).exists():
            with suppress(LakeError):  # whoever opens it is told
                return self.with_file(current, _there)[0]
        return current

    @staticmethod
    def _again(look: Callable[[], T]) -> T:
        """Look, and where something was removed meanwhile (its day has it), look at what is there instead."""
        return Retrying(retry=retry_if_exception_type(Replaced), stop=stop_after_attempt(3), reraise=True)(look)

    def _lists(
        self, table: str, span: TimeWindow, known: Sequence[LakeFile] | None
    ) -> Generator[list[LakeFile], None, None]:
        """Give the files that are known, and where one of them was gone, those that are there instead."""
        if known is not None:
            yield [f.inside(span) for f in known if f.current.span.overlaps(span)]
        while True:
            yield self.files(table, span)

    def read(
        self,
        table: str,
        span: TimeWindow,
        columns: Sequence[str] | None,
        *,
        keys: bool,
        files: Sequence[LakeFile] | None,
        opened: Opened | None,
    ) -> pa.Table:
        """See `Lake.read`."""
        grain, lists = self.grain(table) if keys else None, self._lists(table, span, files)
        parts: Opened = {} if opened is None else opened
        return self._again(lambda: self._read(table, span, next(lists), columns, grain, parts))

    def _read(
        self,
        table: str,
        span: TimeWindow,
        files: Sequence[LakeFile],
        columns: Sequence[str] | None,
        grain: Grain | None,
        opened: Opened,
    ) -> pa.Table:
        if not files:
            return pa.table({})
        asked_for = {(f.current.file, f.wanted): f for f in files}
        fresh = {key: f for key, f in asked_for.items() if key not in opened}
        few = len(fresh) < FILES_AT_ONCE
        read = _all(lambda f: self._rows(f, columns, grain, use_threads=few), list(fresh.values()))
        opened.update(zip(fresh, read, strict=True))
        parts = [opened[key] for key in asked_for]
        if columns is None:
            schema = unified(schema for schema, _ in parts)
        else:
            # Columns that nobody asked for need not fit together.
            asked = unified(_only(schema, columns) for schema, _ in parts)
            there = dict.fromkeys(name for schema, _ in parts for name in schema.names)
            schema = pa.schema([self._field(table, c, asked, list(there), span) for c in columns])
        if grain is not None:
            schema = pa.schema([*schema, *(pa.field(name, pa.string()) for name in self._layout.keys(grain, span))])
        try:
            return pa.concat_tables([fit(rows, schema) for _, rows in parts])
        except pa.ArrowInvalid as error:
            raise LakeError(
                f"table {table!r} has values in {span} that do not fit the type of their column there: {error}"
            ) from error

    def damage(self, files: Iterable[LakeFile], columns: Sequence[str] | None) -> str:
        """See `Lake.damage`."""
        for file in files:
            try:
                self._rows(file, columns, None, use_threads=True)
            except LakeError as error:
                return str(error)
        return ""

    def _rows(
        self, file: LakeFile, columns: Sequence[str] | None, grain: Grain | None, *, use_threads: bool
    ) -> tuple[pa.Schema, pa.Table]:
        """Return all columns of one file, and what is wanted of its rows."""
        current, opened = self.with_file(file.current, _open)
        with opened, _damage(self._layout.root / current.file):
            schema = opened.schema_arrow.remove_metadata()
            # One that is not asked for counts the rows of those that are not here.
            names = [n for n in schema.names if columns is None or n in columns] or schema.names[:1]
            if file.is_whole:
                rows = opened.read(names, use_threads=use_threads)
            else:
                rows = rows_inside(opened, current, file.wanted, names)
        rows = rows.replace_schema_metadata(None)
        if grain is not None:
            for name, value in self._layout.keys(grain, current.span).items():
                rows = rows.append_column(name, pa.repeat(pa.scalar(value), rows.num_rows))
        return schema, rows

    def _field(
        self, table: str, column: str, schema: pa.Schema, there: Sequence[str], span: TimeWindow
    ) -> pa.Field[Any]:
        """Return a column of `schema`, or one that the table has elsewhere: it is null here. `there`: for the message."""
        if column in schema.names:
            return schema.field(column)
        if column in (kinds := self._known(table)):
            return pa.field(column, kinds[column])
        for name in (table, self._ledger.days_of(table)):
            newest = self.last_schema(name) if name else None
            if newest is not None and column in newest.names:
                return newest.field(column)
        if not self.has_had_rows(table):
            return pa.field(column, pa.null())
        raise LakeError(f"table {table!r} has no column {column!r} in {span}; it has: {', '.join(there)}")

    def _known(self, table: str) -> Mapping[str, pa.DataType]:
        """Return the columns that any event of a stream has had a value in, whichever files have them."""
        stream = self._ledger.stream_of(table)
        text = self._ledger.sources.columns(stream) if stream else None
        with records():
            return Columns.from_text(text).kinds if text else {}

    def has_had_rows(self, table: str) -> bool:
        """Whether any publication of a table has rows: a stream that is empty so far has columns that nobody knows."""
        names = (table, self._ledger.days_of(table))
        return any(self._ledger.newest(name, with_rows=True) is not None for name in names if name)

    def last_schema(self, table: str) -> pa.Schema | None:
        """Return the schema of the newest publication of a table that has rows, else of the newest; None without one."""
        newest = self._ledger.newest(table, with_rows=True) or self._ledger.newest(table)
        if newest is None:
            return None
        return self.with_file(newest, _schema)[1].remove_metadata()

    def empty(self, table: str, columns: Sequence[str] | None, span: TimeWindow) -> pa.Table:
        """See `Lake.empty`."""
        names = (table, self._ledger.days_of(table))
        schemas = (self.last_schema(name) for name in names if name)
        schema = next((s for s in schemas if s is not None), EMPTY)
        if columns is None:
            return empty(schema)
        return empty(pa.schema([self._field(table, c, schema, schema.names, span) for c in columns]))

    # Lazily, with DuckDB.

    def relation(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        span: TimeWindow,
        columns: Sequence[str] | None,
        files: Sequence[LakeFile] | None,
    ) -> duckdb.DuckDBPyRelation | None:
        """See `Lake.relation`."""
        lists = self._lists(table, span, files)
        return self._again(lambda: self._relation(connection, table, span, next(lists), columns))

    def _relation(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        span: TimeWindow,
        files: Sequence[LakeFile],
        columns: Sequence[str] | None,
    ) -> duckdb.DuckDBPyRelation | None:
        if not files:
            return None
        pinned = self._pin([f.current for f in files])
        queries: list[str] = []
        for is_whole, group in groupby(zip(pinned, files, strict=True), lambda pair: pair[1].is_whole):
            pairs = list(group)
            if is_whole:
                queries.append(f"from {scan({path: current.columns for (current, path), _ in pairs})}")
            else:
                queries += [f"from {scan({path: ''})} where {condition(f.wanted)}" for (_, path), f in pairs]
        result = connection.sql(" union all by name ".join(queries))
        if columns is None:
            return result
        lacking = [c for c in columns if c not in result.columns]
        fields = [self._field(table, c, pa.schema([]), result.columns, span) for c in lacking]
        terms = {
            f.name: f"null::{connection.from_arrow(empty(pa.schema([f]))).types[0]} as {quoted(f.name)}" for f in fields
        }
        return result.select(", ".join(terms.get(c, quoted(c)) for c in columns))

    def _pin(self, partitions: Iterable[Current]) -> list[tuple[Current, str]]:
        """Return partitions with other names of their files, which stay for an hour whatever is published meanwhile.

        A query engine opens files when it likes, later than the list was made. In a lake that cannot be written the
        files' own names are returned.

        Raises:
            LakeUnavailable: transient; the disk is full.
        """
        folder = self._layout.staging / f"pinned-{uuid4().hex}"
        try:
            with lake_errors(folder):
                folder.mkdir(parents=True)
        except LakeError:
            return [self.with_file(c, lambda path: str(_there(path))) for c in partitions]
        numbers = count()

        def link(path: Path) -> str:
            pinned = f"{folder}/{next(numbers)}-{path.name}"
            with lake_errors(folder), suppress(FileNotFoundError):
                os.link(path, pinned)
                return pinned
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

        return [self.with_file(current, link) for current in partitions]

    # What is replaced while it is looked at.

    def with_file(self, current: Current, use: Callable[[Path], T]) -> tuple[Current, T]:
        """Call `use` with the file of a partition; where that was replaced meanwhile, with the one in its place.

        Returns:
            The publication that was used, and what `use` returned.

        Raises:
            LakeError: terminal; the ledger names a file that is not there.
            Replaced: transient; it was replaced again and again.
        """
        for look in range(LOOKS):
            try:
                return current, use(self._layout.root / current.file)
            except FileNotFoundError as error:
                current = self._instead(current, error, lock=look >= LOOKS_BEFORE_LOCK)
        raise Replaced(f"{current.file} was replaced {LOOKS} times while it was being opened: it is tried again")

    def _instead(self, gone: Current, error: FileNotFoundError, *, lock: bool) -> Current:
        """Return what the ledger names now in the place of a file that is gone."""
        if lock:
            # A writer between exchange and commit finishes first; one that died there has left a file to adopt.
            adopt_newer(self._layout, self._ledger, gone.table, self.grain(gone.table), gone.span)
            with self._ledger.transaction():
                known = self._now(gone)
                if known is None:
                    raise Replaced(
                        f"{gone.file} has been removed while it was being opened: it is looked for again"
                    ) from error
                if known == gone and not (self._layout.root / known.file).exists():
                    raise LakeError(
                        f"{gone.table} {gone.span}: its file {gone.file} is not there. Run `stream-assets verify {gone.table}`"
                    ) from error
                return known
        return self._now(gone) or gone

    def _now(self, partition: Current) -> Current | None:
        span = partition.span
        return next((c for c in self._ledger.current(partition.table, span) if c.span.start == span.start), None)

    def exactly(self, current: Current, use: Callable[[Path], T]) -> T:
        """Call `use` with the file of this very revision.

        Raises:
            Replaced: transient; there is a newer one by now.
            LakeError: terminal; the ledger names a file that is not there.
        """
        path = self._layout.root / current.file
        try:
            return use(path)
        except FileNotFoundError as error:
            if self._instead(current, error, lock=True) == current:
                return use(path)
            raise Replaced(f"{current.file} was replaced while it was being read: the work is planned again") from error


def _only(schema: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    return pa.schema([field for field in schema if field.name in columns])


def _open(path: Path) -> pq.ParquetFile:
    with _damage(path):
        return pq.ParquetFile(path)


def _schema(path: Path) -> pa.Schema:
    with _open(path) as opened:
        return opened.schema_arrow


@contextmanager
def _damage(path: Path) -> Generator[None]:
    """Name the file in what Arrow says of its bytes."""
    try:
        yield
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the system's word, not Arrow's
        raise LakeError(f"{path} is no whole Parquet file ({error}): run `stream-assets verify`") from error


def _there(path: Path) -> Path:
    path.stat()
    return path


def _all(read: Callable[[LakeFile], T], files: Sequence[LakeFile]) -> list[T]:
    """Read many small files side by side: most of the time of each is spent outside of Python."""
    if len(files) < FILES_AT_ONCE:  # Arrow reads the columns of one side by side instead.
        return [read(file) for file in files]
    with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="lake-read") as pool:
        return list(pool.map(read, files))
