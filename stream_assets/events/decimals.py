"""Decimals brought to one form, so that equal ones hash alike at every scale and width."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_assets.events.buffers import values_of
from stream_assets.events.mixing import U64, Words, hash_of, word

_SALT, _WIDE_SALT = word("decimal"), word("wide decimal")
_32, _63, _LOW_HALF, _TEN = (np.uint64(n) for n in (32, 63, 0xFFFFFFFF, 10))
_POWERS = 10 ** np.arange(19, dtype=np.int64)
_LARGEST = np.iinfo(np.int64).max

_Numbers = npt.NDArray[np.int64]


def decimal_lanes(array: pa.Array[Any]) -> tuple[Words, Words]:
    """Return two lanes for each decimal; a whole number that fits int64 has that integer as both.

    The form is `digits / 10**places` with digits that do not end in zero.
    """
    kind: Any = array.type
    places: _Numbers = np.full(len(array), kind.scale, np.int64)
    if kind.byte_width <= 8:
        digits = values_of(array, np.int32 if kind.byte_width == 4 else np.int64).astype(np.int64)
        return _narrow(digits, places)
    words: Words = values_of(array, np.dtype(f"V{kind.byte_width}")).view(U64).reshape(len(array), -1)
    digits = words[:, 0].view(np.int64).copy()
    large = np.flatnonzero((words[:, 1:].view(np.int64) != (digits >> 63)[:, None]).any(axis=1))
    if not len(large):
        return _narrow(digits, places)
    limbs, negative = _magnitudes(words[large])
    large_places = _strip_limbs(limbs, places[large])
    magnitude = limbs[:, 0] | (limbs[:, 1] << _32)
    digits[large] = np.where(negative, np.uint64(0) - magnitude, magnitude).view(np.int64)
    places[large] = large_places
    low, high = _narrow(digits, places)
    wide = limbs[:, 2:].any(axis=1) | (magnitude > np.uint64(_LARGEST) + negative)
    form = np.column_stack([limbs, negative, large_places.view(U64)])[wide]
    low[large[wide]], high[large[wide]] = hash_of(form, _WIDE_SALT)
    return low, high


def _narrow(digits: _Numbers, places: _Numbers) -> tuple[Words, Words]:
    left = np.flatnonzero((digits % 10 == 0) & (digits != 0))
    places = np.where(digits == 0, 0, places)
    while len(left):
        digits[left] //= 10
        places[left] -= 1
        left = left[digits[left] % 10 == 0]
    low, high = hash_of(np.column_stack([digits.view(U64), places.view(U64)]), _SALT)
    power = _POWERS[np.clip(-places, 0, 18)]
    whole = (places <= 0) & (places >= -18) & ((power == 1) | (np.abs(digits) <= _LARGEST // power))
    numbers = (digits * np.where(whole, power, 1)).view(U64)
    return np.where(whole, numbers, low), np.where(whole, numbers, high)


def _magnitudes(words: Words) -> tuple[Words, Words]:
    """Return absolute values as eight limbs of 32 bits, the lowest first, and 1 where the sign is minus."""
    negative = words[:, -1] >> _63
    limbs = np.zeros((len(words), 8), U64)
    carry = negative.copy()
    for place in range(words.shape[1] * 2):
        half = (words[:, place // 2] >> (_32 if place % 2 else np.uint64(0))) & _LOW_HALF
        half = np.where(negative, half ^ _LOW_HALF, half) + carry
        limbs[:, place] = half & _LOW_HALF
        carry = half >> _32
    return limbs, negative


def _strip_limbs(limbs: Words, places: _Numbers) -> _Numbers:
    """Divide each number by 10 while that leaves no rest, and return how many places are left."""
    left = np.arange(len(limbs))
    while len(left):
        quotient, rest = limbs[left], np.zeros(len(left), U64)
        for place in range(7, -1, -1):
            part = (rest << _32) | quotient[:, place]
            quotient[:, place], rest = part // _TEN, part % _TEN
        even = rest == 0
        left = left[even]
        limbs[left] = quotient[even]
        places[left] -= 1
    return places
