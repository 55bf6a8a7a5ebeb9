"""What one file may cost: files come from strangers, and a few bytes of some formats unfold into more than there is room for.

A file beyond a limit is one whose rest cannot be read: it stops the windows that it may have events of, and no others.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from stream_assets.errors import SourceError
from stream_assets.sources.files.listing import Found

FREE_BYTES = 256 << 20
"""Content that any file may have, however small it is. What is read is put aside on disk, so this costs time and no memory."""

MOST_CELLS = 1 << 25
"""Rows times keys of JSON that are parsed at once: every key is a column, with room for it in every row."""

BATCH_BYTES = 256 << 20
"""Text and bytes of Parquet that are decoded at once."""

MOST_FLAWS = 1000
"""Lines of a file that are no rows: of a file with more of them nothing else is believed, or told one by one."""

LONGEST_LINE = 64 << 20
"""Bytes of a JSON object: it is parsed in one piece, which takes some twenty times as much memory."""


class Expansion:
    """Counts what one file has given, and refuses a file that unfolds into much more than itself."""

    def __init__(self, file: Found, most: int) -> None:
        self._file, self._most = file, most
        self._limit = max(FREE_BYTES, file.size * most)
        self._given = 0

    def add(self, count: int) -> None:
        """Count bytes that the file has given.

        Raises:
            SourceError: terminal; it is too many for a file of its size.
        """
        self._given += count
        self.refuse(self._given)

    def refuse(self, total: int) -> None:
        """Raise where a file of this size must not give so many bytes in all."""
        if total > self._limit:
            raise SourceError(
                f"{self._file.path} has {self._file.size:,} bytes that unfold into more than {self._limit:,}, {self._most} "
                "times as many: say max_ratio= in the source if that is right, or rename it so that it begins with '_' to "
                "go on without it"
            )


def too_many_flaws(file: Found) -> SourceError:
    """Return the error of a file that has more than `MOST_FLAWS` lines that are no rows."""
    return SourceError(
        f"{file.path} has more than {MOST_FLAWS:,} lines that are no rows: is the format right? Mend it, or rename it so that "
        "it begins with '_' to go on without it"
    )


def refuse_columns(file: Found, count: int, most: int) -> None:
    """Raise where a file has too many columns: each costs memory in every row and room in every receipt.

    Raises:
        SourceError: terminal.
    """
    if count > most:
        raise SourceError(
            f"{file.path} has more than {most:,} columns ({count:,} so far): keep keys that vary as text or as a list, say "
            "max_columns= in the source if that is right, or rename it so that it begins with '_' to go on without it"
        )


def refuse_doubled(file: Found, names: list[str]) -> None:
    """Raise where a file has two columns of one name.

    Raises:
        SourceError: terminal.
    """
    if len(set(names)) < len(names):
        raise SourceError(f"{file.path} has the column {first_doubled(names)!r} twice: rename one of them")


def first_doubled(names: list[str]) -> str:
    """Return the first name that is there again, by one look at each: there may be millions."""
    seen: set[str] = set()
    return next(name for name in names if name in seen or seen.add(name))


def columns_of(schema: pa.Schema) -> int:
    """Return how many columns a table has, those inside of others counted too."""
    kinds: list[Any] = list(schema.types)
    count = 0
    while kinds:
        kind = kinds.pop()
        count += 1
        kinds += [kind.field(place).type for place in range(kind.num_fields)]
    return count
