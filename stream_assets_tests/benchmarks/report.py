"""One run of the benchmarks as people and programs read it: a table, JSON, and a plot of cost against history."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stream_assets_tests.benchmarks.figure import Figure, Series

COMMITTED = Path(__file__).with_name("committed.json")


def machine() -> dict[str, Any]:
    """Say what the figures are measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def read_committed() -> dict[str, Any]:
    """Return the report that was committed last; one without figures where there is none."""
    return json.loads(COMMITTED.read_text()) if COMMITTED.exists() else {"figures": []}


def write(report: Mapping[str, Any], file: Path) -> None:
    """Write a report as JSON."""
    file.write_text(json.dumps(report, indent=2) + "\n")


def headline(report: Mapping[str, Any]) -> str:
    """Return machine and moment in one line."""
    host = report["machine"]
    load = host["load_average"][0]
    return f"{host['cpu']}, {host['cores']} cores, {host['memory_gib']} GiB, load {load}, {report['at']}"


def table(figures: Sequence[Figure], committed: Mapping[str, Any]) -> str:
    """Return the figures as lines of text, each beside the one that was committed last."""
    before = {figure["name"]: figure["value"] for figure in committed["figures"]}
    rows = [("figure", "value", "committed", "unit", "must", "reach", "", "")]
    rows += [
        (
            f.name,
            _short(f.value),
            _short(before.get(f.name)),
            f.unit,
            _short(f.must),
            _short(f.reach),
            f.verdict,
            f.note,
        )
        for f in figures
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(7)]
    lines: list[str] = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        for number in (1, 2):
            cells[number] = row[number].rjust(widths[number])
        lines.append("  ".join([*cells, row[7]]).rstrip())
    return "\n".join(lines)


def plot(series: Sequence[Series], file: Path) -> None:
    """Draw cost against days of history, a panel for each unit."""
    from matplotlib.figure import Figure as Drawing

    units = list(dict.fromkeys(line.unit for line in series))
    drawing = Drawing(figsize=(8, 4 * len(units)), layout="constrained")
    panels = drawing.subplots(len(units), squeeze=False)[:, 0]
    for panel, unit in zip(panels, units, strict=True):
        for line in series:
            if line.unit == unit:
                panel.plot(*zip(*line.points, strict=True), marker="o", label=line.name)
        panel.set(xscale="log", xlabel="days of history", ylabel=unit)
        panel.set_ylim(bottom=0)
        panel.legend()
    drawing.savefig(file)


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
