"""Real time and the real daemon: promises are kept while events flow, late ones too, and across a power cut.

`make soak` lets it last longer: SOAK_MINUTES, by default 8, of which each freshness gets a part.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.pipeline import Pipeline
from stream_assets.pipeline.promises import standings
from stream_assets.pipeline.verify import verify
from stream_assets_tests.defs.dagster_dev import DagsterDev
from stream_assets_tests.defs.locations import soaked
from stream_assets_tests.defs.locations.declared import LAKES

MINUTES = float(os.environ.get("SOAK_MINUTES", "8"))
FRESHNESSES = ("5 min", "10 min", "5 min")
LOOK = 5.0


@dataclass
class Watch:
    """What was seen of every promise, every five seconds."""

    looks: list[tuple[datetime, str, bool]] = field(default_factory=list)

    def look(self, pipeline: Pipeline) -> bool:
        """Note how every consumer stands; whether all promises are kept."""
        found = standings(pipeline.site, pipeline.state())
        now = pipeline.clock.now()
        self.looks += [(now, str(s), s.is_kept) for s in found]
        return all(s.is_kept and not s.holes for s in found)

    @property
    def broken(self) -> list[tuple[datetime, str, bool]]:
        return [look for look in self.looks if not look[2]]


@dataclass
class Soaked:
    """The lake after the soak, and what was seen of it."""

    pipeline: Pipeline
    watch: Watch
    began: datetime


@pytest.fixture(scope="module")
def soaked_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Soaked]:
    folder = tmp_path_factory.mktemp("soak")
    lakes = str(folder / "lakes")
    watch, began = Watch(), None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LAKES, lakes)
        for part, freshness in enumerate(FRESHNESSES):
            patch.setenv(soaked.FRESHNESS, freshness)
            environment = {LAKES: lakes, soaked.FRESHNESS: freshness}
            modules = {"soaked": "stream_assets_tests.defs.locations.soaked"}
            with DagsterDev(modules, folder / "home", environment) as dev:
                pipeline = soaked.project("soaked").open(soaked.consumers(freshness), is_loading=False)
                began = began or pipeline.clock.now()
                dev.wait_for(lambda: Watch().look(pipeline), "every promise to be kept", 180)  # noqa: B023
                end = time.monotonic() + MINUTES * 60 / len(FRESHNESSES)
                while time.monotonic() < end:
                    watch.look(pipeline)
                    time.sleep(LOOK)
                if part == 0:
                    dev.kill()  # with whatever it is doing
                pipeline.lake.ledger.database.close()
        pipeline = soaked.project("soaked").open(soaked.consumers(FRESHNESSES[-1]))
        list(pipeline.run())
        assert began is not None
        yield Soaked(pipeline, watch, began)


pytestmark = [pytest.mark.slow, pytest.mark.soak]


def test_every_promise_was_kept_whenever_it_was_looked_at(soaked_lake: Soaked) -> None:
    assert len(soaked_lake.watch.looks) > 2 * MINUTES
    assert soaked_lake.watch.broken == []


def test_windows_were_sealed_as_time_went_by(soaked_lake: Soaked) -> None:
    lake = soaked_lake.pipeline.lake
    everything = TimeWindow(lake.start, soaked_lake.pipeline.clock.now())
    live = [c for c in lake.ledger.current("events", everything) if c.span.end > soaked_lake.began]
    assert len(live) >= timedelta(minutes=MINUTES) // GRID
    first = [c for c in live if c.receipt.latency and c.revision == 1]
    assert all(c.receipt.latency.p50 < 600 for c in first if c.receipt.latency)


def test_source_and_lake_agree_to_the_row(soaked_lake: Soaked) -> None:
    pipeline = soaked_lake.pipeline
    everything = TimeWindow(pipeline.lake.start, pipeline.calendar.day_around(pipeline.clock.now()).end)
    found = verify(pipeline.site, list(pipeline.declarations.tables), everything)
    assert [d for d in found.differences if not d.is_known] == []
    ids = pipeline.lake.read("events", everything, ["event_id"])["event_id"].to_pylist()
    assert len(ids) == len(set(ids)) == found.rows > 0


def test_the_tables_are_those_of_a_lake_made_at_once(soaked_lake: Soaked) -> None:
    pipeline = soaked_lake.pipeline
    list(pipeline.run())
    fresh = soaked.project("fresh").open(soaked.consumers("5 min"))
    list(fresh.run())
    pipeline.observe()
    # What came late for closed days waits up to an hour here, and is there already.
    waiting = Intervals.union_of(r.span for r in pipeline.lake.ledger.reopened.all().get("events", ()))
    closed = TimeWindow(pipeline.lake.start, pipeline.calendar.day_around(pipeline.clock.now()).start)
    for table, count in (("dashboard", 576), ("report", 2)):
        ours, theirs = (
            {c.span: (c.rows, c.digest) for c in p.lake.ledger.current(table, closed) if not waiting.clip(c.span)}
            for p in (pipeline, fresh)
        )
        assert ours == theirs
        assert len(ours) == count or waiting
