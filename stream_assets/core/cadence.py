"""From freshness to lane and cadence: the one table, and where its boundaries lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from stream_assets.core.freshness import words
from stream_assets.core.window import EPOCH, GRID, Calendar, utc

Lane = Literal["batch", "micro-batch", "streaming"]

DAY = timedelta(days=1)
DAY_MARGIN = timedelta(minutes=5)
"""A day is read or compacted this long after its last window has settled, so that the window has been sealed."""


@dataclass(frozen=True, slots=True)
class LaneRule:
    """One line of the table: the lane of every freshness >= `at_least`, and what its cadence is rounded down to."""

    lane: Lane
    at_least: timedelta
    unit: timedelta
    grace: timedelta | None
    """The default grace; None: the source's settling time + 2 minutes."""


LANES = (
    LaneRule("batch", DAY, DAY, timedelta(hours=6)),
    LaneRule("micro-batch", GRID, GRID, None),
    LaneRule("streaming", timedelta(0), GRID, None),
)
"""Loosest first; a freshness belongs to the first line whose `at_least` it reaches."""


@dataclass(frozen=True, slots=True, order=True)
class Cadence:
    """How often a lane looks for work.

    Attributes:
        step: whole days (batch), or a whole number of windows below a day.
    """

    step: timedelta

    @property
    def is_batch(self) -> bool:
        """Whether the boundaries are local midnights."""
        return self.step >= DAY

    @property
    def name(self) -> str:
        """Name of the automation that serves the cadence: `daily`, `every_7_days`, `every_5_min`, `every_1_hour`."""
        return "daily" if self.step == DAY else "every_" + words(self.step).replace(" ", "_")

    def last_boundary(self, until: datetime, calendar: Calendar) -> datetime:
        """Return the latest boundary <= `until`.

        Micro-batch boundaries are elapsed time since local midnight, the last interval of a day cut short. A batch
        cadence of n days has the local midnights of the days since 1970-01-01 that n divides.
        """
        until = utc(until)
        day = calendar.day_of(until)
        if not self.is_batch:
            midnight = calendar.midnight(day)
            return midnight + ((until - midnight) // self.step) * self.step
        days = self.step // DAY
        return calendar.midnight(day - timedelta(days=(day - EPOCH.date()).days % days))

    def next_boundary(self, after: datetime, calendar: Calendar) -> datetime:
        """Return the first boundary > `after`."""
        last = self.last_boundary(after, calendar)
        if self.is_batch:
            return calendar.midnight(calendar.day_of(last) + self.step)
        tomorrow = calendar.midnight(calendar.day_of(last) + DAY)
        return min(last + self.step, tomorrow)

    def is_due_on(self, day: date) -> bool:
        """Whether the local midnight that begins `day` is a boundary of this batch cadence."""
        return (day - EPOCH.date()).days % max(1, self.step // DAY) == 0


DAILY = Cadence(DAY)


def lane_of(freshness: timedelta) -> LaneRule:
    """Return the line of the table that `freshness` belongs to."""
    return next(rule for rule in LANES if freshness >= rule.at_least)


def cadence_of(freshness: timedelta) -> Cadence:
    """Return the loosest cadence that can keep `freshness`; below five minutes it is five minutes."""
    unit = lane_of(freshness).unit
    return Cadence(max(unit, freshness // unit * unit))
