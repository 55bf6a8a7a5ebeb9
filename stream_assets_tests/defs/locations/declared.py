"""What the code locations of the real `dagster dev` share: a source with bad windows, consumers, and where their lakes are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from stream_assets import Project, Stream, consumer
from stream_assets.core.declaration import Consumer
from stream_assets.core.window import TimeWindow
from stream_assets.errors import SourceError
from stream_assets.sources.protocol import SourceState
from stream_assets.sources.synthetic import SyntheticEvents

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

LAKES = "TEST_LAKES"
"""Variable that names the folder of all lakes."""
ZONE = "TEST_ZONE"
"""Variable that names the time zone of the lake that lives."""


@dataclass(frozen=True)
class PoorEvents(SyntheticEvents):
    """Synthetic events of which one window cannot be read."""

    broken_at: str = "2023-09-01T10:20Z"

    def read(self, window: TimeWindow, *, now: datetime, state: SourceState | None = None) -> Iterator[pa.RecordBatch]:
        """Raise where the broken window is asked for."""
        if datetime.fromisoformat(self.broken_at) in window:
            raise SourceError(f"page 7 of {self.broken_at} is torn: mend it")
        return super().read(window, now=now, state=state)


def project(
    name: str, *, timezone: str = "UTC", start: str | None = None, end: str | None = None, lateness: float = 30
) -> Project:
    """Return the project whose lake has this name; a few thousand events a day."""
    source = PoorEvents(rate=0.02, late_share=0.0, lateness=timedelta(seconds=lateness))
    lake = Path(os.environ[LAKES]) / name
    return Project((Stream("events", source=source, end=end),), lake=str(lake), timezone=timezone, start=start)


@consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id", "amount"]})
def dashboard(events: pa.Table) -> pa.Table:
    """Events of five minutes."""
    import pyarrow as pa

    return pa.table({"events": [events.num_rows]})


@consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id"]})
def touchy(events: pa.Table, window: TimeWindow) -> pa.Table:
    """Cannot do one window."""
    import pyarrow as pa

    if f"{window.start:%Y-%m-%dT%H:%M}" == "2023-09-02T10:20":
        raise ValueError("not this one")
    return pa.table({"events": [events.num_rows]})


@consumer(freshness="1 day", reads={"events": ["event_id"]})
def report(events: pd.DataFrame) -> pd.DataFrame:
    """Events of a day."""
    import pandas as pd

    return pd.DataFrame({"events": [len(events)]})


CONSUMERS: list[Consumer] = [dashboard, touchy, report]
