"""What a deployment costs that has nothing to do: the processor time of `dagster dev` with the default project.

Beside it, at the same time, runs one whose code location has nothing in it: what Dagster itself costs.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from stream_assets.core.clock import SystemClock
from stream_assets_tests.benchmarks.figure import Figure
from stream_assets_tests.benchmarks.settings import Settings
from stream_assets_tests.defs.dagster_dev import DagsterDev

NAME = "idle"
SETTLE = 12.0
"""Seconds after it is ready, in which it finds that nothing is due for the first time."""


def measure(settings: Settings) -> list[Figure]:
    """Run it for two minutes, between two boundaries."""
    is_quick = settings.rounds == 1
    seconds = 8.0 if is_quick else 120.0
    spent, nothing = _spent(settings.scratch / "idle", seconds)
    note = f"4 consumers, their automations and `heal`, nothing due, {seconds:.0f} s"
    return [
        Figure("idle", _both(spent) / seconds, "% of a core", 5, 3, f"daemon and code server, {note}"),
        Figure("idle_nothing", _both(nothing) / seconds, "% of a core", note="the same, of a code location with nothing in it"),
        Figure("idle_daemon", spent["daemon"] / seconds, "% of a core"),
        Figure("idle_code_server", spent["code"] / seconds, "% of a core"),
        Figure("idle_webserver", spent["webserver"] / seconds, "% of a core", note="nobody looks"),
    ]  # fmt: skip


def _both(spent: dict[str, float]) -> float:
    return spent["daemon"] + spent["code"]


def _spent(folder: Path, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """Return the hundredths of processor seconds of each process, by what it is; ours, and those of an empty one."""
    from stream_assets.pipeline.project import find_consumers
    from stream_assets.project import project

    folder.mkdir(parents=True)
    now = SystemClock().now()
    # The last boundary has just settled, so the next one does five minutes from now.
    lateness = int(now.timestamp() % 300)
    env = {
        "STREAM_ASSETS_LAKE": str(folder / "lake"),
        "STREAM_ASSETS_SOURCE": f"synthetic:?rate=0.05&late_share=0&quiet=&lateness={lateness}s",
        "STREAM_ASSETS_START": now.date().isoformat(),
    }
    pipeline = project.with_environment(env).open(find_consumers("stream_assets.consumers"))
    for _, reports in pipeline.run():
        assert not any(report.failed for report in reports), reports
    with (
        DagsterDev({"idle": "stream_assets.definitions"}, folder / "home", env) as ours,
        DagsterDev({"nothing": "stream_assets_tests.benchmarks.nothing"}, folder / "nothing", {}) as nothing,
    ):
        time.sleep(SETTLE)
        before = [processor_seconds(dev.group) for dev in (ours, nothing)]
        time.sleep(seconds)
        after = [processor_seconds(dev.group) for dev in (ours, nothing)]
    assert not pipeline.state().in_flight
    spent, empty = (_by_kind(*seen) for seen in zip(before, after, strict=True))
    return spent, empty


def _by_kind(before: dict[int, tuple[str, float]], after: dict[int, tuple[str, float]]) -> dict[str, float]:
    spent: dict[str, float] = dict.fromkeys(("daemon", "code", "webserver", "other"), 0.0)
    for pid, (command, total) in after.items():
        kind = (
            "daemon"
            if "daemon" in command
            else "webserver"
            if "webserver" in command
            else "code"
            if "grpc" in command
            else "other"
        )
        spent[kind] += 100 * (total - before.get(pid, (command, 0.0))[1])
    return spent


def processor_seconds(group: int) -> dict[int, tuple[str, float]]:
    """Return by process of a group its command and its processor seconds, those of ended children included."""
    found: dict[int, tuple[str, float]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                command = (folder / "cmdline").read_text().replace("\0", " ")
                values = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            if int(values[2]) == group:
                found[int(folder.name)] = command, sum(map(int, values[11:15])) / os.sysconf("SC_CLK_TCK")
    return found
