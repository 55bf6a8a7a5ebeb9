"""A partition is never replaced by one that lacks events it had: a source that has expired must not empty the lake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.errors import LakeError, MoveIncomplete, SourceError, StreamAssetsError
from stream_assets.events.schema import EVENT_ID
from stream_assets.pipeline.content import WindowContent
from stream_assets.pipeline.halves import halves_of
from stream_assets.pipeline.reading import Read
from stream_assets.pipeline.site import PARTS, Site
from stream_assets.pipeline.whereabouts import Whereabouts


class Given:
    """What a source gives by now in the windows that it has named, asked once: a day of them in one query."""

    def __init__(self, site: Site, stream: StreamSpec, named: Intervals) -> None:
        self.unread: dict[TimeWindow, StreamAssetsError] = {}
        days = dict.fromkeys(day for span in named for day in site.lake.calendar.days(span))
        self.where = Whereabouts(
            (content.window, content.table.select([EVENT_ID]))
            for day in days
            for content in _readable(site, stream, named.clip(day), self.unread)
        )


def follow(
    site: Site, stream: StreamSpec, content: WindowContent, named: Intervals, along: Intervals, given: Callable[[], Given],
    *, accepts_loss: bool,
) -> Intervals:  # fmt: skip
    """Return where the events have gone that the lake has in a window, or had by its receipt, and its new content lacks.

    Args:
        content: what the source gave for the window; it differs from what the lake has.
        named: windows that the source itself has named as touched: an event that is in one of them now has moved, where
            the lake has that window, or is about to get it.
        along: those of them that the same work fills.
        given: what the source gives in the named windows; asked for where events would go.
        accepts_loss: whether events may go that have moved nowhere.

    Raises:
        MoveIncomplete: transient; all that would go has moved into windows that nobody fills yet, or may be in some that
            cannot be read.
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
    here = Intervals.of(window)
    others, filled = named - here, (in_lake(site, stream, named) | along) - here
    lost, moved = _lacking(pc.unique(had.column(EVENT_ID)), content.table), Intervals()
    if len(lost) and others:
        found, moved = given().where.find(lost, filled)
        lost = lost.filter(pa.array(~found))
    for _, rows in site.lake.released.to_go(stream.name, window):
        lost = _lacking(lost, rows)  # a release that was stopped goes on when it is called again
    if accepts_loss:
        return moved
    is_whole = had.num_rows >= count
    if len(lost) and is_whole and others:
        found, _ = given().where.find(lost, others - filled)
        would_go = f"stream {stream.name!r}, window {window}: {len(lost):,} of {count:,} events (such as {lost[0]})"
        if found.all():
            raise MoveIncomplete(
                f"{would_go} have moved into windows that are not sealed yet, so nothing was replaced: it is tried again, and "
                "published together with those"
            )
        unread = next((error for w, error in given().unread.items() if w != window), None)
        if unread:
            raise MoveIncomplete(
                f"{would_go} may have moved into windows that cannot be read, so nothing was replaced, and it is tried again: "
                f"{unread}"
            )
    gone = max(len(lost), 0 if is_whole else count - content.table.num_rows)
    if gone:
        such = f" (such as {lost[0]})" if len(lost) else ", and the file that had them is gone or damaged"
        raise SourceError(
            f"stream {stream.name!r}, window {window}: the source no longer gives {gone:,} of {count:,} events "
            f"that the lake has{such}, so nothing was replaced. If they are meant to go, say so: "
            f"`stream-assets materialize {_allowed(site, stream, window)} --accept-loss`"
        )
    return moved


def _readable(
    site: Site, stream: StreamSpec, spans: Intervals, unread: dict[TimeWindow, StreamAssetsError]
) -> Iterator[WindowContent]:
    """Yield the windows of `spans` that the source gives; after a failure within, some of them twice.

    Why windows cannot be read is added to `unread`: it matters only if something is not found.
    """
    assert spans.hull
    try:
        with Read(site, stream, spans.hull, keep_rejected=False) as read:
            yield from (content for content in read.windows() if spans.covers(content.window))
    except PARTS as error:
        halves = halves_of(spans)
        if not halves:
            unread[spans.spans[0]] = error
        for half in halves or ():
            yield from _readable(site, stream, half, unread)


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


def _lacking(ids: Any, table: pa.Table) -> Any:
    """Return those of `ids` that `table` does not have."""
    return ids.filter(are_absent(ids, table.column(EVENT_ID))) if len(ids) else ids


def are_absent(ids: Any, there: Any) -> Any:
    """Return for each of `ids` whether it is not `there`."""
    if there.type != ids.type:
        ids, there = ids.cast(pa.string()), there.cast(pa.string())
    return pc.invert(pc.is_in(ids, value_set=there.combine_chunks()))
