"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Sizes and repetitions of one run of the benchmarks.

    Attributes:
        cache: where the day's event files are kept between runs.
        scratch: a folder for lakes, emptied afterwards.
        rate: events a second of the day that is backfilled.
        tick_rate: events a second in the ticks that are measured.
        rounds: how often each side of a comparison runs.
        ticks: how often a tick is measured.
        history_days: the long history of the planner's tick.
    """

    cache: Path
    scratch: Path
    rate: float = 100.0
    tick_rate: float = 100.0
    hash_rows: int = 1_000_000
    rounds: int = 3
    ticks: int = 5
    history_days: int = 1826

    @classmethod
    def quick(cls, cache: Path, scratch: Path) -> Settings:
        """Return small sizes, with which a figure says little but everything runs."""
        return cls(cache, scratch, rate=2, tick_rate=2, hash_rows=100_000, rounds=1, ticks=1, history_days=20)

    def with_rounds(self, rounds: int) -> Settings:
        """Return the same with another number of rounds."""
        return replace(self, rounds=rounds)
