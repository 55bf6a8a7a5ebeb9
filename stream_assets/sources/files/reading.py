# pyright: reportUnknownMemberType=false
"""Reads a range from the folder, file by file, with what the ledger knows of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.errors import StreamAssetsError
from stream_assets.sources.files.listing import Found, list_files
from stream_assets.sources.files.scan import Scan, reader_of
from stream_assets.sources.protocol import FileFact, SourceState

if TYPE_CHECKING:
    from stream_assets.sources.files import FileEvents


def read(
    source: FileEvents, window: TimeWindow, *, now: datetime, state: SourceState | None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `window`; see `FileEvents.read`. New files are remembered in `state`."""
    known: Mapping[str, FileFact] = state.files() if state else {}
    learnt: list[FileFact] = []
    whole = reader_of(source)
    pruned = reader_of(source, within=window, now=now)
    try:
        for file in list_files(source, was_there=bool(known)):
            fact = known.get(file.name)
            current = fact if fact and is_current(file, fact) else None
            if state and current is None and source.format == "parquet":
                # The times alone are cheap, and spare the other columns of files that do not matter.
                current = Scan(source, file, now=now).learn(whole)
                if fact is None:
                    learnt.append(current)
            if current and not may_have(current, window):
                continue
            scan = Scan(source, file, now=now)
            yield from scan.read(pruned, window)
            # arrivals() needs what it knew of a changed file, so only it replaces that.
            mended = current is not None and current.error is not None and scan.fact.error is None
            if state and source.format != "parquet" and (fact is None or mended):
                learnt.append(scan.fact)
    finally:
        if state and learnt:
            state.remember(learnt)


def schema(source: FileEvents, *, now: datetime) -> pa.Schema | None:
    """Return the columns of the last file by name that can be read, None for none: `read` says what is wrong."""
    reader = reader_of(source, within=TimeWindow(now, now), now=now)
    try:
        files = list_files(source, was_there=True)
    except StreamAssetsError:
        return None
    for file in reversed(files):
        try:
            piece = next(reader(file, offset=0, times_only=False), None)
        except StreamAssetsError:
            continue
        if piece is not None and piece.table.schema.names:
            return piece.table.schema.remove_metadata()
    return None


def is_current(file: Found, fact: FileFact) -> bool:
    """Whether the fact is about the version of the file that is there now."""
    return (file.size, file.mtime_ns) == (fact.size, fact.mtime_ns)


def may_have(fact: FileFact, window: TimeWindow) -> bool:
    """Whether the file has, or may have in a part that cannot be read, a row of `window`."""
    asked = Intervals.of(window)
    return bool((fact.windows & asked) or (fact.broken & asked))
