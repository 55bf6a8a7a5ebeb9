"""What the readers of the three formats give: tables, and the lines that are none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from stream_assets.sources.files.listing import Found


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something in a file that is no row; it stands before row `before` of its piece, or at its end."""

    before: int
    message: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows of a file, with the flaws between them."""

    table: pa.Table
    flaws: tuple[Flaw, ...] = ()


class Reader(Protocol):
    """Reads one file from its beginning, or from an offset where a line begins.

    Raises:
        IncompleteLine: transient; after everything else was given.
        SourceError: terminal; from here on the file cannot be read.
        SourceUnavailable: transient.
    """

    def __call__(self, file: Found, *, offset: int, times_only: bool) -> Iterator[Piece]:
        """Yield the file's rows in order, all columns or those that tell times."""
        ...
