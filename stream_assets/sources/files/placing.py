# pyright: reportUnknownMemberType=false
"""Gives every row of a file its window, also those whose event time cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import EPOCH, GRID, TimeWindow
from stream_assets.errors import SourceError
from stream_assets.events.instants import NO_ZONE, read_instants
from stream_assets.sources.files.piece import Piece

AHEAD = timedelta(days=1)
"""Event times further ahead of the clock are not usable, as `events.conform` has it."""

_MICROSECOND = timedelta(microseconds=1)
_GRID_US = GRID // _MICROSECOND
_MOST_WITHOUT_TIME = 1_000_000

# Later ones have no window: datetime ends with the year 9999.
_LAST = (datetime.max.replace(tzinfo=EPOCH.tzinfo) - EPOCH - GRID) // _MICROSECOND

Micros = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def micros(instant: datetime) -> int:
    """Return microseconds since 1970-01-01 UTC."""
    return (instant - EPOCH) // _MICROSECOND


def instant(value: int) -> datetime:
    """Return the instant of so many microseconds since 1970-01-01 UTC."""
    return EPOCH + value * _MICROSECOND


def intervals_of(numbers: npt.NDArray[np.int64]) -> Intervals:
    """Return the windows of these numbers since 1970, ascending and each once, merged."""
    if not len(numbers):
        return Intervals()
    breaks = np.flatnonzero(np.diff(numbers) > 1)
    firsts = numbers[np.concatenate([[0], breaks + 1])]
    lasts = numbers[np.concatenate([breaks, [len(numbers) - 1]])]
    return Intervals(
        tuple(
            TimeWindow(EPOCH + int(a) * GRID, EPOCH + (int(b) + 1) * GRID) for a, b in zip(firsts, lasts, strict=True)
        )
    )


@dataclass(frozen=True, slots=True)
class Placed:
    """Rows with the instant by which each belongs to a window.

    Attributes:
        table: the rows.
        places: microseconds: the event time where it is usable, else that of the nearest usable row before
        it.
        sound: which rows have a usable event time; None for all.
        ahead: windows of rows that are not usable yet, because they are ahead of the clock.
        flaws: (row, message) of what stands before a row; the row may be the table's length.
    """

    table: pa.Table
    places: Micros
    sound: Mask | None
    ahead: Intervals
    flaws: tuple[tuple[int, str], ...]


class Placing:
    """Places the pieces of one file, in their order.

    A row without a usable time stands where the row before it stands; at the file's head, where the first
    usable one does; in a file without any, at the file's modification time. So each is in exactly one window,
    the same one in every read.
    """

    def __init__(self, *, time: str, zone: str, now: datetime, fallback: datetime, last: int | None, path: str) -> None:
        self.last = last
        self._time = time
        self._zone = zone
        self._latest = micros(now + AHEAD)
        self._fallback = micros(fallback)
        self._path = path
        self._head: list[Placed] = []
        self._head_rows = 0

    def place(self, piece: Piece) -> Iterator[Placed]:
        """Yield the rows of `piece`, after the rows that waited for a first usable time.

        Raises:
            SourceError: terminal; a million rows, and none has a usable time.
        """
        flaws = tuple((flaw.before, flaw.message) for flaw in piece.flaws)
        table = piece.table
        times, usable, sound, ahead = self._times(table)
        if not len(times) and self.last is not None:
            yield Placed(table, times, sound, ahead, flaws)
            return
        if not usable.any():
            if self.last is None:
                self._wait(Placed(table, times, sound, ahead, flaws))
                return
            yield Placed(table, np.full(len(times), self.last), sound, ahead, flaws)
            return
        if self.last is None:
            self.last = int(times[np.argmax(usable)])
            yield from self._flush(self.last)
        if not usable.all():
            nearest = np.maximum.accumulate(np.where(usable, np.arange(len(times)), -1))
            times = np.where(nearest >= 0, times[np.maximum(nearest, 0)], self.last)
        self.last = int(times[-1])
        yield Placed(table, times, sound, ahead, flaws)

    def finish(self) -> Iterator[Placed]:
        """Yield the rows that still wait."""
        yield from self._flush(self._fallback)

    def _wait(self, placed: Placed) -> None:
        self._head.append(placed)
        self._head_rows += placed.table.num_rows
        if self._head_rows > _MOST_WITHOUT_TIME:
            raise SourceError(
                f"{self._path}: none of the first {self._head_rows} rows has a usable time in column "
                f"{self._time!r}: is it the right column, with time zone or offset?"
            )

    def _flush(self, place: int) -> Iterator[Placed]:
        for waiting in self._head:
            filled = np.full(waiting.table.num_rows, place)
            yield Placed(waiting.table, filled, waiting.sound, waiting.ahead, waiting.flaws)
        self._head.clear()

    def _times(self, table: pa.Table) -> tuple[Micros, Mask, Mask | None, Intervals]:
        """Return times, which of them give a place, which are sound (None: all), and the windows ahead."""
        if self._time not in table.schema.names or not table.num_rows:
            none = np.zeros(table.num_rows, np.bool_)
            return np.zeros(table.num_rows, np.int64), none, none, Intervals()
        column: Any = table.column(self._time)
        done = [_read(chunk, self._zone) for chunk in column.chunks]
        times, readable, zoned = (np.concatenate(parts) for parts in zip(*done, strict=True))
        inside = (times >= 0) & (times <= self._latest)
        usable = readable & inside
        sound = usable & zoned
        later = times[readable & (times > self._latest) & (times < _LAST)]
        return times, usable, None if sound.all() else sound, intervals_of(np.unique(later // _GRID_US))


def _read(chunk: pa.Array[Any], zone: str) -> tuple[Micros, Mask, Mask]:
    """Return instants, which could be read, and which have a zone.

    One without a zone is read as UTC here, so that its rejection is counted near where it belongs.
    """
    times, wrong = read_instants(chunk, zone)
    bare = wrong == NO_ZONE
    if not bare.any():
        return times, wrong == 0, ~bare
    kind: Any = chunk.type
    zoned: Any
    if pa.types.is_timestamp(kind):
        zoned = chunk.cast(pa.timestamp(kind.unit, "UTC"))
    else:
        join: Any = pc.binary_join_element_wise
        zoned = join(chunk.cast(pa.string()), "Z", "")
    naive, still_wrong = read_instants(zoned)
    return np.where(bare, naive, times), (wrong == 0) | (bare & (still_wrong == 0)), ~bare
