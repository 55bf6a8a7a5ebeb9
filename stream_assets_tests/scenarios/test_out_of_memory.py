"""A process that has no memory left: the lake stays whole, the error says what to do, and what fits is done."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stream_assets import consumer
from stream_assets.core.window import TimeWindow
from stream_assets.pipeline.verify import verify
from stream_assets_tests.lake.processes import run
from stream_assets_tests.scenarios.buyers import dashboard
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import World

Worlds = Callable[..., World]


@contextmanager
def little_memory() -> Iterator[None]:
    """Leave this process some 300 MB of addresses more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (300 << 20), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def too_much() -> Any:
    return np.ones(1 << 30)


@dataclass
class Heavy(Shop):
    """Needs more memory than there is for ranges that hold the second window of the day."""

    is_heavy: bool = True

    def read(self, window: TimeWindow, **named: Any) -> Any:
        if self.is_heavy and any((w.start.hour, w.start.minute) == (0, 5) for w in window.windows()):
            too_much()
        return super().read(window, **named)


def assert_whole(w: World) -> None:
    assert list(w.pipeline.lake.layout.staging.rglob("*.parquet")) == []
    tables = list(w.pipeline.declarations.tables)
    span = w.pipeline.range("events", "2026-03-10", "2026-03-10T00:15")
    assert verify(w.pipeline.site, tables, span).differences == []
    assert len(w.ids()) == len(set(w.ids())) == 15


def test_a_window_that_does_not_fit_stands_alone_and_is_tried_again(world: Worlds) -> None:
    w = world(dashboard, now="2026-03-10 00:17", start="2026-03-10", sources={"events": Heavy()})

    def child() -> None:
        with little_memory():
            w.tick("every_5_min")
        (failure,) = w.pipeline.lake.ledger.work.failures()["events"]
        assert "memory ran out" in failure.error
        assert "give the process more memory" in failure.error
        assert failure.transient
        assert list(w.receipts("events")) == ["2026-03-10T00:00+0000", "2026-03-10T00:10+0000"]

    assert run(child) == 0
    w.shop.is_heavy = False
    w.clock.advance(w.shop.settling)
    w.run()
    assert_whole(w)


def test_a_consumer_that_does_not_fit_is_tried_again(world: Worlds) -> None:
    hungry = [True]

    @consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id"]})
    def eater(events: pa.Table) -> pa.Table:
        """Eats."""
        if hungry:
            too_much()
        return pa.table({"events": [events.num_rows]})

    w = world(eater, now="2026-03-10 00:17", start="2026-03-10")

    def child() -> None:
        with little_memory():
            w.tick("every_5_min")
        assert all("memory ran out" in error for error in w.failures("eater"))
        assert all(f.transient for f in w.pipeline.lake.ledger.work.failures()["eater"])
        assert w.receipts("eater") == {}

    assert run(child) == 0
    assert len(w.failures("eater")) == 3
    hungry.clear()
    w.clock.advance(w.shop.settling)
    w.run()
    assert_whole(w)
