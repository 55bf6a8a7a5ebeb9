# pyright: reportUnknownMemberType=false
"""Parquet files, a batch at a time, without the row groups whose statistics say that they do not matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stream_assets.core.window import EPOCH, TimeWindow
from stream_assets.errors import SourceError, SourceUnavailable
from stream_assets.events.schema import empty
from stream_assets.sources.files.limits import BATCH_BYTES, Expansion, refuse_columns, refuse_doubled
from stream_assets.sources.files.listing import Found
from stream_assets.sources.files.opening import inside, reading
from stream_assets.sources.files.piece import Piece

BATCH_ROWS = 131_072

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}


@dataclass(slots=True)
class Columnar:
    """Reads one Parquet file.

    Attributes:
        time: name of the event time column.
        times: names of the columns that tell times.
        max_ratio: how many times its own size a file's content may be.
        max_columns: how many columns a file may have.
        within: row groups that have, as their statistics say, no event in it are left out; None reads all.
        latest: the greatest event time that is usable.
    """

    time: str
    times: Sequence[str]
    max_ratio: int
    max_columns: int
    within: TimeWindow | None = None
    latest: datetime = EPOCH

    def __call__(self, file: Found, *, offset: int, times_only: bool) -> Iterator[Piece]:
        """Yield the file's rows; a `piece.Reader`. `offset` must be 0."""
        try:
            with reading(file), _opened(file) as parquet:
                refuse_columns(file, parquet.metadata.num_columns, self.max_columns)
                names = parquet.schema_arrow.names
                refuse_doubled(file, names)
                wanted = [name for name in self.times if name in names] if times_only else None
                groups = self._groups(parquet)
                if not groups or wanted == []:
                    yield Piece(empty(parquet.schema_arrow))
                    return
                yield from self._pieces(file, parquet, groups, wanted)
        except (SourceError, MemoryError) as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(
                f"{file.path} takes more memory than there is: write smaller row groups and values, or rename it so that "
                "it begins with '_' to go on without it"
            ) from error
        except (pa.ArrowException, ValueError, LookupError, TypeError) as error:
            raise _broken(file, error) from error
        except SourceUnavailable as error:
            # pyarrow says "cannot be read" of damaged pages, too; only the system's own errors have a number.
            if isinstance(error.__cause__, OSError) and error.__cause__.errno is None:
                raise _broken(file, error.__cause__) from error
            raise

    def _pieces(
        self, file: Found, parquet: pq.ParquetFile, groups: list[int], wanted: list[str] | None
    ) -> Iterator[Piece]:
        expansion = Expansion(file, self.max_ratio)
        texts, fixed = _leaves(parquet, wanted)
        metadata = parquet.metadata
        # Few bytes may stand for any number of equal values, which the footer counts.
        counts = [{place: metadata.row_group(group).column(place).num_values for place in fixed} for group in groups]
        expansion.refuse(sum(count * fixed[place] for group in counts for place, count in group.items()))
        # And for one long text in any number of rows, so the longest text of each dictionary is looked for first.
        with _opened(file, as_dictionary=list(texts.values())) as dictionaries:
            for group, values in zip(groups, counts, strict=True):
                rows = max(1, metadata.row_group(group).num_rows)
                width = sum(fixed[place] * count // rows + fixed[place] for place, count in values.items())
                width += sum(_longest(dictionaries, group, text) for text in texts.values())
                step = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, width)))
                for batch in parquet.iter_batches(step, row_groups=[group], columns=wanted):
                    expansion.add(batch.nbytes)
                    yield Piece(pa.Table.from_batches([batch]))

    def _groups(self, parquet: pq.ParquetFile) -> list[int]:
        """Return the row groups to read: all, unless every one says that all of its times are usable."""
        every = list(range(parquet.num_row_groups))
        if self.within is None:
            return every
        spans = [self._span(parquet.metadata.row_group(number)) for number in every]
        # Where a row without a usable time belongs depends on the rows before it: they must be read too.
        if any(span is None or span[0] < EPOCH or span[1] > self.latest for span in spans):
            return every
        start, end = self.within.start, self.within.end
        return [n for n, span in zip(every, spans, strict=True) if span and span[0] < end and span[1] >= start]

    def _span(self, group: pq.RowGroupMetaData) -> tuple[datetime, datetime] | None:
        for place in range(group.num_columns):
            column = group.column(place)
            if column.path_in_schema != self.time:
                continue
            stats: Any = column.statistics
            if stats is None or not stats.has_min_max or stats.null_count is None or stats.null_count:
                return None
            try:
                low, high = stats.min, stats.max
            except (ValueError, OverflowError):  # before the year 1 or after 9999
                return None
            if isinstance(low, datetime) and isinstance(high, datetime) and low.tzinfo and high.tzinfo:
                return low, high
        return None


def _opened(file: Found, as_dictionary: list[str] | None = None) -> pq.ParquetFile:
    """Open the file; what is inside of the folder stays open until it is read."""
    with ExitStack() as stack:
        raw = stack.enter_context(inside(file))
        # Arrow reads a path without taking Python's lock; this one is the very file that was checked.
        return pq.ParquetFile(
            f"/proc/self/fd/{raw.fileno()}",
            pre_buffer=False,
            page_checksum_verification=True,
            read_dictionary=as_dictionary,
        )


def _leaves(parquet: pq.ParquetFile, wanted: list[str] | None) -> tuple[dict[int, str], dict[int, int]]:
    """Return by place the paths of the columns of text and bytes, and the bytes that a value of the others takes."""
    texts: dict[int, str] = {}
    fixed: dict[int, int] = {}
    for place in range(parquet.metadata.num_columns):
        column: Any = parquet.schema.column(place)
        if wanted is not None and not any(column.path == n or column.path.startswith(f"{n}.") for n in wanted):
            continue
        if column.physical_type == "BYTE_ARRAY":
            texts[place] = column.path
        fixed[place] = _WIDTHS.get(column.physical_type, max(4, column.length))
    return texts, fixed


def _longest(parquet: pq.ParquetFile, group: int, path: str) -> int:
    """Return the length of the longest value in the dictionary of a column; 0 where it has none.

    Arrow takes over the whole dictionary with the first row. What is in no dictionary stands in the file for every row.
    """
    for batch in parquet.iter_batches(1, row_groups=[group], columns=[path]):
        column = cast("Any", batch).column(0)
        while pa.types.is_nested(column.type):
            column = column.field(0) if pa.types.is_struct(column.type) else column.values
        if pa.types.is_dictionary(column.type) and len(column.dictionary):
            compute: Any = pc
            return int(compute.max(compute.binary_length(column.dictionary)).as_py() or 0)
        return 0
    return 0


def _broken(file: Found, error: BaseException) -> SourceError:
    said = next(iter(str(error).splitlines()), type(error).__name__)
    return SourceError(
        f"{file.path} is no whole Parquet file ({said}): write it again under a name that ends in .tmp and rename it when it "
        "is whole, or rename it so that it begins with '_' to go on without it"
    )
