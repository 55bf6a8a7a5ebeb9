"""What the planner asks for: one run's worth of partitions that are to be made, or that are to go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stream_assets.core.window import Grain, TimeWindow

HEAL = "heal"

Removes = Literal["windows", "days", "rejected", "history"]
"""Files of windows whose day is sealed; days of a stream with all that belongs to them; rejected rows; records of the ledger."""

RECORDS = "_ledger"
"""What work on the ledger's own records names in the place of a table."""


def removal_of(table: str) -> str:
    """Return the name under which failures to remove something of `table` are kept: no table can have it."""
    return f"_{table}"


@dataclass(frozen=True, slots=True)
class Work:
    """One run's worth of due partitions, all of one grain, over one unbroken range.

    Attributes:
        automation: the automation that asks for it.
        span: from the first partition's start to the last one's end.
        tables: tables with something due in the range, inputs before their readers; partitions of them in the range
            that are not due are sealed, and are confirmed.
        is_catch_up: whether it fills closed days outside a cadence; at most one such run is in flight.
        removes: what of the range goes, since it is not kept any longer; None for work that makes partitions.
    """

    automation: str
    grain: Grain
    span: TimeWindow
    tables: tuple[str, ...]
    is_catch_up: bool
    reason: str
    removes: Removes | None = None

    @property
    def priority(self) -> int:
        """For queues: live work goes first."""
        return -10 if self.is_catch_up else 10
