"""The source of a run: synthetic events as the world has them by now, with outages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, TimeWindow, floor_to_grid
from stream_assets.errors import SourceError, SourceUnavailable
from stream_assets.events.conform import Names
from stream_assets.sources.generate import SCHEMA, generate, late_windows
from stream_assets.sources.protocol import Arrivals, SourceState
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets_tests.chaos.weather import Weather

UNAVAILABLE, WRONG = 1.0, 2.0
"""Kinds of silence: one that passes, and one that looks as if it did not."""


@dataclass(frozen=True)
class Shop:
    """Events arrive by the world's time; the watermark goes by the machine's clock, as that of files does.

    So a clock that is an hour ahead seals windows of which nothing is there yet, and every window that received an event
    is named, late or not.
    """

    events: SyntheticEvents
    weather: Weather

    @property
    def names(self) -> Names:
        return self.events.names

    @property
    def settling(self) -> timedelta:
        return self.events.settling

    def watermark(self, now: datetime) -> datetime:
        self._answer()
        return self.events.watermark(now)

    def read(self, window: TimeWindow, *, now: datetime, state: SourceState | None = None) -> Iterator[pa.RecordBatch]:
        self._answer()
        for batch in generate(self.events, window, self.weather.world()):
            yield batch
            self._answer()

    def schema(self, *, now: datetime) -> pa.Schema:
        return SCHEMA

    def arrivals(self, cursor: str | None, *, now: datetime, state: SourceState | None = None) -> Arrivals:
        self._answer()
        until = self.weather.world()
        since = datetime.fromisoformat(cursor) if cursor else until - timedelta(days=7)
        return Arrivals(self._touched(since, until).spans, until.isoformat(), until)

    def _touched(self, since: datetime, until: datetime) -> Intervals:
        live = TimeWindow(floor_to_grid(since - self.settling), floor_to_grid(until) + GRID)
        touched = late_windows(self.events, since, until)
        for batch in generate(self.events, live, until):
            came = batch.filter(pc.greater(batch.column("arrival_time"), pa.scalar(since)))
            starts = {floor_to_grid(t) for t in came.column("event_time").to_pylist()}
            touched |= Intervals.union_of(TimeWindow(s, s + GRID) for s in starts)
        return touched

    def describe(self) -> str:
        return self.events.describe()

    def _answer(self) -> None:
        silence = self.weather.get("silence")
        if silence == UNAVAILABLE:
            raise SourceUnavailable("the shop does not answer")
        if silence == WRONG:
            raise SourceError("the shop answers with a page that says it is closed")
