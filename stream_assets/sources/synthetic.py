"""Made-up shop events, the same for everybody who asks for the same window."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from stream_assets.core.lateness import Auto, allowed, said
from stream_assets.core.window import EPOCH, GRID, TimeWindow, utc
from stream_assets.errors import DeclarationError, SourceError
from stream_assets.sources.protocol import Arrivals, SourceState

# Declaring a source must not load pyarrow, so what generates events is imported when events are asked for.
if TYPE_CHECKING:
    import pyarrow as pa

    from stream_assets.events.conform import Names

MAX_RATE = 50_000.0
ON_TIME = timedelta(seconds=30)
_MEMORY = timedelta(days=7)
_LAST = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SyntheticEvents:
    """A shop's events, a pure function of seed and event time.

    Columns: `event_id` (16 hexadecimal digits), `event_time`, `arrival_time`, `user_id` (int64, 1 to
    100,000), `country`, `event_type`, `device` (text) and `amount` (float64, 5.00 to 500.00). Rows are out of
    order within their window. An event arrives less than `lateness` after it happened; a late one arrives, as
    its arrival time says, up to 6 hours after its window has settled; a duplicate is a second copy of an
    event under the same id that arrives shortly after the first, one in four with a corrected amount.

    Attributes:
        rate: events per second, duplicates not counted; at most 50,000.
        seed: another seed, other events.
        lateness: distance of the watermark behind the clock; where it is learned (`Auto`), events arrive as with the default.
        late_share: share of the events that arrive after their window has settled.
        duplicate_share: share of the events that are given twice.
        quiet: a part of every UTC day without events, like `02:00-02:30`, on the 5-minute grid; empty for
        none.
    """

    rate: float = 50.0
    seed: int = 7
    lateness: timedelta | Auto = ON_TIME
    late_share: float = 0.00001
    duplicate_share: float = 0.002
    quiet: str = "02:00-02:30"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate) and 0 <= self.rate <= MAX_RATE):
            raise DeclarationError(f"synthetic: rate must be 0 to {MAX_RATE:.0f} events a second, not {self.rate!r}")
        if self.settling < timedelta(0):
            raise DeclarationError(f"synthetic: lateness must not be negative, not {self.lateness}")
        for name, share in (("late_share", self.late_share), ("duplicate_share", self.duplicate_share)):
            if not 0 <= share <= 1:
                raise DeclarationError(f"synthetic: {name} must be 0 to 1, not {share!r}")
        if self.late_share + self.duplicate_share > 1:
            raise DeclarationError("synthetic: late_share and duplicate_share together must not be more than 1")
        self.quiet_hours()

    @property
    def names(self) -> Names:
        """The canonical names."""
        from stream_assets.events.conform import Names

        return Names()

    @property
    def settling(self) -> timedelta:
        """`lateness`, as it was declared or learned."""
        return allowed(self.lateness)

    @property
    def on_time(self) -> timedelta:
        """How long after its event time an event arrives at most that is not late: what is learned does not change it."""
        return ON_TIME if isinstance(self.lateness, Auto) else self.lateness

    def watermark(self, now: datetime) -> datetime:
        """Return `now` - `lateness`."""
        return utc(now) - self.settling

    def read(
        self,
        window: TimeWindow,
        *,
        now: datetime,
        state: SourceState | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the events of `[start, end)` that have arrived by `now`, in batches of about 100,000 rows."""
        from stream_assets.sources.generate import generate

        return generate(self, window, utc(now))

    def schema(self, *, now: datetime) -> pa.Schema:
        """Return the eight columns."""
        from stream_assets.sources.generate import SCHEMA

        return SCHEMA

    def arrivals(
        self,
        cursor: str | None,
        *,
        now: datetime,
        state: SourceState | None = None,
    ) -> Arrivals:
        """Name the windows of the late events that arrived in `(cursor, now]`; no cursor: in the last 7 days.

        Where windows settle before all that is on time has arrived, those windows too.

        Raises:
            SourceError: terminal; the cursor is none of this source.
        """
        from stream_assets.sources.generate import late_windows

        now = utc(now)
        since = now - _MEMORY if cursor is None else _instant(cursor)
        # A clock that went back must not take the cursor with it, or events would be named twice.
        until = max(now, since)
        return Arrivals(tuple(late_windows(self, since, until)), until.isoformat(), until)

    @property
    def place(self) -> str:
        """Rate and seed: others make other events."""
        return f"{self.rate:g} {self.seed}"

    def describe(self) -> str:
        """Say rate and seed."""
        return f"synthetic events, {self.rate:g} a second (seed {self.seed}){said(self.lateness)}"

    def quiet_hours(self) -> tuple[timedelta, timedelta] | None:
        """Return start and end of the quiet part since UTC midnight, end excluded; None for none.

        The end is before the start where the quiet part goes over midnight.
        """
        if not self.quiet:
            return None
        match = re.fullmatch(r"\s*(\d\d):(\d\d)\s*-\s*(\d\d):(\d\d)\s*", self.quiet)
        if match:
            h1, m1, h2, m2 = map(int, match.groups())
            start, end = timedelta(hours=h1, minutes=m1), timedelta(hours=h2, minutes=m2)
            fits = h1 < 24 and h2 <= 24 and max(m1, m2) < 60 and end <= timedelta(days=1)
            if fits and start != end and not start % GRID and not end % GRID:
                return start, end
        raise DeclarationError(
            f"synthetic: quiet {self.quiet!r} is not understood: write two UTC times on the 5-minute grid, "
            "like 02:00-02:30, or nothing"
        )


def _instant(cursor: str) -> datetime:
    try:
        instant = datetime.fromisoformat(cursor)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None or not EPOCH <= instant.replace(tzinfo=UTC) < _LAST:
        raise SourceError(f"{cursor!r} is no cursor of a synthetic source: start again without a cursor")
    return utc(instant)
