"""The quotes of CSV text, followed in pieces of any size as a parser follows them one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.sources.files.quotes import QuotedAmid, Quotes


def followed(text: bytes, size: int) -> int | str | None:
    """Return where a quote is open at the end of `text`; `amid N` where one closes in the middle of its cell."""
    quotes = Quotes()
    try:
        for start in range(0, len(text), size):
            quotes.feed(text[start : start + size])
        quotes.feed(b"")
    except QuotedAmid as error:
        return f"amid {error.place}"
    return quotes.opened_at


def one_by_one(text: bytes) -> int | str | None:
    opened_at, place, begins = None, 0, True
    while place < len(text):
        char, behind = text[place : place + 1], text[place + 1 : place + 2]
        if opened_at is None:
            opened_at = place if char == b'"' and begins else None
            begins = char in (b",", b"\n", b"\r")
        elif char == b'"' and behind == b'"':
            place += 1
        elif char == b'"':
            if behind not in (b",", b"\n", b"\r", b""):
                return f"amid {place}"
            opened_at, begins = None, False
        place += 1
    return opened_at


@given(st.text('"",\n\ra', max_size=30).map(str.encode), st.integers(1, 7))
def test_text_in_pieces_is_followed_as_one_by_one(text: bytes, size: int) -> None:
    assert followed(text, size) == followed(text, 100) == one_by_one(text)


@pytest.mark.parametrize(
    ("text", "opened_at"),
    [
        (b'a,"b\n""c""",d\n', None),
        (b'a,5" pipe\nb,c\n', None),
        (b'a,"b\nc,d\n', 2),
        (b'"a","","b', 7),
        (b"", None),
        ('ä,"ö'.encode(), 3),
    ],
)
def test_where_a_quote_is_open_at_the_end(text: bytes, opened_at: int | None) -> None:
    assert followed(text, 3) == opened_at


@pytest.mark.parametrize("text", [b'a,"b\nc,"d"\n', b'{"a": 1},"{"a": 1}"\n', b'"a" ,b\n'])
def test_a_quote_that_closes_amid_a_cell(text: bytes) -> None:
    assert str(followed(text, 4)).startswith("amid")
