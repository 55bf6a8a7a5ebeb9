"""What became of each partition that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from stream_assets.core.receipt import Receipt
from stream_assets.core.window import TimeWindow
from stream_assets.errors import StreamAssetsError, TransientError

State = Literal["published", "unchanged", "confirmed", "delivered by the day", "not made", "removed", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one partition.

    Attributes:
        state: `published` (a new revision), `unchanged` (made again, equal content), `confirmed` (sealed already, not
            looked into), `delivered by the day` (a window of a sealed day), `not made` (planned, but not due any more when
            its turn came: what it needs has failed, or it was paused), `removed` (it is not kept any longer), or `failed`.
        receipt: of the present revision; None for a failure without one.
        error: what went wrong, for people.
        cause: kind of the error, where something was tried.
        is_waiting: whether it only lacks inputs: nothing is remembered of it, and the planner asks when they are there.
    """

    table: str
    span: TimeWindow
    state: State
    receipt: Receipt | None = None
    error: str | None = None
    cause: type[StreamAssetsError] | None = None
    is_waiting: bool = False

    @property
    def is_good(self) -> bool:
        """Whether the partition is there."""
        return self.state not in ("not made", "failed")

    @property
    def is_transient(self) -> bool:
        """Whether it is tried again by itself for ever."""
        return self.cause is not None and issubclass(self.cause, TransientError)


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a range of one table, oldest partition first."""

    table: str
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Partitions that are not there."""
        return tuple(o for o in self.outcomes if not o.is_good)

    @property
    def rows(self) -> int:
        """Rows in the partitions that were published."""
        return sum(o.receipt.rows for o in self.outcomes if o.receipt and o.state == "published")

    def count(self, state: State) -> int:
        """Return how many partitions ended in `state`."""
        return sum(o.state == state for o in self.outcomes)

    def __str__(self) -> str:
        counts = {s: self.count(s) for s in get_args(State)}
        said = ", ".join(f"{n} {s}" for s, n in counts.items() if n) or "nothing to do"
        return f"{self.table}: {said}, {self.rows:,} rows"


Progress = Callable[[Outcome], None]
"""Told of each partition as soon as it is published, or has failed."""


def silent(_: Outcome) -> None:
    """Take no notice of progress."""
