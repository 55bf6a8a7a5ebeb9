# pyright: reportUnknownMemberType=false
"""One pass over one file: gives the rows of a range, and learns what the ledger keeps of the file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import EPOCH, GRID, TimeWindow, floor_to_grid
from stream_assets.errors import SourceError, printable
from stream_assets.events.schema import AROUND, INSTANT
from stream_assets.sources.files.columnar import Columnar
from stream_assets.sources.files.delimited import Delimited
from stream_assets.sources.files.jsonl import JsonLines
from stream_assets.sources.files.limits import MOST_FLAWS, columns_of, refuse_columns, too_many_flaws
from stream_assets.sources.files.listing import Found
from stream_assets.sources.files.opening import IncompleteLine, mark
from stream_assets.sources.files.piece import Piece, Reader
from stream_assets.sources.files.placing import (
    AHEAD,
    Mask,
    Micros,
    Placed,
    Placing,
    instant,
    intervals_of,
    micros,
)
from stream_assets.sources.protocol import ORIGIN_KEY, FileFact

if TYPE_CHECKING:
    from stream_assets.sources.files import FileEvents

_GRID_US = GRID // timedelta(microseconds=1)
_UNMERGED = 64


def reader_of(source: FileEvents, *, within: TimeWindow | None = None, now: datetime = EPOCH) -> Reader:
    """Return a reader for files of the source's format; `within` lets it leave out parts of Parquet files."""
    times = [source.time] if source.arrival is None else [source.time, source.arrival]
    if source.format == "jsonl":
        return JsonLines(source.id, times, source.max_ratio)
    if source.format == "csv":
        return Delimited([source.id, *times], times[:1], source.column_types(), source.max_ratio, source.max_columns)
    return Columnar(source.time, times[:1], source.max_ratio, source.max_columns, within, now + AHEAD)


class Scan:
    """One pass over one file.

    Args:
        source: the folder.
        file: the file, as it was listed.
        now: the present instant.
        grown: the fact of an older version of which this one is known to be a continuation: only what was
            added is read, and `fact` is about both together.
    """

    def __init__(self, source: FileEvents, file: Found, *, now: datetime, grown: FileFact | None = None) -> None:
        self._source, self._file, self._now, self._grown = source, file, now, grown
        self._offset = grown.size if grown else 0
        self._windows: list[Micros] = []
        self._ahead = Intervals()
        self._low: int | None = None
        self._high: int | None = None
        self._rows = 0
        self._errors: list[str] = []
        self._broken = Intervals()
        self._flaws: list[tuple[str, int | None]] = []
        self._whole = file.size
        self._last = micros(grown.last_time) if grown and grown.last_time else None

    def learn(self, reader: Reader) -> FileFact:
        """Read the times alone and return the fact; a file that cannot be read is one with an error.

        Raises:
            SourceUnavailable: transient.
        """
        try:
            for _ in self._placed(reader, None, times_only=True):
                pass
        except IncompleteLine as error:
            self._whole = error.whole
        except SourceError as error:
            self._give_up(error)
        return self.fact

    def read(self, reader: Reader, window: TimeWindow) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `window`; `fact` is right afterwards, unless the reader left out parts.

        Raises:
            SourceError: terminal; the file has something unreadable that may be of `window`.
            SourceUnavailable: transient; its last line is not whole, and may be of `window`.
        """
        columns = [self._source.id, self._source.time]
        try:
            for placed in self._placed(reader, window, times_only=False):
                yield from _rows_of(placed, window, columns, self._file)
        except IncompleteLine as error:
            self._whole = error.whole
            if self._being_written().overlaps(window):
                raise
        except SourceError as error:
            self._give_up(error)
            if self._broken & Intervals.of(window):
                raise

    @property
    def fact(self) -> FileFact:
        """What the pass has learnt, with all windows as `fresh` (those of the added part, if it grew)."""
        seen = np.unique(np.concatenate(self._windows)) if self._windows else np.zeros(0, np.int64)
        windows = intervals_of(seen) | self._ahead
        old = self._grown
        low, high = (None if value is None else instant(value) for value in (self._low, self._high))
        if old:
            low = min(filter(None, (low, old.min_time)), default=None)
            high = max(filter(None, (high, old.max_time)), default=None)
        return FileFact(
            path=self._file.name,
            size=self._whole,
            mtime_ns=self._file.mtime_ns,
            rows=self._rows + (old.rows if old else 0),
            min_time=low,
            max_time=high,
            error="; ".join(self._errors[:3]) or None,
            windows=windows | old.windows if old else windows,
            broken=self._broken,
            fresh=windows,
            mark=mark(self._file, self._whole) if self._source.format != "parquet" else "",
            last_time=None if self._last is None else instant(self._last),
        )

    def _placed(self, reader: Reader, window: TimeWindow | None, *, times_only: bool) -> Iterator[Placed]:
        placing = Placing(
            time=self._source.time,
            zone=self._source.timezone,
            now=self._now,
            fallback=_changed(self._file),
            last=self._last,
            path=str(self._file.path),
        )
        incomplete: IncompleteLine | None = None
        pieces = reader(self._file, offset=self._offset, times_only=times_only)
        try:
            for piece in self._checked(pieces, times_only=times_only):
                for placed in placing.place(piece):
                    self._note(placed, window)
                    yield placed
        except IncompleteLine as error:
            incomplete = error
        for placed in placing.finish():
            self._note(placed, window)
            yield placed
        self._close_flaws(None, window)
        if incomplete:
            raise incomplete

    def _checked(self, pieces: Iterator[Piece], *, times_only: bool) -> Iterator[Piece]:
        """Refuse a file without the columns that make an event; the first rows tell."""
        waiting = True
        flaws = 0
        seen: set[str] = set()
        for piece in pieces:
            names = piece.table.schema.names
            seen.update(names)
            refuse_columns(self._file, max(len(seen), columns_of(piece.table.schema)), self._source.max_columns)
            flaws += len(piece.flaws)
            if flaws > MOST_FLAWS:
                raise too_many_flaws(self._file)
            if waiting and names:
                waiting = False
                needed = {"time": self._source.time}
                if not times_only:
                    needed["id"] = self._source.id
                    if self._source.arrival is not None and self._source.format != "jsonl":
                        needed["arrival"] = self._source.arrival
                for role, name in needed.items():
                    if name not in names:
                        raise SourceError(
                            f"{self._file.path} has no column {name!r}: name its {role} column with {role}=; "
                            f"there are {', '.join(map(repr, names))}"
                        )
            yield piece

    def _note(self, placed: Placed, window: TimeWindow | None) -> None:
        places = placed.places
        self._rows += len(places)
        self._ahead |= placed.ahead
        if len(places):
            self._close_flaws(int(places[0]), window)
        for row, message in placed.flaws:
            self._flaws.append((printable(message), int(places[row - 1]) if row else self._last))
            if row < len(places):
                self._close_flaws(int(places[row]), window)
        if not len(places):
            return
        self._last = int(places[-1])
        self._windows.append(np.unique(places // _GRID_US))
        if len(self._windows) > _UNMERGED:
            self._windows = [np.unique(np.concatenate(self._windows))]
        sound = places if placed.sound is None else places[placed.sound]
        if len(sound):
            low, high = int(sound.min()), int(sound.max())
            self._low = low if self._low is None else min(low, self._low)
            self._high = high if self._high is None else max(high, self._high)

    def _close_flaws(self, after: int | None, window: TimeWindow | None) -> None:
        """A flaw may hide events of the windows from the row before it to the row after it, or to the file's change."""
        for message, before in self._flaws:
            if after is None:
                span = self._rest()
            else:
                ends = [end for end in (before, after) if end is not None]
                span = TimeWindow(floor_to_grid(instant(min(ends))), floor_to_grid(instant(max(ends))) + GRID)
            self._broken |= Intervals.of(span)
            self._errors.append(message)
            if window is not None and span.overlaps(window):
                raise SourceError(message)
        self._flaws.clear()

    def _give_up(self, error: SourceError) -> None:
        """Note that the rest of the file cannot be read."""
        if str(error) in self._errors:
            return
        self._errors.append(str(error))
        self._broken |= Intervals.of(self._rest())

    def _rest(self) -> TimeWindow:
        """Where what was not read may have events: from the last row to when the file was last written."""
        return self._until_changed(EPOCH if self._last is None else floor_to_grid(instant(self._last)))

    def _being_written(self) -> TimeWindow:
        """Where a last line that is not whole may have its event.

        By the declared lateness it is not much older than the newest row, or it is a late event; and whoever wrote it
        did so at the file's last change. A line that nobody will end must not stop all later windows.
        """
        return self._until_changed(EPOCH if self._high is None else instant(self._high) - self._source.settling)

    def _until_changed(self, start: datetime) -> TimeWindow:
        return TimeWindow(start, max(floor_to_grid(_changed(self._file)), start) + GRID)


def _changed(file: Found) -> datetime:
    return EPOCH + timedelta(microseconds=file.mtime_ns // 1000)


def _rows_of(placed: Placed, window: TimeWindow, columns: list[str], file: Found) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `window`; apart, with the instant of the rows around, those that will be rejected for their time."""
    origin = {ORIGIN_KEY: str(file.path).encode(errors="replace")}
    table, places = placed.table.replace_schema_metadata(origin), placed.places
    for name in columns:
        if name not in table.schema.names:
            table = table.append_column(name, pa.nulls(table.num_rows))
    inside = (places >= micros(window.start)) & (places < micros(window.end))
    sound = inside if placed.sound is None else inside & placed.sound
    yield from _picked(table, sound).to_batches()
    if placed.sound is None:
        return
    unsound = inside & ~placed.sound
    around = pa.array(places[unsound], pa.int64()).view(INSTANT)
    yield from _picked(table, unsound).append_column(AROUND, around).to_batches()


def _picked(table: pa.Table, mask: Mask) -> pa.Table:
    count = int(np.count_nonzero(mask))
    if not count:
        return table.slice(0, 0)
    first = int(np.argmax(mask))
    # Rows in the order of time are one slice, which copies nothing.
    if mask[first : first + count].all():
        return table.slice(first, count)
    return table.filter(pa.array(mask))
