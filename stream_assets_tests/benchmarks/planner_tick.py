"""A tick of the planner (look, read the ledger, plan) over short and long histories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stream_assets_tests.benchmarks.child import Stopwatch, call
from stream_assets_tests.benchmarks.figure import Figure, Series, median
from stream_assets_tests.benchmarks.settings import Settings

if TYPE_CHECKING:
    from stream_assets.pipeline import Pipeline

NAME = "planner_tick"
SHORT_DAYS = 2
REPEATS = 60
AT = "2026-03-10T12:00:40+00:00"


def measure(settings: Settings) -> list[Figure | Series]:
    """Measure with two days of history and with years of it, in turn."""
    days = settings.history_days
    lengths = sorted({SHORT_DAYS, 10, min(365, days), days})
    found = call("planner_tick", "ticks", folder=str(settings.scratch / "planner"), lengths=lengths)
    idle, due = ({int(n): s for n, s in found[key].items()} for key in ("idle", "due"))
    length = f"{days} days: {found['partitions']:,} partitions in the ledger"
    return [
        Figure("planner_tick_ratio", idle[days] / idle[SHORT_DAYS], "x", 1.2, 1.0, f"nothing due, {days} days of history / {SHORT_DAYS}"),
        Figure("planner_tick_due_ratio", due[days] / due[SHORT_DAYS], "x", None, 1.0, f"one window due, {days} days of history / {SHORT_DAYS}"),
        Figure("planner_tick_short_idle", idle[SHORT_DAYS] * 1000, "ms", note=f"nothing due, {SHORT_DAYS} days"),
        Figure("planner_tick_long_idle", idle[days] * 1000, "ms", note=f"nothing due, {length}"),
        Figure("planner_tick_long", due[days] * 1000, "ms", note=f"one window due, {days} days"),
        Series("planner tick, nothing due", "ms", tuple((n, idle[n] * 1000) for n in lengths)),
        Series("planner tick, one window due", "ms", tuple((n, due[n] * 1000) for n in lengths)),
    ]  # fmt: skip


def ticks(folder: str, lengths: list[int]) -> dict[str, Any]:
    """Tick in turn on lakes of all these lengths."""
    from datetime import datetime

    from stream_assets.consumers.finance_report import finance_report
    from stream_assets.consumers.revenue_dashboard import revenue_dashboard
    from stream_assets_tests.benchmarks import history

    now = datetime.fromisoformat(AT)
    lakes = {n: history.make(f"{folder}-{n}", n, now, [revenue_dashboard, finance_report]) for n in lengths}
    longest = lakes[lengths[-1]]
    partitions = sum(longest.lake.ledger.totals(table).partitions for table in longest.declarations.tables)
    return {"partitions": partitions, **ticked(lakes)}


def ticked(lakes: dict[int, Pipeline], repeats: int = REPEATS) -> dict[str, dict[int, float]]:
    """Return for each lake the median of ticks with nothing due, and with one window of each stream due."""
    from datetime import timedelta

    found: dict[str, dict[int, float]] = {}
    for name, works in (("idle", 0), ("due", 1)):
        taken: dict[int, list[float]] = {days: [] for days in lakes}
        for _ in range(repeats):
            for days, pipeline in lakes.items():
                watch = Stopwatch()
                pipeline.observe()
                planned = pipeline.plan()
                taken[days].append(watch.seconds()["seconds"])
                assert len(planned.works) == works, planned
        found[name] = {days: median(seconds) for days, seconds in taken.items()}
        for pipeline in lakes.values():
            pipeline.clock.advance(timedelta(minutes=5))
    return found
