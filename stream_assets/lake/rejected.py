# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""What lies beside a stream's tables: rows that could not become events.

A file's name is its content, so it is never used twice for another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from stream_assets.core.window import GRID, TimeWindow
from stream_assets.events.schema import REJECTED, empty
from stream_assets.lake.disk import lake_errors, sync_folder, take_name
from stream_assets.lake.layout import Layout

_START = "window_start=%Y%m%dT%H%MZ"


class Rejected:
    """The rejected rows of one lake, by stream and window."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def write(self, stream: str, window: TimeWindow, rows: pa.Table) -> str | None:
        """Keep the rejected rows of one window beside those kept before, synced; returns the file's name, None for no rows.

        Raises:
            LakeUnavailable: transient; the disk is full.
            LakeError: terminal; the lake cannot be written.
        """
        return _written(self._layout.rejected(stream, window), rows) if rows.num_rows else None

    def keep(self, stream: str, window: TimeWindow, name: str | None) -> None:
        """Let the file `name` be all that is kept as rejected of one window; None: nothing is.

        A file that somebody else has replaced meanwhile changes nothing.
        """
        folder = self._layout.rejected(stream, window)
        if name is not None and not (folder / name).exists():
            return
        with lake_errors(folder):
            for path in _files(folder):
                if path.name != name:
                    path.unlink(missing_ok=True)

    def read(self, stream: str, window: TimeWindow) -> pa.Table:
        """Return the rejected rows of one window (schema `REJECTED`): of several files, those written last."""
        return self.named(stream, window)[1]

    def named(self, stream: str, window: TimeWindow) -> tuple[str | None, pa.Table]:
        """Return the name of the file that counts for one window, None without one, and its rows."""
        while (name := self.name(stream, window)) is not None:
            try:
                return name, pq.read_table(self._layout.rejected(stream, window) / name, partitioning=None)
            except FileNotFoundError:
                continue  # others are kept now
        return None, empty(REJECTED)

    def name(self, stream: str, window: TimeWindow) -> str | None:
        """Return the name of the file that counts for one window: the one written last."""
        while found := _files(self._layout.rejected(stream, window)):
            try:
                return max(found, key=lambda p: (p.stat().st_mtime_ns, p.name)).name
            except FileNotFoundError:
                continue
        return None

    def windows(self, stream: str, span: TimeWindow) -> Iterator[TimeWindow]:
        """Yield the windows in `span` of which rejected rows are kept, oldest first."""
        for window, _ in _windows(self._layout.all_rejected(stream), span, self._layout):
            yield window


def _written(folder: Path, rows: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    content = sink.getvalue()
    name = f"{hashlib.sha256(content).hexdigest()[:32]}.parquet"
    with lake_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / name).exists():
            (folder / name).touch()  # it is the one written last
            return name
        draft = folder / f".{uuid4().hex}"
        try:
            draft.write_bytes(content)
            take_name(draft, folder / name)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        for made in (folder.parent, folder.parent.parent):
            sync_folder(made)
    return name


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*.parquet"))


def _windows(root: Path, span: TimeWindow, layout: Layout) -> Iterator[tuple[TimeWindow, list[Path]]]:
    """Yield the windows in `span` that have files under `root`."""
    if not root.is_dir():
        return
    days = {f"day={day}" for day in map(layout.calendar.day_of, (w.start for w in layout.calendar.days(span)))}
    for day in sorted(path for path in root.iterdir() if path.name in days):
        for folder in sorted(day.iterdir()):
            try:
                start = datetime.strptime(folder.name, _START).replace(tzinfo=UTC)
            except ValueError:
                continue  # nothing of ours
            window = TimeWindow(start, start + GRID)
            if window.overlaps(span) and (files := _files(folder)):
                yield window, files
