"""Lakes of which something is not kept any longer, and what the stories of them have in common."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from stream_assets import consumer
from stream_assets.core.window import TimeWindow
from stream_assets.pipeline.verify import verify
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import World

SECOND = timedelta(seconds=1)


@consumer(freshness="1 day", reads={"report": ["country", "amount_sum"]})
def totals_of_report(report: pa.Table) -> pa.Table:
    """Revenue per country, from what another consumer summed."""
    return report.group_by("country").aggregate([("amount_sum", "sum")]).sort_by("country")


week = replace(report, name="week", lookback=timedelta(days=3))


def hourly() -> Shop:
    return Shop(every=timedelta(hours=1))


def sealed_day(world, *consumers, **options) -> World:
    """The 10th was filled by windows and is sealed; of the 9th there is the day alone."""
    consumers = consumers or (dashboard, report)
    options = {"end": "2026-03-11", **options}
    w = world(*consumers, now="2026-03-10 23:58", start="2026-03-09", sources={"events": hourly()}, **options)
    w.run()
    w.at("2026-03-11 00:01").run()
    w.at("00:06").run()
    assert len(files(w, "events", "2026-03-10")) == 288
    return w


def no_difference(w: World) -> None:
    found = verify(w.pipeline.site, list(w.pipeline.declarations.tables), everything(w), is_deep=True)
    assert [d for d in found.differences if not d.is_known] == []


def everything(w: World) -> TimeWindow:
    return TimeWindow(w.pipeline.lake.start, w.now + timedelta(days=1))


def files(w: World, table: str, day: str) -> list[Path]:
    return sorted((w.folder / table / f"day={day}").rglob("*.parquet"))


def month(world, *consumers, **options) -> World:
    w = world(
        *consumers, now="2026-03-10 00:06", start="2026-03-01", sources={"events": hourly()}, keep="5 days", **options
    )
    w.run()
    return w
