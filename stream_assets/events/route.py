"""Deals the rows of a range to its 5-minute windows, within a bounded memory."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import ipc

from stream_assets.core.window import EPOCH, GRID, TimeWindow
from stream_assets.errors import LakeError, LakeUnavailable, UsageError
from stream_assets.events.buffers import array_of, numbers_of
from stream_assets.events.schema import EVENT_TIME, INSTANT, align, empty, unify

BUDGET_BYTES = 192 << 20
_MICROSECOND = timedelta(microseconds=1)
_STEP = GRID // _MICROSECOND

Places = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class _Run:
    """Rows sorted by window, `edges[i]` to `edges[i + 1]` in window `i`: in memory, or a batch a window."""

    edges: npt.NDArray[np.int64]
    table: pa.Table | None = None
    file: ipc.RecordBatchFileReader | None = None
    batches: npt.NDArray[np.int64] | None = None

    def part(self, window: int) -> pa.Table | None:
        start, stop = int(self.edges[window]), int(self.edges[window + 1])
        if start == stop:
            return None
        if self.table is not None:
            return self.table.slice(start, stop - start)
        assert self.file is not None
        assert self.batches is not None
        return pa.Table.from_batches([self.file.get_batch(int(self.batches[window]))])


class Router:
    """Takes the conformed or the rejected rows of a range in any order, and gives every window once, oldest first.

    Rows stay in the order in which they were added. Every table given has the union of the columns seen.
    Memory is bounded by the budget and the largest window: what is beyond is written to Arrow files under
    `spill_dir`, which are removed on `close` (the router is a context manager).

    Args:
        span: the range, `[start, end)`, both ends on the 5-minute grid.
        spill_dir: an existing folder for what does not fit in memory; nothing is written before it has to be.
        budget_bytes: how much Arrow data is held in memory.
        schema: columns of an answer without any row, where the source knows them.

    Attributes:
        rows: rows taken so far.
        outside: rows left out so far, because their event time is not in the range.
    """

    def __init__(
        self,
        span: TimeWindow,
        *,
        spill_dir: Path,
        budget_bytes: int = BUDGET_BYTES,
        schema: pa.Schema | None = None,
    ) -> None:
        if not span.is_on_grid:
            raise UsageError(f"{span} is not on the 5-minute grid: both ends must be whole multiples of 5 minutes")
        self.span = span
        self.rows = 0
        self.outside = 0
        self._start = (span.start - EPOCH) // _MICROSECOND
        self._count = span.duration // GRID
        self._spill_dir = spill_dir
        self._folder: Path | None = None
        # Sorting copies, so half of the budget may wait.
        self._limit = max(1, budget_bytes // 2)
        self._empty = schema
        self._schemas: dict[pa.Schema, None] = {}
        self._waiting: list[tuple[pa.Table, Places]] = []
        self._waiting_bytes = 0
        self._runs: list[_Run] = []

    def add(self, table: pa.Table, *, otherwise: pa.ChunkedArray[Any] | None = None) -> None:
        """Take the rows of `table` whose event time is in the range, and count the others as `outside`.

        Args:
            table: rows with their event times, which may be null.
            otherwise: for each row an instant, which decides where the event time is not in the range.

        Raises:
            SourceError: terminal; a column whose type does not fit the batches before.
            LakeUnavailable: transient; the disk is full to which rows are spilled.
            LakeError: terminal; the folder for spilled rows cannot be written.
        """
        table, places = self._inside(table, otherwise)
        if not table.num_rows:
            self._empty = table.schema.remove_metadata()
            return
        self._learn(table.schema.remove_metadata())
        self.rows += table.num_rows
        step = max(1, table.num_rows * self._limit // max(1, table.nbytes))
        for start in range(0, table.num_rows, step):
            piece = table.slice(start, step)
            if self._waiting and self._waiting_bytes + piece.nbytes > self._limit:
                self._spill()
            self._waiting.append((piece, places[start : start + step]))
            self._waiting_bytes += piece.nbytes

    @property
    def schema(self) -> pa.Schema:
        """The columns of every table that `windows` gives: the union of those seen so far."""
        return unify(list(self._schemas)) if self._schemas else unify([self._empty] if self._empty is not None else [])

    def windows(self) -> Iterator[tuple[TimeWindow, pa.Table]]:
        """Yield every 5-minute window of the range with its rows, oldest first; an empty one too, typed.

        Raises:
            SourceError: terminal; a value that does not fit the type which its column has in the whole range.
        """
        if self._waiting:
            self._runs.append(self._sorted())
        schema = self.schema
        for place, window in enumerate(self.span.windows()):
            parts = [part for run in self._runs if (part := run.part(place)) is not None]
            yield (
                window,
                pa.concat_tables([align(p, schema) for p in parts]) if parts else empty(schema),
            )

    def close(self) -> None:
        """Remove what was spilled. Tables already given stay readable."""
        self._runs.clear()
        self._waiting.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _inside(self, table: pa.Table, otherwise: pa.ChunkedArray[Any] | None) -> tuple[pa.Table, Places]:
        places, within = self._places(table.column(EVENT_TIME))
        if otherwise is not None and not within.all():
            others, fit = self._places(otherwise)
            places, within = np.where(within, places, others), within | fit
        if not within.all():
            self.outside += int(len(within) - np.count_nonzero(within))
            table, places = table.filter(array_of(within, pa.bool_())), places[within]
        # numpy sorts 16-bit integers by radix, in linear time.
        return table, places.astype(np.uint16 if self._count <= 1 << 16 else np.int64)

    def _places(self, times: pa.ChunkedArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return the numbers of the windows of instants, and which of them are in the range; null is in none."""
        micros: Any = times.cast(INSTANT).cast(pa.int64())
        known = micros.fill_null(self._start - 1) if micros.null_count else micros
        places = (numbers_of(known, np.int64) - self._start) // _STEP
        return places, (places >= 0) & (places < self._count)

    def _learn(self, schema: pa.Schema) -> None:
        if schema not in self._schemas:
            unify([*self._schemas, schema])
            self._schemas[schema] = None

    def _sorted(self) -> _Run:
        schema = self.schema
        table = pa.concat_tables([align(piece, schema) for piece, _ in self._waiting])
        places = np.concatenate([places for _, places in self._waiting])
        self._waiting.clear()
        self._waiting_bytes = 0
        if (places[1:] < places[:-1]).any():
            order = np.argsort(places, kind="stable")
            table, places = table.take(array_of(order, pa.int64())), places[order]
        return _Run(np.searchsorted(places, np.arange(self._count + 1)), table)

    def _spill(self) -> None:
        run = self._sorted()
        assert run.table is not None
        filled = run.edges[1:] > run.edges[:-1]
        try:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="route-", dir=self._spill_dir))
            path = self._folder / f"{len(self._runs)}.arrow"
            with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, run.table.schema) as writer:
                for place in np.flatnonzero(filled):
                    part = run.part(int(place))
                    assert part is not None
                    writer.write_table(part.combine_chunks())
        except OSError as error:
            kind = LakeUnavailable if error.errno in (errno.ENOSPC, errno.EDQUOT) else LakeError
            raise kind(
                f"the rows of {self.span} do not fit in memory and cannot be put aside in "
                f"{self._spill_dir}: {error}; "
                "make room there, or read a shorter range"
            ) from error
        # Not mapped: the pages of a mapped file count as memory of the process until the system wants them back.
        file = ipc.open_file(pa.OSFile(str(path), "rb"))
        self._runs.append(_Run(run.edges, file=file, batches=np.cumsum(filled) - 1))
