"""Follows the quotes of a CSV file, so that one which is not closed does not swallow the rows behind it unnoticed.

The rules are those of pyarrow's parser: a quote opens where a cell begins, two inside are one of the text, any other
closes. In a cell that does not begin with a quote they are text.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_QUOTE = ord('"')
_IS_BORDER = np.isin(np.arange(256), np.frombuffer(b",\n\r", np.uint8))
_MAY_TOUCH = np.isin(np.arange(256), np.frombuffer(b',\n\r"', np.uint8))

Bytes = npt.NDArray[np.uint8]


class QuotedAmid(ValueError):
    """A quote closes and its cell goes on, at `place` bytes from the beginning."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


class Quotes:
    """Told of all bytes in order.

    Attributes:
        opened_at: where the quote stands that is open now, in bytes from the beginning; None outside of quotes.
    """

    def __init__(self) -> None:
        self.opened_at: int | None = None
        self._seen = 0
        self._before = ord("\n")
        self._held = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; none at the end.

        Raises:
            QuotedAmid: a quote closes and its cell goes on: one before it was not closed, or this one is not doubled.
        """
        is_last = not chunk
        chunk = self._held + chunk
        self._held = b""
        if chunk.endswith(b'"') and not is_last:
            # Only the byte behind it tells what it is; quotes in a row belong together.
            text = chunk.rstrip(b'"')
            self._held, chunk = chunk[len(text) :], text
        if _QUOTE in chunk:
            self._follow(np.frombuffer(chunk, np.uint8))
        if chunk:
            self._before = chunk[-1]
        self._seen += len(chunk)

    def _follow(self, text: Bytes) -> None:
        quotes = np.flatnonzero(text == _QUOTE)
        before = np.where(quotes > 0, text[quotes - 1], self._before)
        behind = np.where(quotes + 1 < len(text), text[np.minimum(quotes + 1, len(text) - 1)], ord("\n"))
        first = int(self.opened_at is None)
        # Every other quote opens, as far as the file is as it should be.
        openings = slice(1 - first, None, 2)
        if not (_MAY_TOUCH[before[openings]].all() and _MAY_TOUCH[behind[first::2]].all()):
            self._one_by_one(quotes, before, behind)
        elif len(quotes) % 2 == first:
            opened = quotes[openings][_IS_BORDER[before[openings]]]
            self.opened_at = self._seen + int(opened[-1]) if len(opened) else self.opened_at
        else:
            self.opened_at = None

    def _one_by_one(self, quotes: npt.NDArray[np.intp], before: Bytes, behind: Bytes) -> None:
        opens, closes = _IS_BORDER[before], _IS_BORDER[behind]
        second = -1
        for index, place in enumerate(quotes.tolist()):
            if self.opened_at is None:
                self.opened_at = self._seen + place if opens[index] else None
            elif place == second:
                continue
            elif behind[index] == _QUOTE:
                second = place + 1
            elif closes[index]:
                self.opened_at = None
            else:
                raise QuotedAmid(self._seen + place)
