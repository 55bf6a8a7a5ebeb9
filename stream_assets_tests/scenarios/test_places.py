"""How many may read a source at once holds for backfills too, and the last place is kept for live work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from stream_assets.core.window import TimeWindow
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.shop import Shop

DAY = timedelta(days=1)


@dataclass
class SlowShop(Shop):
    """Whole days are read until somebody lets go; who is inside is counted."""

    free: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)
    inside: int = 0
    most: int = 0

    def read(self, window: TimeWindow, *, now: datetime, **options: Any) -> Iterator[pa.RecordBatch]:
        self._count(1)
        try:
            if window.duration >= DAY:
                assert self.free.wait(60)
            yield from super().read(window, now=now, **options)
        finally:
            self._count(-1)

    def _count(self, by: int) -> None:
        with self.changed:
            self.inside += by
            self.most = max(self.most, self.inside)
            self.changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.inside == count, 60)


def test_backfills_fill_all_places_but_one_and_a_live_tick_goes_on_beside_them(world):
    w = world(
        dashboard, report, now="2026-03-10 14:39:50", start="2026-03-06", sources={"events": SlowShop()}, max_readers=3
    )
    w.tick("every_5_min")
    days = [f"2026-03-0{day}" for day in (6, 7, 8, 9)]
    with ThreadPoolExecutor(len(days)) as pool:
        backfills = [pool.submit(w.by_hand, "events_daily", day) for day in days]
        try:
            w.shop.wait_for(2)
            w.at("2026-03-10 14:40:35").tick("every_5_min")
            assert w.lag("dashboard") == timedelta(seconds=35)
            assert w.shop.inside == 2
        finally:
            w.shop.free.set()
        assert [backfill.result().count("published") for backfill in backfills] == [1] * 4
    assert w.shop.most == 3
    assert sorted(w.receipts("events_daily")) == days
    assert w.pipeline.lake.ledger.database.rows("select * from reader") == []
