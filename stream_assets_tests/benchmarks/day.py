"""The pipeline over the measured day: its windows filled, the day sealed, and a lake that has both for those who read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_assets_tests.benchmarks.child import Stopwatch, call
from stream_assets_tests.benchmarks.event_files import DAY, folder
from stream_assets_tests.benchmarks.settings import Settings

if TYPE_CHECKING:
    from stream_assets.consumer import Consumer
    from stream_assets.core.window import TimeWindow
    from stream_assets.pipeline.pipeline import Pipeline

WINDOWS = 288
START = datetime.fromisoformat(DAY).replace(tzinfo=UTC)


def span_of(days: int) -> TimeWindow:
    """Return so many days."""
    from stream_assets.core.window import TimeWindow

    return TimeWindow(START, START + timedelta(days=days))


def opened(
    files: str, lake: str, *, days: int = 1, consumers: tuple[Consumer, ...] = (), at: datetime | None = None
) -> Pipeline:
    """Open a lake of the day, or of `days`, at an instant, or else half a day after its end."""
    import pyarrow as pa

    from stream_assets.pipeline.project import Project, Stream
    from stream_assets.sources.files import FileEvents
    from stream_assets.testing import SettableClock

    pa.set_cpu_count(2)
    source = FileEvents(files, format="parquet", arrival="arrival_time")
    project = Project((Stream("events", source),), lake=lake, start=DAY)
    return project.open(list(consumers), SettableClock(at or span_of(days).end + timedelta(hours=12)))


def fill(files: str, lake: str, table: str = "events", days: int = 1) -> dict[str, Any]:
    """Fill a table of the stream as `stream-assets materialize` does: windows, or days, compacted where windows are there."""
    watch = Stopwatch()
    pipeline = opened(files, lake, days=days)
    span = span_of(days)
    with pipeline.running(table, span) as running:
        report = pipeline.fill(table, span, running)
    wanted = days * (WINDOWS if table == "events" else 1)
    if report.count("published") != wanted:
        raise SystemExit(f"{table}: {report}")
    return watch.seconds()


def prepared(settings: Settings, *, is_sealed: bool) -> tuple[str, str]:
    """Return the files and a lake of the day: of its windows alone, or with the day's own file too."""
    call("event_files", "prepare", cache=str(settings.cache), rate=settings.rate)
    files = str(folder(settings.cache, settings.rate))
    lake = settings.scratch / ("sealed-day" if is_sealed else "day-of-windows")
    if not Path(lake).exists():
        call("day", "fill", files=files, lake=str(lake))
        if is_sealed:
            call("day", "fill", files=files, lake=str(lake), table="events_daily")
    return files, str(lake)
