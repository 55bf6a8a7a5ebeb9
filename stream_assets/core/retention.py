"""How long what a stream holds is kept: declared as durations, counted from the end of a local day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from stream_assets.core.freshness import words
from stream_assets.errors import DeclarationError

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long after the end of their local day things go.

    Attributes:
        windows: files of windows whose day is sealed: copies of what the day has.
        events: the days of the stream, with their windows and rejected rows; None: for ever. Tables of consumers stay.
        rejected: rows that could not become events; None: as long as their events.
    """

    windows: timedelta = timedelta(days=7)
    events: timedelta | None = None
    rejected: timedelta | None = None

    def __post_init__(self) -> None:
        for what, kept in (("windows", self.windows), ("events", self.events), ("rejected", self.rejected)):
            if kept is not None and kept < _DAY:
                raise DeclarationError(
                    f"{what} are kept {words(kept)}: at least 1 day, since the last closed day is live"
                )


HISTORY = timedelta(days=90)
"""How long the ledger keeps each publication and each piece of work by itself, counted from the newest day with events,
and twice as long by the clock; after that, sums of each day."""
