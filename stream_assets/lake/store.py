"""One lake: made once, opened often, read by anybody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import WindowFact
from stream_assets.core.window import Calendar, Grain, TimeWindow
from stream_assets.errors import Conflict, LakeError
from stream_assets.lake.disk import refuse_without_exchange
from stream_assets.lake.layout import Layout
from stream_assets.lake.ledger import Current, Ledger
from stream_assets.lake.parquet import fit, unified
from stream_assets.lake.publish import Publisher, adopt_newer

if TYPE_CHECKING:
    import duckdb

DAYS_BEFORE = 2
WINDOWS_BEFORE_END = timedelta(days=300)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One file of a table, and the part of it that was asked for.

    Attributes:
        wanted: event time that is to be read from it; all of it where that is the whole partition.
    """

    current: Current
    path: Path
    wanted: Intervals

    @property
    def is_whole(self) -> bool:
        """Whether every row of the file is wanted."""
        return self.wanted.covers(self.current.span)


class Lake:
    """A lake in a local folder. What was fixed when it was made (zone, start, grains) is kept in its ledger.

    Reading takes the list of files from the ledger: a reader gets the old partition or the new one, never a mixture.
    """

    def __init__(self, root: Path, calendar: Calendar) -> None:
        self.layout = Layout(root, calendar)
        self.calendar = calendar
        self.ledger = Ledger(self.layout.ledger)

    @classmethod
    def open(
        cls, root: Path, zone: str, now: datetime, *, start: str | None = None, end: datetime | None = None
    ) -> Lake:
        """Open the lake in `root`, and make it where there is none.

        Args:
            root: a folder of a local file system.
            zone: time zone of the lake's days.
            now: the present instant.
            start: first day kept, like `2026-03-01`; by default two days before the lake is made.
            end: for finished histories, the instant from which nothing is wanted any more.

        Raises:
            LakeError: terminal; the folder cannot be used, or its lake has another zone or start.
        """
        root = root.expanduser().resolve()
        calendar = Calendar(zone)
        lake = cls(root, calendar)
        if not lake.layout.ledger.exists():
            lake._make(start, end, now)
        lake._refuse_other(zone, start)
        return lake

    def _make(self, start: str | None, end: datetime | None, now: datetime) -> None:
        today = self.calendar.day_of(now)
        first = self.calendar.midnight(today - timedelta(days=DAYS_BEFORE))
        if start is not None:
            first = self.calendar.instant(start)
            if self.calendar.day_around(first).start != first:
                raise LakeError(f"the lake's start {start!r} is not a local day in {self.calendar.zone}: write it like 2026-03-01")
        last = min(end, now) if end else now
        windows_from = max(first, self.calendar.day_around(last - WINDOWS_BEFORE_END).start)
        root = self.layout.root
        try:
            root.mkdir(parents=True, exist_ok=True)
            if any(p.name.startswith("day=") for p in root.glob("*/day=*")):
                raise LakeError(
                    f"{root} holds partitions but no ledger: run `stream-assets ledger rebuild`, or choose an empty folder"
                )
            self.layout.staging.mkdir(exist_ok=True)
            refuse_without_exchange(self.layout.staging)
        except OSError as error:
            raise LakeError(f"no lake can be made in {root} ({error.strerror}): choose a folder that can be written") from error
        self.ledger.create(self.calendar, first, windows_from, now)

    def _refuse_other(self, zone: str, start: str | None) -> None:
        meta = self.meta
        if meta.get("zone") != zone:
            raise LakeError(
                f"the lake {self.layout.root} has days in {meta.get('zone')}, not in {zone}: set STREAM_ASSETS_TIMEZONE={meta.get('zone')}, "
                "or choose another STREAM_ASSETS_LAKE"
            )
        if start is not None and self.calendar.instant(start) != self.start:
            first = self.calendar.day_of(self.start)
            raise LakeError(
                f"the lake {self.layout.root} starts on {first}, not on {start}: set STREAM_ASSETS_START={first}, or choose another STREAM_ASSETS_LAKE"
            )

    @cached_property
    def meta(self) -> dict[str, str]:
        """What was fixed when the lake was made."""
        return self.ledger.meta()

    @property
    def start(self) -> datetime:
        """Local midnight of the first day kept."""
        return datetime.fromisoformat(self.meta["start"])

    @property
    def windows_from(self) -> datetime:
        """Local midnight of the first day that has 5-minute partitions."""
        return datetime.fromisoformat(self.meta["windows_from"])

    def publisher(self) -> Publisher:
        """Return a publisher of new partitions; see `publish.py`."""
        return Publisher(self.layout, self.ledger)

    def roll_forward(self, table: str, grain: Grain, span: TimeWindow) -> bool:
        """Adopt what a crash left on disk for one partition; whether there was something."""
        folder = self.layout.partition(table, grain, span)
        return adopt_newer(self.layout, self.ledger, table, grain, folder) is not None

    # Reading.

    def grain(self, table: str) -> Grain:
        """Return the grain of a table.

        Raises:
            LakeError: terminal; the lake has no such table.
        """
        grains = self.ledger.tables()
        if table not in grains:
            raise LakeError(f"the lake has no table {table!r}; it has: {', '.join(sorted(grains)) or 'none yet'}")
        return grains[table]

    def files(self, table: str, span: TimeWindow) -> list[LakeFile]:
        """Return the files that hold `table` inside `span`, oldest first, each event in exactly one of them.

        The name of a stream gives its sealed days, and windows elsewhere.
        """
        self.grain(table)
        of_stream = self.ledger.days_of(table)
        days = self.ledger.current(of_stream, span) if of_stream else []
        found = [self._file(c, Intervals.of(c.span.clip(span))) for c in days]
        in_days = Intervals.union_of(c.span for c in days)
        for current in self.ledger.current(table, span):
            wanted = Intervals.of(current.span.clip(span)) - in_days
            if wanted:
                found.append(self._file(current, wanted))
        return sorted(found, key=lambda f: f.current.span)

    def _file(self, current: Current, wanted: Intervals) -> LakeFile:
        return LakeFile(current, self.layout.root / current.file, wanted)

    def read(
        self, table: str, span: TimeWindow, columns: Sequence[str] | None = None, *, keys: bool = False
    ) -> pa.Table:
        """Return the rows of `table` inside `span` `[start, end)`, oldest partition first.

        Args:
            table: a stream (its events, each once), or any table of the lake.
            span: event time.
            columns: names in the order wanted; all by default.
            keys: whether to add the partition's columns `day` and `window_start`.

        Raises:
            LakeError: terminal; no such table or column.
        """
        return self._again(lambda: self._read(table, span, columns, keys))

    def _read(self, table: str, span: TimeWindow, columns: Sequence[str] | None, keys: bool) -> pa.Table:
        files = self.files(table, span)
        if not files:
            return pa.table({})
        schema = unified(pq.read_schema(f.path) for f in files)
        if columns is not None:
            lacking = [c for c in columns if c not in schema.names]
            if lacking:
                raise LakeError(
                    f"table {table!r} has no column {', '.join(map(repr, lacking))} in {span}; it has: {', '.join(schema.names)}"
                )
            schema = pa.schema([schema.field(c) for c in columns])
        grain = self.grain(table)
        tables = [self._rows(f, schema, grain if keys else None) for f in files]
        return pa.concat_tables(tables) if tables else schema.empty_table()

    def _rows(self, file: LakeFile, schema: pa.Schema, grain: Grain | None) -> pa.Table:
        there = pq.read_schema(file.path).names
        wanted = [name for name in schema.names if name in there]
        rows = pq.ParquetFile(file.path).read(columns=wanted) if file.is_whole else _part(file, wanted)
        rows = rows.replace_schema_metadata(None)
        table = fit(rows, schema)
        if grain is not None:
            for name, value in self.layout.keys(grain, file.current.span).items():
                table = table.append_column(name, pa.repeat(pa.scalar(value), table.num_rows))
        return table

    def relation(
        self, connection: duckdb.DuckDBPyConnection, table: str, span: TimeWindow, columns: Sequence[str] | None = None
    ) -> duckdb.DuckDBPyRelation | None:
        """Return the rows of `table` inside `span` as a lazy DuckDB relation; None where there is no file."""
        whole: list[str] = []
        parts: list[tuple[str, Intervals]] = []
        for file in self.files(table, span):
            if file.is_whole:
                whole.append(str(file.path))
            else:
                parts.append((str(file.path), file.wanted))
        relations: list[duckdb.DuckDBPyRelation] = []
        if whole:
            relations.append(connection.read_parquet(whole, union_by_name=True, hive_partitioning=False))
        for path, wanted in parts:
            terms = [
                f"(event_time >= '{s.start.isoformat()}'::timestamptz and event_time < '{s.end.isoformat()}'::timestamptz)" for s in wanted
            ]
            relations.append(connection.read_parquet(path, hive_partitioning=False).filter(" or ".join(terms)))
        if not relations:
            return None
        result = relations[0]
        for other in relations[1:]:
            result = result.union(other)
        return result.select(*columns) if columns is not None else result

    @staticmethod
    def _again(read: Callable[[], T]) -> T:
        """A file that was replaced between the list and the open is looked up again."""
        return retry(
            retry=retry_if_exception_type((FileNotFoundError, Conflict)),
            stop=stop_after_attempt(20),
            wait=wait_random(0, 0.05),
            reraise=True,
        )(read)()

    # Whole partitions, for the pipeline.

    def schema_of(self, partitions: Iterable[Current]) -> pa.Schema:
        """Return the schema that the files of `partitions` share."""
        return unified(pq.read_schema(self.layout.root / c.file) for c in partitions)

    @staticmethod
    def unified(schemas: Iterable[pa.Schema]) -> pa.Schema:
        """Return one schema with the columns of all."""
        return unified(schemas)

    def rows_of(self, partition: Current, schema: pa.Schema) -> pa.Table:
        """Return the rows of one partition in the columns of `schema`."""
        return fit(pq.ParquetFile(self.layout.root / partition.file).read(), schema)

    def windows_of_day(self, day: Current) -> Iterator[tuple[WindowFact, pa.Table]]:
        """Yield each window of a stream's sealed day with its rows, as the receipt counts them, in order."""
        file = pq.ParquetFile(self.layout.root / day.file)
        groups = iter(range(file.num_row_groups))
        waiting = file.schema_arrow.remove_metadata().empty_table()
        for fact in day.receipt.windows:
            while waiting.num_rows < fact.rows:
                waiting = pa.concat_tables([waiting, file.read_row_group(next(groups))])
            yield fact, waiting.slice(0, fact.rows)
            waiting = waiting.slice(fact.rows)

    def keep_rejected(self, stream: str, window: TimeWindow, rows: pa.Table) -> None:
        """Keep the rows of one window that could not become events, in the place of those kept before."""
        folder = self.layout.rejected(stream, window)
        path = folder / "rejected.parquet"
        if not rows.num_rows:
            path.unlink(missing_ok=True)
            return
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{uuid4().hex}"
        pq.write_table(rows, draft)
        draft.replace(path)

    def last_schema(self, table: str) -> pa.Schema | None:
        """Return the schema of the newest publication of a table; None before the first one."""
        row = self.ledger.database.row("select file from current where tbl = ? order by committed_at desc limit 1", (table,))
        if row is None:
            return None
        return pq.read_schema(self.layout.root / row["file"]).remove_metadata()


def _part(file: LakeFile, columns: list[str]) -> pa.Table:
    import pyarrow.dataset as ds  # loads pandas too: 0.25 s, for the rare partial read alone

    column = ds.field("event_time")
    terms = [(column >= pa.scalar(s.start)) & (column < pa.scalar(s.end)) for s in file.wanted]
    result = terms[0]
    for term in terms[1:]:
        result = result | term
    return ds.dataset(file.path, format="parquet").to_table(columns=columns, filter=result)
