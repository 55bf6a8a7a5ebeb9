# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""One lake: made once, opened often, read by anybody."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from stream_assets.core.receipt import WindowFact
from stream_assets.core.window import Calendar, Grain, TimeWindow
from stream_assets.errors import LakeError
from stream_assets.events.columns import Columns
from stream_assets.events.conform import reasons
from stream_assets.events.schema import empty
from stream_assets.lake.disk import hold, lake_errors
from stream_assets.lake.founding import Foundation
from stream_assets.lake.ledger import Current
from stream_assets.lake.parquet import columns_of, fit, read_receipt, unified
from stream_assets.lake.part import LakeFile
from stream_assets.lake.publish import Publisher, adopt_newer, newer
from stream_assets.lake.read import FILES_AT_ONCE, Opened, Reader
from stream_assets.lake.rejected import Rejected
from stream_assets.lake.released import Released

if TYPE_CHECKING:
    import duckdb


class Lake(Foundation):
    """A lake in a local folder. What was fixed when it was made (zone, start, grains) is kept in its ledger.

    `beside` holds the rejected rows, `released` the events that were such rows. Reading takes the list of files from the ledger: a reader gets the old partition or the new one, never a mixture.
    """

    def __init__(self, root: Path, calendar: Calendar) -> None:
        super().__init__(root, calendar)
        self._reader = Reader(self.layout, self.ledger)
        self.beside = Rejected(self.layout)
        self.released = Released(self.layout)

    def publisher(self) -> Publisher:
        """Return a publisher of new partitions; see `publish.py`.

        Raises:
            LakeError: terminal; the lake is a copy.
        """
        self.refuse_copy()
        return Publisher(self.layout, self.ledger)

    def roll_forward(self, table: str, grain: Grain, span: TimeWindow) -> bool:
        """Adopt what a crash left on disk for one partition; whether there was something."""
        with lake_errors(self.layout.root):
            return adopt_newer(self.layout, self.ledger, table, grain, span) is not None

    def can_publish(self, table: str, grain: Grain, span: TimeWindow) -> bool:
        """Whether no file lies in a partition's folder that pretends to be newer than it: nobody can publish over one."""
        try:
            newer(self.layout, self.ledger, table, grain, span)
        except LakeError:
            return False
        return True

    # Reading.

    def grain(self, table: str) -> Grain:
        """Return the grain of a table.

        Raises:
            LakeError: terminal; the lake has no such table.
        """
        return self._reader.grain(table)

    def files(self, table: str, span: TimeWindow) -> list[LakeFile]:
        """Return the files that hold `table` inside `span`, oldest first, each event in exactly one of them.

        The name of a stream gives its sealed days, and windows elsewhere. Of a consumer's table, whose rows have no
        event time, every partition that shares an instant with `span` is wanted whole.

        Each file is there when this looks, unless it was lost. One that is replaced before it is opened is loudly gone:
        ask again.

        Raises:
            LakeError: terminal; the lake has no such table.
        """
        return self._reader.files(table, span)

    def lost(self, table: str, span: TimeWindow) -> list[Path]:
        """Return the files of `table` inside `span` that are named and not there; a replaced one is not named again."""
        gone = [f.path for f in self.files(table, span) if not f.path.exists()]
        named = {f.path for f in self.files(table, span)} if gone else set[Path]()
        return [path for path in gone if path in named]

    def damage(self, files: Iterable[LakeFile], columns: Sequence[str] | None = None) -> str:
        """Return what is wrong with the first of `files` that cannot be read, naming it; they are all read for that."""
        return self._reader.damage(files, columns)

    def read(
        self,
        table: str,
        span: TimeWindow,
        columns: Sequence[str] | None = None,
        *,
        keys: bool = False,
        files: Sequence[LakeFile] | None = None,
        opened: Opened | None = None,
    ) -> pa.Table:
        """Return the rows of `table` inside `span` `[start, end)`, oldest partition first.

        Partitions that are replaced meanwhile are given as they were or as they are, each whole. Columns are united by
        name, their types widened; a column that the table has only elsewhere, or may have once it has rows, is null here.

        Args:
            table: a stream (its events, each once), or any table of the lake; a consumer's partitions are given whole.
            span: event time.
            columns: names in the order wanted; all by default.
            keys: whether to add the partition's columns `day` and `window_start`.
            files: what `files` gave of event time that includes `span`, so that it is not asked for again.
            opened: what earlier calls with the same table, columns and keys have read of files, so that overlapping spans
                open each of them once; this call's is added.

        Returns:
            A table without columns where no partition of `table` shares an instant with `span`.

        Raises:
            LakeError: terminal; no such table or column, columns whose types do not fit together, or a file is gone.
        """
        return self._reader.read(table, span, columns, keys=keys, files=files, opened=opened)

    def empty(self, table: str, columns: Sequence[str] | None, span: TimeWindow) -> pa.Table:
        """Return no events of a stream, in the columns that it had last, or in `columns`: null before its first event.

        Raises:
            LakeError: terminal; no such column. `span` is named in the message.
        """
        return self._reader.empty(table, columns, span)

    def relation(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        span: TimeWindow,
        columns: Sequence[str] | None = None,
        *,
        files: Sequence[LakeFile] | None = None,
    ) -> duckdb.DuckDBPyRelation | None:
        """Return the rows of `table` inside `span` as a lazy DuckDB relation; None where there is no file.

        `files` are as in `read`.

        It can be used for an hour, whatever is published meanwhile, and gives the same rows each time: its files are
        pinned by other names in staging. In a lake that cannot be written, a partition that is replaced before the
        relation is used makes DuckDB say that a file is not found: ask for the relation again.

        Raises:
            LakeError: terminal; no such table or column.
        """
        return self._reader.relation(connection, table, span, columns, files)

    # Whole partitions, for the pipeline.

    def schema_of(self, partitions: Iterable[Current]) -> pa.Schema:
        """Return the schema that the files of `partitions` share.

        Raises:
            Conflict: transient; one of them was replaced meanwhile.
        """
        return unified(self._reader.exactly(c, pq.read_schema) for c in partitions)

    def columns_of(self, partitions: Iterable[Current]) -> Columns:
        """Return the columns of which any of `partitions` has a value, types widened; a footer is read of each.

        Raises:
            SourceError: terminal; partitions that were published without a look at each other do not fit together.
        """
        columns = Columns()
        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            for _, footer in pool.map(partial(self._reader.with_file, use=pq.read_metadata), partitions):
                columns = columns.plus(columns_of(footer))
        return columns

    @staticmethod
    def unified(schemas: Iterable[pa.Schema]) -> pa.Schema:
        """Return one schema with the columns of all."""
        return unified(schemas)

    def is_whole(self, partition: Current) -> bool:
        """Whether a partition's file is there with the receipt that the ledger has: else equal content is published again."""
        try:
            return read_receipt(self.layout.root / partition.file) == partition.receipt
        except (LakeError, OSError):
            return False

    def rows_of(self, partition: Current, schema: pa.Schema) -> pa.Table:
        """Return the rows of one partition in the columns of `schema`.

        Raises:
            Conflict: transient; it was replaced meanwhile.
        """
        with self._reader.exactly(partition, pq.ParquetFile) as file:
            return fit(file.read(), schema)

    def windows_of_day(self, day: Current) -> Iterator[tuple[WindowFact, pa.Table]]:
        """Yield each window of a stream's sealed day with its rows, as the receipt counts them, in order.

        Raises:
            Conflict: transient; the day was replaced meanwhile.
            LakeError: terminal; the file has more or fewer rows than its receipt.
        """
        with self._reader.exactly(day, pq.ParquetFile) as file:
            if file.metadata.num_rows != day.rows:
                raise LakeError(
                    f"{day.file} has {file.metadata.num_rows:,} rows, and its receipt {day.rows:,}: "
                    f"run `stream-assets verify {day.table}`"
                )
            groups = iter(range(file.num_row_groups))
            waiting = empty(file.schema_arrow.remove_metadata())
            for fact in day.receipt.windows:
                while waiting.num_rows < fact.rows:
                    waiting = pa.concat_tables([waiting, file.read_row_group(next(groups))])
                yield fact, waiting.slice(0, fact.rows)
                waiting = waiting.slice(fact.rows)

    @contextmanager
    def scratch(self) -> Generator[Path]:
        """Give a folder in staging for what is not published; no sweep takes it while it is in use.

        Raises:
            LakeUnavailable: transient; the disk is full.
            LakeError: terminal; the lake cannot be written.
        """
        folder = self.layout.staging / uuid4().hex
        with lake_errors(folder):
            folder.mkdir(parents=True)
            descriptor = hold(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)

    def keep_rejected(self, stream: str, window: TimeWindow, rows: pa.Table) -> None:
        """Keep the rows of one window that could not become events, in the place of those kept before.

        Raises:
            LakeUnavailable: transient; the disk is full.
            LakeError: terminal; the lake cannot be written.
        """
        self.beside.keep(stream, window, self.beside.write(stream, window, rows))

    def rejected(self, stream: str, window: TimeWindow) -> dict[str, int]:
        """Return how many rows of one window are kept as rejected, by reason."""
        return reasons(self.beside.read(stream, window))

    def last_schema(self, table: str) -> pa.Schema | None:
        """Return the schema of the newest publication of a table that has rows, else of the newest; None without one."""
        return self._reader.last_schema(table)
