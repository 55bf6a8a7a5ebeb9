"""Any source, deprived of knowing what arrived: what a plain table in a database is like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from stream_assets.core.window import TimeWindow, floor_to_grid
from stream_assets.events.conform import Names
from stream_assets.sources.protocol import SourceState


@dataclass(frozen=True)
class Untracked:
    """Reads what `inner` reads and names no arrivals.

    Attributes:
        reads: every range that was read, oldest first.
    """

    inner: Any
    reads: list[TimeWindow] = field(default_factory=list[TimeWindow])

    @property
    def names(self) -> Names:
        return self.inner.names

    @property
    def settling(self) -> timedelta:
        return self.inner.settling

    def watermark(self, now: datetime) -> datetime:
        return self.inner.watermark(now)

    def read(self, window: TimeWindow, *, now: datetime, state: SourceState | None = None) -> Iterator[pa.RecordBatch]:
        self.reads.append(window)
        return self.inner.read(window, now=now, state=state)

    def schema(self, *, now: datetime) -> pa.Schema | None:
        return self.inner.schema(now=now)

    def arrivals(self, cursor: str | None, *, now: datetime, state: SourceState | None = None) -> None:
        return None

    def describe(self) -> str:
        return f"{self.inner.describe()}, which says nothing of arrivals"


@dataclass(frozen=True)
class Counted(Untracked):
    """The same, but it can count.

    Attributes:
        asked: every range that was counted, oldest first.
    """

    asked: list[TimeWindow] = field(default_factory=list[TimeWindow])

    def summary(
        self, span: TimeWindow, *, now: datetime, state: SourceState | None = None
    ) -> Mapping[datetime, int] | None:
        self.asked.append(span)
        counts: Counter[datetime] = Counter()
        for batch in self.inner.read(span, now=now, state=state):
            counts.update(map(floor_to_grid, batch.column(self.names.time).to_pylist()))
        return counts
