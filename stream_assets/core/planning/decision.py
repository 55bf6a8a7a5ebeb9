"""Why a consumer has the lane it has, and whether its promise can be kept: the arithmetic, in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from stream_assets.core.cadence import DAY_MARGIN, Cadence, Lane
from stream_assets.core.declaration import Consumer, Declarations
from stream_assets.core.freshness import Promise, compact, words

ASSUMED_RUN = timedelta(seconds=15)
"""Queueing and running, until the ledger has measured it."""
HEADROOM = 0.2
"""Share of the grace that must be left, or the promise is called at risk: the freshness itself is spent by the cadence."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The lane and cadence of a consumer, with the reason and the arithmetic.

    Attributes:
        worst_lag: how old data gets just before the next refresh is done: cadence + settling + queueing and running.
        run_time: 95th percentile of queueing and running, measured, or assumed before there is a measurement.
    """

    consumer: str
    lane: Lane
    cadence: Cadence
    promise: Promise
    settling: timedelta
    run_time: timedelta
    is_measured: bool

    @property
    def worst_lag(self) -> timedelta:
        """Cadence + settling + run; batch waits for its turn after the last window has settled too."""
        margin = DAY_MARGIN if self.cadence.is_batch else timedelta(0)
        return self.cadence.step + self.settling + margin + self.run_time

    @property
    def verdict(self) -> str:
        """`can be kept`, `is at risk` or `cannot be kept`, and by how much."""
        over = self.worst_lag - self.promise.limit
        if over > timedelta(0):
            return f"cannot be kept, by up to {compact(over)}"
        if -over < self.promise.grace * HEADROOM:
            return f"is at risk: {compact(-over)} to spare"
        return f"can be kept: {compact(-over)} to spare"

    @property
    def can_be_kept(self) -> bool:
        """Whether the arithmetic allows the promise."""
        return self.worst_lag <= self.promise.limit

    @property
    def explanation(self) -> str:
        """Promise, lane and arithmetic in words, without the consumer's name."""
        margin = f" + {words(DAY_MARGIN)} for the day's turn" if self.cadence.is_batch else ""
        how = "measured p95" if self.is_measured else "assumed"
        served = f"lane {self.lane}, served by `{self.cadence.name}`"
        if self.lane == "streaming":
            served += " until the streaming lane exists"
        return (
            f"{self.promise}; {served}. Worst lag {words(self.cadence.step)} cadence + {compact(self.settling)} "
            f"settling{margin} + {compact(self.run_time)} queueing and running ({how}) = {compact(self.worst_lag)}: "
            f"the promise {self.verdict}."
        )

    def __str__(self) -> str:
        return f"{self.consumer}: {self.explanation}"


def decide(declarations: Declarations, consumer: Consumer, run_time: timedelta | None = None) -> Decision:
    """Return lane, cadence and arithmetic of `consumer`. `run_time`: measured p95 of queueing and running."""
    return Decision(
        consumer.name,
        consumer.lane,
        consumer.cadence,
        declarations.promise(consumer),
        declarations.settling(consumer.name),
        run_time if run_time is not None else ASSUMED_RUN,
        run_time is not None,
    )
