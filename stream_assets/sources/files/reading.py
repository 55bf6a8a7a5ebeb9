# pyright: reportUnknownMemberType=false
"""Reads a range from the folder, file by file, with what the ledger knows of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from stream_assets.core.window import TimeWindow
from stream_assets.errors import StreamAssetsError
from stream_assets.sources.files.listing import list_files
from stream_assets.sources.files.scan import Scan, reader_of
from stream_assets.sources.protocol import FileFact, FileVersion, SourceState

if TYPE_CHECKING:
    from stream_assets.sources.files import FileEvents


def read(
    source: FileEvents, window: TimeWindow, *, now: datetime, state: SourceState | None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `window`; see `FileEvents.read`. New files are remembered in `state`."""
    elsewhere: Mapping[str, FileVersion] = state.versions(without=window) if state else {}
    learnt: list[FileFact] = []
    whole = reader_of(source)
    pruned = reader_of(source, within=window, now=now)
    try:
        for file in list_files(source, state):
            if file.is_version(elsewhere.get(file.name)):
                continue
            fact = state.fact(file.name) if state else None
            current = fact if file.is_version(fact) else None
            if state and current is None and source.format == "parquet":
                # The times alone are cheap, and spare the other columns of files that do not matter.
                current = Scan(source, file, now=now).learn(whole)
                if fact is None:
                    learnt.append(current)
            if current and not current.may_have(window):
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
        files = list_files(source, None)
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
