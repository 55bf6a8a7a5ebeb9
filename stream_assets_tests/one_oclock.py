"""A time zone in which it is one o'clock now: a lake of today then has windows to go on from, but few."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta


@dataclass(frozen=True, slots=True)
class OneOClock:
    """The zone's name and its present day."""

    zone: str
    today: date

    @classmethod
    def at(cls, now: datetime) -> OneOClock:
        """Return the zone with a whole offset in which `now` is between one and two o'clock."""
        now = now.astimezone(UTC)
        hours = (1 - now.hour + 12) % 24 - 12
        # The names of these zones carry the other sign.
        zone = f"Etc/GMT{-hours:+d}" if hours else "UTC"
        return cls(zone, (now + timedelta(hours=hours)).date())

    @property
    def yesterday(self) -> date:
        """The day before."""
        return self.today - timedelta(days=1)
