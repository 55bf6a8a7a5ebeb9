"""Columns of any type read as instants: microseconds since 1970-01-01 UTC, and why a value is none."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.core.window import EPOCH
from stream_assets.events.buffers import array_of, offsets_of, padded, plain, values_of
from stream_assets.events.cells import TIME_UNITS
from stream_assets.events.schema import INSTANT

# What may be wrong with a value; 0 is fine.
NULL, NO_ZONE, UNREADABLE, NO_TIME, REPEATED, SKIPPED = 1, 2, 3, 4, 5, 6

Problems = npt.NDArray[np.uint8]
Micros = npt.NDArray[np.int64]
_Numbers = npt.NDArray[np.int64]

_WIDTH = 48
_BLOCK_ROWS = 1 << 14
_DAYS_IN_MONTH = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def instant_of(at: datetime) -> Any:
    """Return one instant as a scalar; `pa.scalar` imports pandas, see `array_of`."""
    return array_of(np.array([(at - EPOCH) // timedelta(microseconds=1)], np.int64), INSTANT)[0]


def read_instants(array: pa.Array[Any], zone: str = "") -> tuple[Micros, Problems]:
    """Return the instant of each value and what is wrong with it; the instant of a wrong one is 0.

    Timestamps need a time zone; nanoseconds are floored to microseconds. Text is ISO 8601 with seconds
    optional and any number of decimals (floored to microseconds), `T` or a space between date and time, and
    an offset that is there: `Z`, ` UTC`, `+01`, `+0100` or `+01:00`. Anything else is no instant, numbers
    included.

    With a `zone`, times without one are local times there; those that its clocks show twice or never are no instants.
    """
    array = plain(array)
    kind: Any = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        micros, problems = _from_text(array)
    elif pa.types.is_timestamp(kind):
        micros, problems = _from_timestamps(values_of(array, np.int64), kind)
    else:
        micros, problems = np.zeros(len(array), np.int64), np.full(len(array), NO_TIME, np.uint8)
    if array.null_count:
        problems = np.where(np.asarray(array.is_null()), np.uint8(NULL), problems)
    bare = problems == NO_ZONE
    if zone and bare.any():
        micros, problems = micros.copy(), problems.copy()
        micros[bare], problems[bare] = _local(micros[bare], zone)
    wrong = problems != 0
    return (np.where(wrong, 0, micros) if wrong.any() else micros), problems


def _from_timestamps(values: Micros, kind: Any) -> tuple[Micros, Problems]:
    problems = np.full(len(values), 0 if kind.tz else NO_ZONE, np.uint8)
    if kind.unit == "ns":
        return values // 1_000, problems
    factor = TIME_UNITS[kind.unit]
    if factor == 1:
        return values, problems
    problems[np.abs(values) > (1 << 62) // factor] = UNREADABLE
    return values * factor, problems


def _local(micros: Micros, zone: str) -> tuple[Micros, Problems]:
    """Read local times of a zone."""
    naive: Any = pa.array(micros, pa.timestamp("us"))
    assume: Any = pc.assume_timezone
    ends: list[Micros] = []
    for end in ("earliest", "latest"):
        zoned: Any = assume(naive, zone, ambiguous=end, nonexistent=end)
        ends.append(zoned.cast(pa.int64()).to_numpy())
    first, last = ends
    # A local time that never is lies between two instants a microsecond apart; one that is twice, between two far apart.
    apart = last - first
    problems = np.where(apart == 0, 0, np.where(apart == 1, SKIPPED, REPEATED)).astype(np.uint8)
    return first, problems


def _from_text(array: pa.Array[Any]) -> tuple[Micros, Problems]:
    micros, problems = np.zeros(len(array), np.int64), np.zeros(len(array), np.uint8)
    for start in range(0, len(array), _BLOCK_ROWS):
        block = array.slice(start, _BLOCK_ROWS)
        micros[start : start + len(block)], problems[start : start + len(block)] = _Text(block).read()
    return micros, problems


class _Text:
    """A block of texts as a matrix of characters: a row for each place, 0 beyond a text's end."""

    def __init__(self, array: pa.Array[Any]) -> None:
        self.rows = np.arange(len(array))
        offsets = offsets_of(array)
        first, size = int(offsets[0]), int(offsets[-1] - offsets[0])
        self.lengths = np.diff(offsets)
        data = padded(array.buffers()[2], first, size, room=_WIDTH)
        texts = np.ndarray((size + 1,), f"V{_WIDTH}", data, 0, (1,))[offsets[:-1] - first]
        chars = np.ascontiguousarray(texts.view(np.uint8).reshape(-1, _WIDTH).T)
        chars[np.arange(_WIDTH)[:, None] >= self.lengths] = 0
        self.chars = chars

    def read(self) -> tuple[Micros, Problems]:
        chars, length = self.chars, self.lengths
        year, month, day = self.number(0, 4), self.number(5, 2), self.number(8, 2)
        hour, minute = self.number(11, 2), self.number(14, 2)
        fine = (chars[4] == ord("-")) & (chars[7] == ord("-")) & (chars[13] == ord(":"))
        fine &= np.isin(chars[10], np.frombuffer(b"Tt ", np.uint8)) & (length < _WIDTH)
        fine &= (year >= 1) & (month >= 1) & (month <= 12) & (hour >= 0) & (hour <= 23) & (minute >= 0) & (minute <= 59)
        leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
        fine &= (day >= 1) & (day <= _DAYS_IN_MONTH[np.clip(month, 0, 12)] - ((month == 2) & ~leap))
        with_seconds = chars[16] == ord(":")
        second = np.where(with_seconds, self.number(17, 2), 0)
        fine &= (second >= 0) & (second <= 59)
        fraction, end = self._fraction(np.where(with_seconds, 19, 16), with_seconds)
        shift, zoned, read_whole = self._zone(end)
        problems = np.where(fine & read_whole, np.where(zoned, 0, NO_ZONE), UNREADABLE).astype(np.uint8)
        minutes = (_days(year, month, day) * 24 + hour) * 60 + minute - shift
        return (minutes * 60 + second) * 1_000_000 + fraction, problems

    def number(self, place: int, width: int) -> _Numbers:
        """Return the number in `width` digits from `place`, or -1 where they are not digits."""
        total = np.zeros(len(self.rows), np.int64)
        digits = np.ones(len(self.rows), np.bool_)
        for char in self.chars[place : place + width]:
            digit = char - np.uint8(ord("0"))
            digits &= digit <= 9
            total = total * 10 + digit
        return np.where(digits, total, -1)

    def at(self, places: _Numbers) -> npt.NDArray[np.uint8]:
        return self.chars[np.minimum(places, _WIDTH - 1), self.rows]

    def _fraction(self, place: _Numbers, allowed: npt.NDArray[np.bool_]) -> tuple[_Numbers, _Numbers]:
        """Return the microseconds after the point, and where the zone begins."""
        point = self.at(place)
        run = allowed & ((point == ord(".")) | (point == ord(",")))
        micros, count = np.zeros(len(place), np.int64), np.zeros(len(place), np.int64)
        for digit_place in range(1, _WIDTH):
            digit = self.at(place + digit_place) - np.uint8(ord("0"))
            run = run & (digit <= 9)
            if not run.any():
                break
            count += run
            if digit_place <= 6:
                micros += np.where(run, digit, 0).astype(np.int64) * 10 ** (6 - digit_place)
        # A point without digits is left for the zone, which refuses it.
        return micros, place + np.where(count > 0, count + 1, 0)

    def _zone(self, place: _Numbers) -> tuple[_Numbers, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return minutes east of UTC, where a zone is given, and where the rest of the text could be read."""
        bare = self.lengths <= place
        place = place + (self.at(place) == ord(" "))
        rest = self.lengths - place
        sign = self.at(place)
        zulu = (rest == 1) & ((sign == ord("Z")) | (sign == ord("z")))
        zulu |= (rest == 3) & (sign == ord("U")) & (self.at(place + 1) == ord("T")) & (self.at(place + 2) == ord("C"))
        signed = ((sign == ord("+")) | (sign == ord("-"))) & ((rest == 3) | (rest == 5) | (rest == 6))
        if not signed.any():
            return np.zeros(len(place), np.int64), zulu, zulu | bare
        colon = rest == 6
        signed &= ~colon | (self.at(place + 3) == ord(":"))
        hours, minutes = self._pair(place + 1), np.where(rest > 3, self._pair(place + 3 + colon), 0)
        signed &= (hours >= 0) & (hours <= 23) & (minutes >= 0) & (minutes <= 59)
        east = np.where(sign == ord("-"), -1, 1) * (hours * 60 + minutes)
        return np.where(signed, east, 0), zulu | signed, zulu | signed | bare

    def _pair(self, place: _Numbers) -> _Numbers:
        tens, ones = (self.at(place + n).astype(np.int64) - ord("0") for n in (0, 1))
        return np.where((tens >= 0) & (tens <= 9) & (ones >= 0) & (ones <= 9), tens * 10 + ones, -1)


def _days(year: _Numbers, month: _Numbers, day: _Numbers) -> _Numbers:
    """Return days since 1970-01-01 in the Gregorian calendar (Howard Hinnant, `days_from_civil`)."""
    year = year - (month <= 2)
    of_era = year % 400
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return year // 400 * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
