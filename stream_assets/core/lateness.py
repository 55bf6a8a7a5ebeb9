"""How late events come, counted between fixed edges, and the allowed lateness that is learned from it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import zip_longest
from typing import Any

from stream_assets.core.freshness import compact, parse_duration, words
from stream_assets.errors import DeclarationError

ALLOWANCES = (timedelta(0), timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=1))
"""Allowed latenesses that are compared: an event is left to heal if it arrives later than its window's end and this."""

EDGES = tuple(
    timedelta(seconds=s)
    for s in (
        0, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800,
    )
)  # fmt: skip
"""Edges of all counts: steps that people name, each at most 2.5 times the one before (but for the last), so that a quantile
is known to that factor in twenty numbers. Those of `ALLOWANCES` are among them, so that what these leave is exact. Receipts
are counted by them: other edges are another format of receipts."""

LEARNED_FROM = timedelta(days=28)
"""Lateness is said of this long: four whole weeks, so that every weekday counts alike, and what changed is soon forgotten."""

BEYOND = 10
"""So many events must be expected behind a quantile before it is believed."""

_MICROSECOND = timedelta(microseconds=1)
_AUTO = re.compile(r"\s*auto\s*(?:\((.*)\))?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late some events came. Adds up: windows to days, days to weeks.

    `delays[i]` events came more than `EDGES[i - 1]` and at most `EDGES[i]` after their event time, the first number being
    those that came at once and the last those beyond all edges; `overdue` counts the same after the end of their window.
    Zeros at the end are left out.

    Attributes:
        events: all events, also those whose arrival is not known.
        longest: the greatest delay; None where no arrival is known.
    """

    events: int = 0
    delays: tuple[int, ...] = ()
    overdue: tuple[int, ...] = ()
    longest: timedelta | None = None

    @property
    def known(self) -> int:
        """Events whose arrival is known."""
        return sum(self.delays)

    def __add__(self, other: Lateness) -> Lateness:
        longest = [x for x in (self.longest, other.longest) if x is not None]
        return Lateness(
            self.events + other.events,
            _added(self.delays, other.delays),
            _added(self.overdue, other.overdue),
            max(longest, default=None),
        )

    @classmethod
    def total(cls, parts: Iterable[Lateness]) -> Lateness:
        """Return the sum of `parts`."""
        return sum(parts, cls())

    def left(self, allowance: timedelta) -> int:
        """Return how many events come later than the end of their window and `allowance`, which is one of `EDGES`."""
        return sum(self.overdue[EDGES.index(allowance) + 1 :])

    def quantile(self, share: float) -> timedelta | None:
        """Return what at least `share` of the known delays do not exceed, rounded up to an edge; None without any."""
        if self.longest is None:
            return None
        wanted, seen = share * self.known, 0
        for count, edge in zip(self.delays, EDGES, strict=False):
            seen += count
            if seen >= wanted:
                return min(edge, self.longest)
        return self.longest

    def to_raw(self) -> list[Any]:
        """Return it in JSON's types."""
        longest = None if self.longest is None else self.longest // _MICROSECOND
        return [self.events, list(self.delays), list(self.overdue), longest]

    @classmethod
    def from_raw(cls, raw: list[Any]) -> Lateness:
        """Read what `to_raw` wrote."""
        events, delays, overdue, longest = raw
        return cls(events, tuple(delays), tuple(overdue), None if longest is None else longest * _MICROSECOND)


@dataclass(frozen=True, slots=True)
class Auto:
    """An allowed lateness that is learned: the smallest step by which `p` of the events have come, at most `max`.

    Attributes:
        p: share of the events that have come once their window settles.
        max: what is allowed at most, and until enough is known.
        chosen: what was learned; None before: `max` is allowed.
        why: why that was chosen, for people.
    """

    p: float = 0.999
    max: timedelta = timedelta(hours=1)
    chosen: timedelta | None = None
    why: str = "nothing has been looked at yet"

    def __post_init__(self) -> None:
        if not 0 < self.p < 1:
            raise DeclarationError(f"lateness {self}: p must be between 0 and 1, like 0.999")
        if self.max <= timedelta(0):
            raise DeclarationError(f"lateness {self}: max must be more than zero")

    def __str__(self) -> str:
        """Return how it is written in a URL."""
        return f"auto(p={self.p:.15g},max={words(self.max)})"

    @property
    def needed(self) -> int:
        """Events whose arrival must be known before anything is learned."""
        return math.ceil(round(BEYOND / (1 - self.p), 6))

    def learned(self, seen: Lateness) -> Auto:
        """Return it with what is chosen after `seen`; nothing is chosen from too little."""
        if seen.known < self.needed or 2 * seen.known < seen.events:
            return replace(self, chosen=None, why=self._too_few(seen))
        bearable = (1 - self.p) * seen.known
        fits = (edge for edge in EDGES if edge <= self.max and seen.left(edge) <= bearable)
        chosen = next(fits, self.max)
        latest = max(edge for edge in EDGES if edge <= chosen)
        left, late = seen.left(latest), f"of {seen.known:,} events came later than that"
        if left > bearable:
            return replace(
                self, chosen=chosen, why=f"its max, though {left:,} {late}, more than {1 - self.p:.3g} of them"
            )
        return replace(self, chosen=chosen, why=f"{left:,} {late}, at most {1 - self.p:.3g} of them")

    def _too_few(self, seen: Lateness) -> str:
        return (
            f"its max, until the arrival of {self.needed:,} events, and of half of all, is known (now of {seen.known:,} of "
            f"{seen.events:,})"
        )


def allowed(lateness: timedelta | Auto) -> timedelta:
    """Return the distance of the watermark behind the clock."""
    if isinstance(lateness, Auto):
        return lateness.max if lateness.chosen is None else lateness.chosen
    return lateness


def said(lateness: timedelta | Auto) -> str:
    """Say what was chosen and why, for the end of a source's description; nothing where nothing was to be chosen."""
    if not isinstance(lateness, Auto):
        return ""
    return f"; lateness {lateness} is {compact(allowed(lateness))}: {lateness.why}"


def parse_lateness(text: str, *, what: str = "lateness") -> timedelta | Auto:
    """Read `0`, a duration like `2min`, or `auto(p=0.999,max=1h)`, both of which may be left out.

    Raises:
        DeclarationError: terminal; it is none of these. `what` names it in the message.
    """
    match = _AUTO.fullmatch(text)
    if match is None:
        return timedelta(0) if text.strip() in ("0", "0 s") else parse_duration(text, what=what)
    given: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in (match[1] or "").split(","))):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name not in ("p", "max") or name in given:
            raise DeclarationError(f"{what} {text!r} is not understood: write auto(p=0.999,max=1h)")
        given[name] = parse_duration(value, what=f"{what}: max") if name == "max" else _share(value, what)
    return Auto(**given)


def _share(value: str, what: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise DeclarationError(f"{what}: p must be a number between 0 and 1, not {value!r}") from None


def _added(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip_longest(a, b, fillvalue=0))
