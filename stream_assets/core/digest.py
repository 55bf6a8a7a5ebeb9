"""The arithmetic of digests: an order-free, additive 128-bit value of event rows.

A digest is the sum of its rows' hashes, kept as two sums modulo 2**64 (so it adds like numbers and takes no
notice of order). `events/hashing.py` computes the row hashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stream_assets.errors import LakeError

VERSION = 1
_MASK = (1 << 64) - 1
_TEXT = re.compile(f"{VERSION}:([0-9a-f]{{16}})([0-9a-f]{{16}})")


@dataclass(frozen=True, slots=True)
class Digest:
    """Sum of row hashes; `low` and `high` are unsigned 64-bit sums. The zero digest is that of no rows."""

    low: int = 0
    high: int = 0

    def __add__(self, other: Digest) -> Digest:
        return Digest((self.low + other.low) & _MASK, (self.high + other.high) & _MASK)

    def __sub__(self, other: Digest) -> Digest:
        return Digest((self.low - other.low) & _MASK, (self.high - other.high) & _MASK)

    def __str__(self) -> str:
        return f"{VERSION}:{self.high:016x}{self.low:016x}"

    @property
    def short(self) -> str:
        """Eight hexadecimal digits for file names."""
        return f"{(self.low ^ self.high) & 0xFFFFFFFF:08x}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read what `str` wrote.

        Raises:
            LakeError: terminal; another version, or no digest.
        """
        said = _TEXT.fullmatch(text)
        if said is None:
            raise LakeError(f"{text!r} is no digest of version {VERSION}: the lake was written by another release")
        return cls(int(said[2], 16), int(said[1], 16))

    @classmethod
    def total(cls, digests: Iterable[Digest]) -> Digest:
        """Return the sum, zero for none."""
        result = cls()
        for digest in digests:
            result += digest
        return result
