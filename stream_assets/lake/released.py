# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Events that were rejected rows once: a part of what is read for their windows, whatever the source gives.

They are kept by local day, a file a day, with the raw row of each, so that they can be conformed again. A file's name is
never used twice; of several files of one day (a crash) the newest counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stream_assets.core.window import TimeWindow
from stream_assets.events.released import by_window
from stream_assets.events.schema import EVENT_TIME, INSTANT
from stream_assets.lake.disk import lake_errors, sync_folder, take_name
from stream_assets.lake.layout import Layout

RAW = "stream_assets.raw"
"""A column of what is kept: the raw row as JSON."""

PENDING = "stream_assets.pending"
"""A column of what is kept: `TO_COME`, `TO_GO`, or zero for an event that the published windows have."""
TO_COME, TO_GO = 1, -1

_NAME = re.compile(r"day=(\d{4}-\d\d-\d\d)-r(\d+)-[0-9a-f]{8}\.parquet")


class Released:
    """The released events of one lake, by stream and local day.

    Writers hold the ledger's lock, so that each goes on from what the one before it has left.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def state(self, stream: str) -> Mapping[date, str]:
        """Return the name of each day's file, oldest first: another name says that something has changed."""
        newest: dict[date, tuple[int, str]] = {}
        for path in _listed(self._layout.all_released(stream)):
            if match := _NAME.fullmatch(path.name):
                day = date.fromisoformat(match[1])
                newest[day] = max(newest.get(day, (0, "")), (int(match[2]), path.name))
        return {day: name for day, (_, name) in sorted(newest.items())}

    def kept(self, stream: str, day: date) -> tuple[str, pa.Table] | None:
        """Return the name of one day's file, and all that is kept in it; None without one."""
        while name := self.state(stream).get(day):
            try:
                rows = pq.read_table(self._layout.all_released(stream) / name, partitioning=None)
            except FileNotFoundError:
                continue  # there is a newer one
            return name, rows.replace_schema_metadata(None)
        return None

    def put(self, stream: str, day: date, rows: pa.Table) -> str | None:
        """Let `rows` be all that is kept of one day, synced; returns the file's name, None for no rows.

        Raises:
            LakeUnavailable: transient; the disk is full.
            LakeError: terminal; the lake cannot be written.
        """
        folder = self._layout.all_released(stream)
        before = sorted(
            (int(m[2]), m[0]) for p in _listed(folder) if (m := _NAME.fullmatch(p.name)) and m[1] == str(day)
        )
        name = None
        with lake_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if rows.num_rows:
                name = f"day={day}-r{before[-1][0] + 1 if before else 1}-{uuid4().hex[:8]}.parquet"
                draft = folder / f".day={day}"
                pq.write_table(rows, draft)
                take_name(draft, folder / name)
                sync_folder(folder.parent)
                sync_folder(folder.parent.parent)
            for _, old in before:  # the oldest first: none of them is ever the newest again
                (folder / old).unlink()
            sync_folder(folder)
        return name

    def events(self, stream: str, span: TimeWindow) -> Iterator[tuple[TimeWindow, pa.Table]]:
        """Yield by window what is released in `span`, oldest first."""
        return self._windows(stream, span, lambda: pc.field(PENDING) != TO_GO)

    def to_go(self, stream: str, span: TimeWindow) -> Iterator[tuple[TimeWindow, pa.Table]]:
        """Yield by window what was released in `span` and is no longer, as it was published there."""
        return self._windows(stream, span, lambda: pc.field(PENDING) == TO_GO)

    def _windows(
        self, stream: str, span: TimeWindow, which: Callable[[], pc.Expression]
    ) -> Iterator[tuple[TimeWindow, pa.Table]]:
        time: Any = pc.field(EVENT_TIME)
        for day in self.state(stream):
            if self._layout.calendar.day(day).overlaps(span) and (found := self.kept(stream, day)):
                start, end = (pa.scalar(instant, INSTANT) for instant in (span.start, span.end))
                rows = found[1].filter(which() & (time >= start) & (time < end))
                yield from by_window(rows.drop_columns([RAW, PENDING]))


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
