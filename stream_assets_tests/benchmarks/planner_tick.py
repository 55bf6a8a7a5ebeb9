"""A tick of the planner (look, read the ledger, plan) over a short and a long history."""

from __future__ import annotations

from typing import Any

from stream_assets_tests.benchmarks.child import Stopwatch, call
from stream_assets_tests.benchmarks.figure import Figure, median
from stream_assets_tests.benchmarks.settings import Settings

NAME = "planner_tick"
SHORT_DAYS = 2
REPEATS = 20


def measure(settings: Settings) -> list[Figure]:
    """Measure with two days of history and with years of it."""
    days = settings.history_days
    short = call("planner_tick", "ticks", lake=str(settings.scratch / "short"), days=SHORT_DAYS)
    long = call("planner_tick", "ticks", lake=str(settings.scratch / "long"), days=days)
    length = f"{days} days: {long['partitions']:,} partitions in the ledger"
    return [
        Figure("planner_tick_ratio", long["due"] / short["due"], "x", 2.0, 1.2, f"{days} days of history / {SHORT_DAYS} days"),
        Figure("planner_tick_short", short["due"] * 1000, "ms", note=f"one window due, {short['partitions']:,} partitions"),
        Figure("planner_tick_long", long["due"] * 1000, "ms", 250, 100, f"one window due, {length}"),
        Figure("planner_tick_long_idle", long["idle"] * 1000, "ms", 250, 100, "nothing due"),
    ]  # fmt: skip


def ticks(lake: str, days: int) -> dict[str, Any]:
    """Make a lake whose ledger says that `days` days and half of today are sealed, and measure ticks."""
    from datetime import UTC, datetime, timedelta

    from stream_assets.consumers.finance_report import finance_report
    from stream_assets.consumers.revenue_dashboard import revenue_dashboard
    from stream_assets.core.digest import Digest
    from stream_assets.core.intervals import Intervals
    from stream_assets.core.receipt import Receipt, WindowFact
    from stream_assets.core.window import TimeWindow
    from stream_assets.pipeline.project import Project, Stream
    from stream_assets.sources.synthetic import SyntheticEvents
    from stream_assets.testing import SettableClock

    now = datetime(2026, 3, 10, 12, 0, 40, tzinfo=UTC)
    noon = now.replace(second=0)
    midnight = now.replace(hour=0, minute=0, second=0)
    first = midnight - timedelta(days=days)
    project = Project((Stream("events", SyntheticEvents(late_share=0)),), lake=lake, start=first.date().isoformat())
    clock = SettableClock(now)
    pipeline = project.open([revenue_dashboard, finance_report], clock)
    pipeline.observe()
    ledger, layout, calendar = pipeline.lake.ledger, pipeline.lake.layout, pipeline.calendar
    partitions = 0
    codes = {"revenue_dashboard": revenue_dashboard.code, "finance_report": finance_report.code}
    tables = {"events": "5 min", "revenue_dashboard": "5 min", "events_daily": "day", "finance_report": "day"}
    digest = Digest(1 << 60, 1 << 59)
    for table, grain in tables.items():
        begin = pipeline.lake.windows_from if grain == "5 min" else first
        sealed = TimeWindow(begin, noon if grain == "5 min" else midnight)
        parts = calendar.partitions(sealed, grain)
        with ledger.transaction():
            for part in parts:
                facts = ()
                if table == "events_daily":
                    facts = tuple(WindowFact(w.start, 30_000, digest) for w in part.windows())
                receipt = Receipt(
                    table, part, 1, 30_000, digest, Intervals.of(part), part.end, rows_read=30_000, windows=facts,
                    inputs_seq=1_000_000 if table in codes else 0, code=codes.get(table, ""),
                )  # fmt: skip
                file = layout.partition(table, grain, part) / "part-r1-00000000.parquet"
                ledger.record(receipt, str(file.relative_to(layout.root)), receipt.covered)
            ledger.cover(table, parts, Intervals.of(sealed))
        partitions += len(parts)
    pipeline.observe()
    found: dict[str, Any] = {"partitions": partitions}
    for name, expected in (("idle", 0), ("due", 1)):
        taken: list[float] = []
        for _ in range(REPEATS):
            watch = Stopwatch()
            pipeline.observe()
            planned = pipeline.plan()
            taken.append(watch.seconds()["seconds"])
            assert len(planned.works) == expected, planned
            clock.advance(timedelta(milliseconds=1))
        found[name] = median(taken)
        clock.set(now + timedelta(minutes=5))
    return found
