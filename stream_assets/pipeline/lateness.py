"""What the ledger has learned of how late events come. Needs no Arrow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stream_assets.core.declaration import DAILY_SUFFIX
from stream_assets.core.lateness import LEARNED_FROM, Auto, Lateness
from stream_assets.core.window import TimeWindow

if TYPE_CHECKING:
    from datetime import datetime

    from stream_assets.core.declaration import StreamSpec
    from stream_assets.lake.founding import Foundation
    from stream_assets.pipeline.site import Site
    from stream_assets.sources.protocol import Source


def lateness_of_stream(site: Site, stream: StreamSpec) -> tuple[TimeWindow, Lateness]:
    """Return how late the events of the last 28 days came, and which span that is: its sealed days, then the windows."""
    ledger, now = site.ledger, site.clock.now()
    start = site.lake.calendar.day_around(now - LEARNED_FROM).start
    days = ledger.coverage(stream.daily).clip(TimeWindow(start, now))
    windows = ledger.coverage(stream.name).clip(TimeWindow(start, now)) - days
    hull = (days | windows).hull or TimeWindow(start, start)
    seen = [
        *(ledger.lateness.seen(stream.daily, s) for s in days),
        *(ledger.lateness.seen(stream.name, s) for s in windows),
    ]
    return hull, Lateness.total(seen)


def learn(stream: str, source: Source, lake: Foundation, now: datetime) -> Source:
    """Return the source with the lateness that it allows today, where that is to be learned.

    It is learned from the days sealed in the last 28 days, once a local day for everybody who opens the lake.
    """
    rule: Any = getattr(source, "lateness", None)
    if not isinstance(rule, Auto):
        return source
    today = lake.calendar.day_around(now)
    span = TimeWindow(lake.calendar.day_around(now - LEARNED_FROM).start, today.end)
    records = lake.ledger.lateness
    chosen = records.chosen(
        stream, rule, lake.calendar.day_of(now), now, lambda: rule.learned(records.seen(stream + DAILY_SUFFIX, span))
    )
    changed: Any = replace(source, lateness=chosen)  # pyright: ignore[reportArgumentType]
    return changed
