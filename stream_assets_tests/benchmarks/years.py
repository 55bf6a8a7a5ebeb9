"""What people and Dagster ask of a lake, with years of history and with ten days of it; processor time, in turn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_assets_tests.benchmarks.child import Stopwatch, call
from stream_assets_tests.benchmarks.figure import Figure, Series, median
from stream_assets_tests.benchmarks.settings import Settings

if TYPE_CHECKING:
    from stream_assets.pipeline import Pipeline

NAME = "years"
SHORT_DAYS = 10
TOLD = 40
"""Partitions that are adopted: each is some events that Dagster writes one by one."""
WHAT = {
    "status": "stream-assets status",
    "checks": "promise and holes of all consumers, as `heal` evaluates them",
    "rows_add_up": "the check rows_add_up of both tables of the stream",
    "newest_with_rows": "the newest publication with rows",
    "verify": "verify of the newest closed day, all tables",
    "lookback": "a day of user_features, which reads seven days before it",
    "adopt": f"a fresh instance told of {TOLD} partitions",
}


def measure(settings: Settings) -> list[Figure | Series]:
    """Measure each on both lakes."""
    lengths = [SHORT_DAYS, settings.history_days]
    found = call("years", "costs", folder=str(settings.scratch / "years"), lengths=lengths, repeats=settings.ticks)
    figures: list[Figure | Series] = []
    for name, what in WHAT.items():
        short, long = (found[name][str(days)] for days in lengths)
        figures.append(Figure(f"years_{name}", long * 1000, "ms", note=f"{what}, {lengths[1]} days of history"))
        figures.append(Figure(f"years_{name}_ratio", long / short, "x", note=f"over {SHORT_DAYS} days of history"))
        figures.append(Series(name, "ms", tuple(zip(lengths, (short * 1000, long * 1000), strict=True))))
    return figures


def costs(folder: str, lengths: list[int], repeats: int) -> dict[str, Any]:
    """Return by what was asked, and by days of history, the median of processor seconds."""
    from stream_assets.core.clock import SystemClock
    from stream_assets.pipeline.project import find_consumers
    from stream_assets_tests.benchmarks import history

    now = SystemClock().now()
    consumers = find_consumers("stream_assets.consumers")
    lakes = {days: history.make(f"{folder}-{days}", days, now, consumers) for days in lengths}
    asked = {days: _asked(pipeline, Path(f"{folder}-home-{days}")) for days, pipeline in lakes.items()}
    found: dict[str, dict[int, float]] = {}
    for name in WHAT:
        taken: dict[int, list[float]] = {days: [] for days in lengths}
        for _ in range(repeats):
            for days in lengths:
                watch = Stopwatch()
                asked[days][name]()
                taken[days].append(watch.seconds()["cpu_seconds"])
        found[name] = {days: median(seconds) for days, seconds in taken.items()}
    return found


def _asked(pipeline: Pipeline, home: Path) -> dict[str, Callable[[], object]]:
    import dagster as dg

    from stream_assets.cli.facts.status import status_facts
    from stream_assets.core.window import TimeWindow
    from stream_assets.defs.adopt import adopt
    from stream_assets.defs.checks import evaluations, sums
    from stream_assets.defs.names import Names
    from stream_assets.pipeline.verify import verify

    today = pipeline.calendar.day_around(pipeline.clock.now())
    newest = TimeWindow(today.start - timedelta(days=1), today.start)
    tables = list(pipeline.declarations.tables)

    def look_back() -> None:
        with pipeline.running("user_features", newest) as running:
            assert not pipeline.fill("user_features", newest, running).failed

    def tell() -> None:
        with dg.DagsterInstance.local_temp(str(home)) as instance:

            def stop(_table: str, count: int) -> None:
                if count == TOLD:
                    raise _EnoughError

            try:
                adopt(instance, pipeline, progress=stop)
            except _EnoughError:
                return

    home.mkdir()
    return {
        "status": lambda: status_facts(pipeline, recent=10),
        "checks": lambda: list(evaluations(pipeline, Names())),
        "rows_add_up": lambda: list(sums(pipeline, Names())),
        "newest_with_rows": lambda: pipeline.lake.ledger.newest("events", with_rows=True),
        "verify": lambda: verify(pipeline.site, tables, newest),
        "lookback": look_back,
        "adopt": tell,
    }


class _EnoughError(Exception):
    """So many partitions are enough to know what one takes."""
