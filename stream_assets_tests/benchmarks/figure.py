"""A measured figure, and the machine that it was measured on. The standard library alone, so that a child starts small."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
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
        """Whether the aim was met; None where there is none."""
        return None if self.reach is None else self.value <= self.reach

    @property
    def verdict(self) -> str:
        """One word for people."""
        if self.must is not None and self.value > self.must:
            return "MISSED"
        return {None: "", True: "reached", False: "not yet"}[self.reached]

    def to_json(self) -> dict[str, Any]:
        """Return the figure in JSON's types."""
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "must": self.must,
            "reach": self.reach,
            "reached": self.reached,
            "note": self.note,
        }


def median(values: Iterable[float]) -> float:
    """Return the middle value, or the mean of the two in the middle."""
    return statistics.median(list(values))


def as_table(figures: Sequence[Figure]) -> str:
    """Return the figures as lines of text."""
    rows = [("figure", "value", "unit", "must", "reach", "", "")]
    rows += [(f.name, _short(f.value), f.unit, _short(f.must), _short(f.reach), f.verdict, f.note) for f in figures]
    widths = [max(len(row[place]) for row in rows) for place in range(6)]
    lines: list[str] = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        cells[1] = row[1].rjust(widths[1])
        lines.append("  ".join([*cells, row[6]]).rstrip())
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Say what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
