"""A partition is never replaced by one that lacks events it had: a source that has expired must not empty the lake."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.errors import LakeError, SourceError, SourceIncomplete
from stream_assets.events.schema import EVENT_ID
from stream_assets.pipeline.content import WindowContent
from stream_assets.pipeline.reading import Read
from stream_assets.pipeline.site import Site


def refuse_loss(site: Site, stream: StreamSpec, content: WindowContent, named: Intervals, along: Intervals) -> None:
    """Refuse the new content of a window that lacks events which the lake has there, or had by its receipt.

    Args:
        content: what the source gave for the window; it differs from what the lake has.
        named: windows that the source itself has named as touched: an event that is in one of them now has moved, where
            the lake has that window, or is about to get it.
        along: those of them that the same work fills.

    Raises:
        SourceIncomplete: transient; all that would go has moved into windows that nobody fills yet.
        SourceError: terminal; how many events would go, and how to allow it.
    """
    window = content.window
    count = _count(site, stream, window)
    try:
        had = site.lake.read(stream.name, window, [EVENT_ID])
    except (LakeError, OSError, pa.ArrowInvalid) as error:
        if getattr(error, "errno", None) is not None:
            raise  # the system refused, which says nothing of the file
        # Gone or damaged: its receipt still says how many there were.
        had = pa.table({EVENT_ID: pa.array([], pa.string())})
    lost = _lacking(had, [content.table])
    others = Intervals()
    if lost:
        others = (in_lake(site, stream, named) | along) - Intervals.of(window)
        lost = _left(site, stream, lost, others)
    is_whole = had.num_rows >= count
    if lost and is_whole and not _left(site, stream, lost, named - others - Intervals.of(window)):
        raise SourceIncomplete(
            f"stream {stream.name!r}, window {window}: {len(lost):,} of {count:,} events (such as {lost[0]}) have moved into "
            "windows that are not sealed yet, so nothing was replaced: it is tried again, and published together with those"
        )
    gone = max(len(lost), 0 if is_whole else count - content.table.num_rows)
    if gone:
        such = f" (such as {lost[0]})" if lost else ", and the file that had them is gone or damaged"
        raise SourceError(
            f"stream {stream.name!r}, window {window}: the source no longer gives {gone:,} of {count:,} events "
            f"that the lake has{such}, so nothing was replaced. If they are meant to go, say so: "
            f"`stream-assets materialize {_allowed(site, stream, window)} --accept-loss`"
        )


def _left(site: Site, stream: StreamSpec, ids: list[Any], spans: Intervals) -> list[Any]:
    """Return those of `ids` that the source gives nowhere in `spans`."""
    return _lacking(pa.table({EVENT_ID: ids}), [_ids(site, stream, span) for span in spans])


def in_lake(site: Site, stream: StreamSpec, spans: Intervals) -> Intervals:
    """Return the part of `spans` that the lake has, as windows or as days."""
    return spans & (site.ledger.coverage(stream.name) | site.ledger.coverage(stream.daily))


def _allowed(site: Site, stream: StreamSpec, window: TimeWindow) -> str:
    """Return the table and the range that a loss is allowed for: the window's own, or its day where that is sealed."""
    calendar = site.lake.calendar
    if not site.ledger.coverage(stream.daily).covers(window):
        return f"{stream.name} --from {calendar.key(window, '5 min')}"
    return f"{stream.daily} --from {calendar.key(calendar.day_around(window.start), 'day')}"


def _count(site: Site, stream: StreamSpec, window: TimeWindow) -> int:
    """Return how many events the lake has in a window, as the receipts say."""
    count = 0
    for current in (file.current for file in site.lake.files(stream.name, window)):
        facts = current.receipt.windows
        count += sum(f.rows for f in facts if f.start == window.start) if facts else current.rows
    return count


def _lacking(had: pa.Table, now: list[pa.Table]) -> list[Any]:
    """Return the ids of `had` that no table of `now` has."""
    if not had.num_rows:
        return []
    ids: Any = pc.unique(had.column(EVENT_ID))
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
