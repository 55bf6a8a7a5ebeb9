"""Sealed windows of a source that cannot name what arrived are looked at again, at growing ages."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.pipeline.asking import source_errors
from stream_assets.sources.protocol import CountsRows, identity_of

if TYPE_CHECKING:
    from stream_assets.core.declaration import StreamSpec
    from stream_assets.lake.ledger import Aged
    from stream_assets.pipeline.site import Site

DAY_AGES = (timedelta(hours=24), timedelta(days=7))
"""Ages at which a sealed day is looked at, whole."""
WINDOW_AGES = (timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1), timedelta(hours=6), *DAY_AGES)
"""Ages at which a sealed window is looked at; the ages of days only where no day holds it."""

COUNTED = "the source counts other rows than were read"
READ = "the source cannot name what arrived: looked at again"

BY_VERIFY = "5 min, 15 min, 1 h, 6 h, 24 h and 7 days after sealing; what comes later is found by `verify` alone"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found.

    Attributes:
        looked_at: what had reached an age; to be recorded together with what is reopened.
        changed: event time that is to be read again.
    """

    looked_at: tuple[Aged, ...]
    changed: Intervals
    reason: str


def look_again(site: Site, stream: StreamSpec) -> Look:
    """Return what of `stream` has reached an age, and of that what is to be read again.

    A source that counts is asked once a range, and only windows whose count is another than was read are named; one that
    does not has all of it read again. Records nothing.
    """
    now, ages = site.clock.now(), site.ledger.ages
    days = site.ledger.coverage(stream.daily)
    known_before = now - DAY_AGES[-1]
    windows = [ages.due(stream.name, age, now, known_before) for age in WINDOW_AGES]
    whole = [ages.due(stream.daily, age, now, known_before) for age in DAY_AGES]
    looked_at = tuple(aged for aged in (*windows, *whole) if aged.is_new)
    spans = Intervals.union_of(s for a in windows for s in (a.spans - days if a.age in DAY_AGES else a.spans))
    spans |= Intervals.union_of(s for a in whole for s in a.spans)
    spans &= days | site.ledger.coverage(stream.name)
    reason = COUNTED if isinstance(site.sources[stream.name], CountsRows) else READ
    return Look(looked_at, Intervals.union_of(w for s in spans for w in _differing(site, stream, s, now)), reason)


def what_finds_late_events(site: Site, stream: StreamSpec) -> str:
    """Say how events that arrive after sealing are found, and until when."""
    if own_cursor(site, stream) is not None:
        return "the source names the windows that they touch"
    return f"windows are {'counted' if isinstance(site.sources[stream.name], CountsRows) else 'read'} again {BY_VERIFY}"


def own_cursor(site: Site, stream: StreamSpec) -> str | None:
    """Return the cursor that a stream's source gave; None for that of another kind or place: all is looked at anew."""
    with suppress(ValueError):
        match json.loads(site.ledger.sources.cursor(stream.name) or "null"):
            case [of, str(cursor)] if of == identity_of(site.sources[stream.name]):
                return cursor
            case _:
                pass
    return None


def _differing(site: Site, stream: StreamSpec, span: TimeWindow, now: datetime) -> Intervals:
    """Return the windows of `span` of which the source counts other rows than were read; all where it cannot count."""
    source = site.sources[stream.name]
    if not isinstance(source, CountsRows):
        return Intervals.of(span)
    with source_errors(stream.name, source, "how many rows there are"):
        counts = source.summary(span, now=now, state=site.source_state(stream.name))
    if counts is None:
        return Intervals.of(span)
    read = _rows_read(site, stream, span)
    return Intervals.union_of(w for w in span.windows() if read.get(w.start) != counts.get(w.start, 0))


def _rows_read(site: Site, stream: StreamSpec, span: TimeWindow) -> dict[datetime, int]:
    """Return how many rows the source gave of each window when it was read last: as the day says, else its own receipt."""
    own = {c.span.start: c.receipt.rows_read for c in site.ledger.current(stream.name, span)}
    days = site.ledger.current(stream.daily, span)
    return own | {f.start: f.rows + f.duplicates + f.rejected for day in days for f in day.receipt.windows}
