# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""The arithmetic of synthetic events: every value is a hash of (seed, window, number in the window).

Hashes are the finaliser of SplitMix64 (Steele, Lea and Flood 2014), which is a bijection: ids are unique.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import EPOCH, GRID, TimeWindow, floor_to_grid
from stream_assets.events.buffers import array_of

if TYPE_CHECKING:
    from stream_assets.sources.synthetic import SyntheticEvents

_INSTANT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string()),
        pa.field("event_time", _INSTANT),
        pa.field("arrival_time", _INSTANT),
        pa.field("user_id", pa.int64()),
        pa.field("country", pa.string()),
        pa.field("event_type", pa.string()),
        pa.field("device", pa.string()),
        pa.field("amount", pa.float64()),
    ]
)
LATE_SPAN = timedelta(hours=6)
"""A late event arrives at most this long after its window has settled."""

_BATCH_ROWS = 100_000
_MICROSECOND = timedelta(microseconds=1)
_GRID_US = GRID // _MICROSECOND
_DAY = timedelta(days=1)
_MASK = (1 << 64) - 1
_COUNTRIES = (
    ["US"] * 80 + ["DE"] * 45 + ["GB"] * 35 + ["FR"] * 30 + ["KR"] * 25 + ["BR"] * 21 + ["IN"] * 15 + ["AU"] * 5
)
_EVENTS = ["view"] * 150 + ["cart"] * 56 + ["purchase"] * 40 + ["refund"] * 10
_DEVICES = ["phone"] * 150 + ["desktop"] * 80 + ["tablet"] * 26
_DIGITS = np.array([int.from_bytes(f"{n:02x}".encode(), "little") for n in range(256)], dtype="<u2")

_Hashes = npt.NDArray[np.uint64]
_Micros = npt.NDArray[np.int64]


def generate(source: SyntheticEvents, span: TimeWindow, now: datetime) -> Iterator[pa.RecordBatch]:
    """Yield the events of `span` that have arrived by `now`, a whole number of windows a batch."""
    now_us = (now - EPOCH) // _MICROSECOND
    for windows, counts in _groups(source, span):
        rows = _Rows(source, windows, counts)
        times, arrivals, picked = rows.times, rows.arrivals, rows.number
        copies = np.flatnonzero(rows.is_doubled)
        if len(copies):
            times = np.concatenate([times, times[copies]])
            arrivals = np.concatenate([arrivals, rows.second_arrivals(copies)])
            picked = np.concatenate([picked, copies])
        visible = arrivals <= now_us
        start, end = (span.start - EPOCH) // _MICROSECOND, (span.end - EPOCH) // _MICROSECOND
        if windows[0] * _GRID_US < start or (windows[-1] + 1) * _GRID_US > end:
            visible &= (times >= start) & (times < end)
        amounts = rows.amounts(picked, len(times) - len(copies))
        if not visible.all():
            times, arrivals, picked, amounts = (
                times[visible],
                arrivals[visible],
                picked[visible],
                amounts[visible],
            )
        if len(times):
            yield _batch(rows, times, arrivals, picked, amounts)


def late_windows(source: SyntheticEvents, since: datetime, until: datetime) -> Intervals:
    """Return the windows of the late events that arrive in `(since, until]`."""
    first = floor_to_grid(since - LATE_SPAN - source.on_time) - GRID
    low, high = ((instant - EPOCH) // _MICROSECOND for instant in (since, until))
    touched: list[TimeWindow] = []
    if source.settling < source.on_time:
        ends = TimeWindow(floor_to_grid(since - source.on_time), max(since, until) + GRID)
        touched.extend(w for w in ends.windows() if w.end + source.settling <= until)
    for windows, counts in _groups(source, TimeWindow(first, max(first, until)), late_only=True):
        rows = _Rows(source, windows, counts)
        came = rows.is_late & (rows.arrivals > low) & (rows.arrivals <= high)
        starts = (EPOCH + int(window) * GRID for window in np.unique(rows.window[came]))
        touched.extend(TimeWindow(start, start + GRID) for start in starts)
    return Intervals.union_of(touched)


def _groups(source: SyntheticEvents, span: TimeWindow, *, late_only: bool = False) -> Iterator[tuple[_Micros, _Micros]]:
    """Yield numbers of consecutive windows with their row counts, about `_BATCH_ROWS` rows at a time."""
    per_window = round(source.rate * GRID.total_seconds() * 1_000_000)
    quiet = source.quiet_hours()
    windows: list[int] = []
    counts: list[int] = []
    waiting = 0
    for number in range((span.start - EPOCH) // GRID, -((EPOCH - span.end) // GRID)):
        count = (number + 1) * per_window // 1_000_000 - number * per_window // 1_000_000
        if quiet is not None and _is_quiet((number * GRID) % _DAY, quiet):
            continue
        if late_only:
            # Late events are the first of their window, so that they can be listed without the others.
            count = min(count, _share(count, source.late_share, source.seed, number, salt=1))
        if not count:
            continue
        windows.append(number)
        counts.append(count)
        waiting += count
        if waiting >= _BATCH_ROWS:
            yield np.array(windows), np.array(counts)
            windows, counts, waiting = [], [], 0
    if windows:
        yield np.array(windows), np.array(counts)


def _is_quiet(since_midnight: timedelta, quiet: tuple[timedelta, timedelta]) -> bool:
    start, end = quiet
    return start <= since_midnight < end if start < end else since_midnight >= start or since_midnight < end


def _share(count: int, share: float, seed: int, window: int, *, salt: int) -> int:
    """Return how many of `count` events, so that the share holds on average over windows."""
    key = np.array([(window * 4 + salt) & _MASK], np.uint64)
    dice = int(_mix(key ^ np.uint64((seed * 0x9E3779B97F4A7C15) & _MASK))[0]) / (_MASK + 1)
    return int(count * share + dice)


def _mix(values: _Hashes) -> _Hashes:
    values = values ^ (values >> np.uint64(30))
    values = values * np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


class _Rows:
    """The events of some windows, once each, not yet filtered."""

    def __init__(self, source: SyntheticEvents, windows: _Micros, counts: _Micros) -> None:
        self.window = np.repeat(windows, counts)
        self.number = np.arange(len(self.window))
        ends = np.cumsum(counts)
        place = self.number - np.repeat(ends - counts, counts)
        per_window = round(source.rate * GRID.total_seconds() * 1_000_000)
        full = [(int(w) + 1) * per_window // 1_000_000 - int(w) * per_window // 1_000_000 for w in windows]
        late = np.array(
            [
                min(n, _share(n, source.late_share, source.seed, int(w), salt=1))
                for n, w in zip(full, windows, strict=True)
            ]
        )
        doubled = late + np.array(
            [_share(n, source.duplicate_share, source.seed, int(w), salt=2) for n, w in zip(full, windows, strict=True)]
        )
        self.is_late = place < np.repeat(late, counts)
        self.is_doubled = ~self.is_late & (place < np.repeat(doubled, counts))
        # 24 bits hold the numbers of one window at MAX_RATE (15 million), 40 bits the windows.
        key = (self.window.astype(np.uint64) << np.uint64(24)) | place.astype(np.uint64)
        seed = _mix(np.array([source.seed & _MASK], np.uint64))[0]
        self.ids = _mix(key ^ seed)
        self.times = self.window * _GRID_US + self._below(_GRID_US, self._lane(1))
        self._lateness = source.on_time // _MICROSECOND
        self.arrivals = self.times + self._below(max(1, min(self._lateness, 4_000_000)) // 2 + 1, self._lane(2))
        self.arrivals = np.minimum(self.arrivals, self.times + max(0, self._lateness - 2))
        if self.is_late.any():
            self.arrivals = np.where(self.is_late, self._late_arrivals(), self.arrivals)

    def _lane(self, number: int, rows: _Micros | None = None) -> _Hashes:
        ids = self.ids if rows is None else self.ids[rows]
        return _mix(ids + np.uint64((number * 0x9E3779B97F4A7C15) & _MASK))

    @staticmethod
    def _below(limit: int, hashes: _Hashes) -> _Micros:
        """Return numbers in `[0, limit)`; `limit` < 2**32."""
        return (((hashes >> np.uint64(32)) * np.uint64(limit)) >> np.uint64(32)).astype(np.int64)

    def _late_arrivals(self) -> _Micros:
        """Return instants after the window has settled, most within an hour, at most 6 hours later."""
        share = (self._lane(3) >> np.uint64(11)).astype(np.float64) / (1 << 53)
        later = 1 + (share**3 * (LATE_SPAN // _MICROSECOND - 1)).astype(np.int64)
        return (self.window + 1) * _GRID_US + self._lateness + later

    def second_arrivals(self, rows: _Micros) -> _Micros:
        """Return when the copies of `rows` arrive: after the first, and still in time."""
        later = 1 + self._below(1_000_000, self._lane(4, rows))
        return np.minimum(self.arrivals[rows] + later, self.times[rows] + max(0, self._lateness - 1))

    def users(self, rows: _Micros) -> _Micros:
        share = (self._lane(5, rows) >> np.uint64(40)).astype(np.float64) / (1 << 24)
        return 1 + (share * share * 100_000).astype(np.int64)

    def amounts(self, rows: _Micros, originals: int) -> npt.NDArray[np.float64]:
        share = (self._lane(6, rows) >> np.uint64(40)).astype(np.float64) / (1 << 24)
        cents = (500 + share * share * share * 49_400).astype(np.int64)
        if len(rows) > originals:
            corrected = (self._lane(7, rows[originals:]) & np.uint64(3)) == 0
            cents[originals:] += np.where(corrected, 100, 0)
        return cents / 100

    def words(self, rows: _Micros) -> tuple[pa.Array[Any], pa.Array[Any], pa.Array[Any]]:
        lane = self._lane(8, rows).view(np.uint8).reshape(-1, 8)
        return _words(lane[:, 0], _COUNTRIES), _words(lane[:, 1], _EVENTS), _words(lane[:, 2], _DEVICES)


def _words(bytes_: npt.NDArray[np.uint8], choices: list[str]) -> Any:
    distinct = list(dict.fromkeys(choices))
    codes = np.array([distinct.index(word) for word in choices], np.int8)[bytes_]
    indices: Any = array_of(codes, pa.int8())
    arrays: Any = pa.DictionaryArray
    ends = np.cumsum([0, *map(len, distinct)], dtype=np.int32)
    texts = pa.StringArray.from_buffers(
        len(distinct), pa.py_buffer(ends.data), pa.py_buffer("".join(distinct).encode())
    )
    return arrays.from_arrays(indices, texts).dictionary_decode()


def _hexadecimal(ids: _Hashes) -> pa.Array[Any]:
    text = _DIGITS[ids.astype(">u8").view(np.uint8)]
    places = np.arange(0, 16 * len(ids) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(places.data), pa.py_buffer(text.data))


def _batch(
    rows: _Rows, times: _Micros, arrivals: _Micros, picked: _Micros, amounts: npt.NDArray[np.float64]
) -> pa.RecordBatch:
    instants = [array_of(values, _INSTANT) for values in (times, arrivals)]
    columns = [_hexadecimal(rows.ids[picked]), *instants, array_of(rows.users(picked), pa.int64()), *rows.words(picked)]
    return pa.RecordBatch.from_arrays([*columns, array_of(amounts, pa.float64())], schema=SCHEMA)
