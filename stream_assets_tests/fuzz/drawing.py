"""What is thrown at the targets: whole things with some bytes changed, beside bytes and text of no kind at all.

`STREAM_ASSETS_FUZZ=100000` is how many inputs each target gets; without it a few hundred, the same at every run.
"""

from __future__ import annotations

import os
import string
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

INPUTS = int(os.environ.get("STREAM_ASSETS_FUZZ", "0"))


def inputs(few: int = 300) -> Callable[..., Any]:
    """Let a test have `STREAM_ASSETS_FUZZ` inputs, each drawn anew, or by default `few`, always the same."""
    return settings(
        max_examples=INPUTS or few,
        derandomize=not INPUTS,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


# What programs stumble over.
ODD_TEXT = [
    "", "\0", "../../x", "/etc/passwd", "'", '"', "'; drop table current; --", "\x1b[2J", "\udcff", "\u202e", "é", "e\u0301", "🚚", "٣", "²", "nan",
    "inf", "-1", "1e400", "9" * 5000, "true", "null", "[", "{" * 2000, "0001-01-01", "9999-12-31", "0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00",
    "1969-12-31", "2026-02-30", "2026-03-01T00:01+0000", "\uff12\uff10\uff12\uff16-03-01", "2026-03-01T00:05+0000\n", "%00", "%", "a=b&a=b",
]  # fmt: skip

ANY_TEXT = st.one_of(st.text(max_size=40), st.text(string.printable, max_size=40), st.sampled_from(ODD_TEXT))

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-(1 << 70), 1 << 70), st.floats(), ANY_TEXT),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=8,
)


def mutated_text(*whole: str) -> st.SearchStrategy[str]:
    """One of `whole`, with pieces cut out, doubled, or replaced by odd text."""

    @st.composite
    def draw_one(draw: st.DrawFn) -> str:
        text = draw(st.sampled_from(whole))
        for _ in range(draw(st.integers(0, 3))):
            start = draw(st.integers(0, len(text)))
            stop = min(len(text), start + draw(st.integers(0, 6)))
            text = text[:start] + draw(st.one_of(ANY_TEXT, st.just(text[start:stop] * 2))) + text[stop:]
        return text

    return st.one_of(draw_one(), ANY_TEXT)


def mutated_bytes(*whole: bytes) -> st.SearchStrategy[bytes]:
    """One of `whole`, with bytes changed, cut out, put in or doubled; sometimes bytes of no kind."""

    @st.composite
    def draw_one(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(whole)))
        for _ in range(draw(st.integers(1, 4))):
            start = draw(st.integers(0, len(data)))
            stop = min(len(data), start + draw(st.integers(0, 4)))
            data[start:stop] = draw(st.one_of(st.binary(max_size=4), st.just(bytes(data[start:stop] * 3))))
        return bytes(data)

    return st.one_of(draw_one(), draw_one(), draw_one(), st.binary(max_size=200))


def mutated_record(whole: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A JSON object like `whole` in which some values are others, are missing, or are there too much."""

    @st.composite
    def draw_one(draw: st.DrawFn) -> dict[str, Any]:
        record = dict(whole)
        for _ in range(draw(st.integers(1, 3))):
            name = draw(st.sampled_from(sorted(whole)) | ANY_TEXT)
            if draw(st.booleans()):
                record[name] = draw(JSON)
            else:
                record.pop(name, None)
        return record

    return draw_one()
