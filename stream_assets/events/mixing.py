"""The arithmetic under row hashes: 64-bit mixers, keys, and a hash of many byte strings at once.

Part of what a digest *means*: any change here is a new `core.digest.VERSION`.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_assets.events.buffers import padded

U64 = np.dtype("<u8")
Words = npt.NDArray[np.uint64]

# Odd multipliers: the golden ratio (Knuth), and those of MurmurHash3's and SplitMix64's finalizers.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MURMUR = np.uint64(0xFF51AFD7ED558CCD)
_MURMUR_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SPLIT = np.uint64(0xBF58476D1CE4E5B9)
_SPLIT_2 = np.uint64(0x94D049BB133111EB)
_29, _31, _32, _33 = (np.uint64(n) for n in (29, 31, 32, 33))

# Bytes hashed at a time: a block's scratch arrays stay in the processor's cache.
_BLOCK_BYTES = 1 << 20
_TAIL = np.array([0, *((1 << (8 * n)) - 1 for n in range(1, 9))], U64)


def mix(words: Words) -> Words:
    """Return MurmurHash3's 64-bit finalizer of each word: a bijection that spreads every bit over all."""
    x = words >> _33
    x ^= words
    x *= _MURMUR
    x ^= x >> _33
    x *= _MURMUR_2
    x ^= x >> _33
    return x


def word(text: str) -> np.uint64:
    """Return a constant 64-bit word for a text."""
    return np.frombuffer(blake2b(text.encode(), digest_size=8).digest(), U64)[0]


@lru_cache(maxsize=4096)
def key_of(name: str, kind: str) -> tuple[np.uint64, np.uint64]:
    """Return the two keys of a column's name and type class."""
    low, high = np.frombuffer(blake2b(name.encode(), person=kind.encode(), digest_size=16).digest(), U64)
    return low, high


def slice_sums(lane: Words, ends: npt.NDArray[np.int64]) -> Words:
    """Return the sum of each slice `[ends[i], ends[i + 1])`, modulo 2**64; an empty slice gives zero."""
    sums = np.concatenate([np.zeros(1, U64), np.cumsum(lane, dtype=U64)])
    return sums[ends[1:]] - sums[ends[:-1]]


def hash_of(rows: Words, salt: np.uint64) -> tuple[Words, Words]:
    """Return two lanes for each row of a matrix of words."""
    low = np.full(len(rows), salt, U64)
    high = ~low
    for column in rows.T:
        low = mix(low ^ column) * _GOLDEN
        high = mix(high + column) * _SPLIT
    return low, high


def hash_bytes(offsets: npt.NDArray[np.int64], data: pa.Buffer | None) -> tuple[Words, Words]:
    """Return two lanes for each of the byte strings `data[offsets[i]:offsets[i + 1]]`.

    A string is cut into words of 8 bytes, the last filled up with zeros. Each word is mixed with its
    position, the mixed words are summed, and the length is added: one code path for short, long and skewed
    lengths.
    """
    rows = len(offsets) - 1
    low, high = np.empty(rows, U64), np.empty(rows, U64)
    first = 0
    while first < rows:
        last = int(np.searchsorted(offsets, int(offsets[first]) + _BLOCK_BYTES, side="right")) - 1
        last = min(max(last, first + 1), rows)
        low[first:last], high[first:last] = _hash_block(offsets[first : last + 1], data)
        first = last
    return low, high


def _hash_block(offsets: npt.NDArray[np.int64], data: pa.Buffer | None) -> tuple[Words, Words]:
    begin, size = int(offsets[0]), int(offsets[-1] - offsets[0])
    lengths = np.diff(offsets)
    counts = np.maximum(lengths + 7, 8) >> 3
    copied = padded(data, begin, size, room=8)
    # A view of a word at every byte: Arrow strings start anywhere.
    anywhere: Words = np.ndarray((size + 1,), U64, copied, 0, (1,))
    starts: npt.NDArray[np.int64] | None = None
    longest = int(lengths.max())
    if longest and longest % 8 == 0 and size == longest * len(lengths):
        # Ids often have one length of whole words: then the words lie side by side, and none has a tail.
        words = copied[:size].view(U64)
        starts = np.arange(0, len(words), longest >> 3)
        words ^= np.tile(np.arange(1, (longest >> 3) + 1).view(U64), len(lengths)) * _GOLDEN
    elif longest <= 8:
        words = anywhere[offsets[:-1] - begin]
        words &= _TAIL[lengths]
        words ^= _GOLDEN
    else:
        ends = np.cumsum(counts)
        starts = ends - counts
        position = np.arange(int(ends[-1])) - np.repeat(starts, counts)
        words = anywhere[np.repeat(offsets[:-1] - begin, counts) + (position << 3)]
        words[ends - 1] &= _TAIL[lengths - ((counts - 1) << 3)]
        position += 1
        words ^= position.view(U64) * _GOLDEN
    words *= _SPLIT
    words ^= words >> _32
    words *= _SPLIT_2
    words ^= words >> _29
    low: Words = words if starts is None else np.add.reduceat(words, starts)
    words = words * _MURMUR
    words ^= words >> _31
    high: Words = words if starts is None else np.add.reduceat(words, starts)
    sizes: Words = lengths.view(U64)
    return low + sizes, high ^ sizes
