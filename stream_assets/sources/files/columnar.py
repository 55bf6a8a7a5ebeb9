# pyright: reportUnknownMemberType=false
"""Parquet files, a batch at a time, without the row groups whose statistics say that they do not matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stream_assets.core.window import EPOCH, TimeWindow
from stream_assets.errors import SourceError, SourceUnavailable
from stream_assets.sources.files.listing import Found
from stream_assets.sources.files.opening import reading
from stream_assets.sources.files.piece import Piece

BATCH_ROWS = 131_072


@dataclass(slots=True)
class Columnar:
    """Reads one Parquet file.

    Attributes:
        time: name of the event time column.
        times: names of the columns that tell times.
        within: row groups that have, as their statistics say, no event in it are left out; None reads all.
        latest: the greatest event time that is usable.
    """

    time: str
    times: Sequence[str]
    within: TimeWindow | None = None
    latest: datetime = EPOCH

    def __call__(self, file: Found, *, offset: int, times_only: bool) -> Iterator[Piece]:
        """Yield the file's rows; a `piece.Reader`. `offset` must be 0."""
        try:
            with (
                reading(file),
                pq.ParquetFile(file.path, pre_buffer=False, page_checksum_verification=True) as parquet,
            ):
                names = parquet.schema_arrow.names
                doubled = [name for name in dict.fromkeys(names) if names.count(name) > 1]
                if doubled:
                    raise SourceError(f"{file.path} has the column {doubled[0]!r} twice: rename one of them")
                wanted = [name for name in self.times if name in names] if times_only else None
                groups = self._groups(parquet)
                if not groups or wanted == []:
                    yield Piece(parquet.schema_arrow.empty_table())
                    return
                for batch in parquet.iter_batches(BATCH_ROWS, row_groups=groups, columns=wanted):
                    yield Piece(pa.Table.from_batches([batch]))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise _broken(file, error) from error
        except SourceUnavailable as error:
            # pyarrow says "cannot be read" of damaged pages, too; only the system's own errors have a number.
            if isinstance(error.__cause__, OSError) and error.__cause__.errno is None:
                raise _broken(file, error.__cause__) from error
            raise

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


def _broken(file: Found, error: BaseException) -> SourceError:
    return SourceError(
        f"{file.path} is no whole Parquet file ({str(error).splitlines()[0]}): write it again under a name "
        "that ends in .tmp and rename it when it is whole, or rename it so that it begins with '_' to go on "
        "without it"
    )
