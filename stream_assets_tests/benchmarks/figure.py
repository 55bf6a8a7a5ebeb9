"""What a benchmark returns: figures, and series of them. The standard library alone, so that a child starts small."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; less is better.

    Attributes:
        must: the most that is acceptable; None where nothing was promised.
        reach: the aim.
        note: how it was measured, in a few words.
    """

    name: str
    value: float
    unit: str
    must: float | None = None
    reach: float | None = None
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the must is kept; None where there is none."""
        return None if self.must is None else self.value <= self.must

    @property
    def aim_reached(self) -> bool | None:
        """Whether the aim is met; None where there is none."""
        return None if self.reach is None else self.value <= self.reach

    @property
    def verdict(self) -> str:
        """One or two words for people."""
        if self.reached is False:
            return "MISSED"
        if self.aim_reached:
            return "aim met"
        if self.reached:
            return "reached"
        return "" if self.aim_reached is None else "short of aim"

    def to_json(self) -> dict[str, Any]:
        """Return the figure in JSON's types."""
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "must": self.must,
            "reach": self.reach,
            "reached": self.reached,
            "aim_reached": self.aim_reached,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Series:
    """What one thing costs at several lengths of history: a line of the plot.

    Attributes:
        unit: of the cost. Lines of one unit share a panel.
        points: (days of history, cost), shortest history first.
    """

    name: str
    unit: str
    points: tuple[tuple[float, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the series in JSON's types."""
        days, costs = zip(*self.points, strict=True)
        return {"name": self.name, "unit": self.unit, "x": list(days), "y": [round(cost, 4) for cost in costs]}


def median(values: Iterable[float]) -> float:
    """Return the middle value, or the mean of the two in the middle."""
    return statistics.median(list(values))
