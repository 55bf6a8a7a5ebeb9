"""Events without an arrival time: an added row of a republication counts as arrived when it was read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.lateness import Lateness
from stream_assets.errors import LakeError
from stream_assets.events.schema import EVENT_ID
from stream_assets.lake.ledger import Current
from stream_assets.pipeline.content import WindowContent, lateness_of
from stream_assets.pipeline.loss import are_absent
from stream_assets.pipeline.site import Site


def came_when_read(site: Site, stream: StreamSpec, content: WindowContent) -> Lateness:
    """Return how late those events of a window, read just now, came that the lake does not have there."""
    try:
        had = site.lake.read(stream.name, content.window, [EVENT_ID])
    except LakeError:
        return Lateness()  # its file is gone or damaged: nothing says what is new
    if not had.num_rows:
        added = content.table
    else:
        added = content.table.filter(are_absent(content.table.column(EVENT_ID), had.column(EVENT_ID)))
    return replace(lateness_of(added, content.window, site.clock.now()), events=0)


def carried(partitions: Iterable[Current]) -> Lateness:
    """Return what the revisions before say of such events."""
    return replace(Lateness.total(c.receipt.lateness for c in partitions if c.receipt.lateness), events=0)
