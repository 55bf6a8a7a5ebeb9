"""A partition is never replaced by one that lacks events it had: a source that has expired must not empty the lake."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.errors import LakeError, SourceError
from stream_assets.events.schema import EVENT_ID
from stream_assets.pipeline.content import WindowContent
from stream_assets.pipeline.reading import Read
from stream_assets.pipeline.site import Site


def refuse_loss(site: Site, stream: StreamSpec, content: WindowContent, named: Intervals) -> None:
    """Refuse the new content of a window that lacks events which the lake has there.

    Args:
        content: what the source gave for the window.
        named: windows that the source itself has named as touched: an event that is in one of them now has moved, where
            the lake has that window.

    Raises:
        SourceError: terminal; how many events are gone, and what to do.
    """
    window = content.window
    try:
        had = site.lake.read(stream.name, window, [EVENT_ID])
    except LakeError:
        return  # its file is gone or damaged: nothing is left there that could be lost
    lost = _lacking(had, [content.table])
    if lost:
        others = in_lake(site, stream, named) - Intervals.of(window)
        lost = _lacking(pa.table({EVENT_ID: lost}), [_ids(site, stream, span) for span in others])
    if lost:
        raise SourceError(
            f"stream {stream.name!r}, window {window}: the source no longer gives {len(lost)} of {had.num_rows} events that the "
            f"lake has (such as {lost[0]}), so nothing was replaced. If they are meant to go, say so: "
            f"`stream-assets materialize {stream.name} --accept-loss` for that range, or `{stream.daily}` for its day"
        )


def in_lake(site: Site, stream: StreamSpec, spans: Intervals) -> Intervals:
    """Return the part of `spans` that the lake has, as windows or as days."""
    return spans & (site.ledger.coverage(stream.name) | site.ledger.coverage(stream.daily))


def _lacking(had: pa.Table, now: list[pa.Table]) -> list[Any]:
    """Return the ids of `had` that no table of `now` has."""
    if not had.num_rows:
        return []
    ids: Any = had.column(EVENT_ID)
    for table in now:
        there: Any = table.column(EVENT_ID)
        ids = ids.filter(are_absent(ids, there))
    return ids.to_pylist()


def are_absent(ids: Any, there: Any) -> Any:
    """Return for each of `ids` whether it is not `there`."""
    if there.type != ids.type:
        ids, there = ids.cast(pa.string()), there.cast(pa.string())
    return pc.invert(pc.is_in(ids, value_set=there.combine_chunks()))


def _ids(site: Site, stream: StreamSpec, span: TimeWindow) -> pa.Table:
    """Return the ids that the source gives in `span` now."""
    with Read(site, stream, span, keep_rejected=False) as read:
        return pa.concat_tables([content.table.select([EVENT_ID]) for content in read.windows()])
