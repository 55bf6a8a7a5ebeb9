"""After a ledger was rebuilt: which consumers' partitions are still what their inputs make of them."""

from __future__ import annotations

from collections.abc import Iterator

from stream_assets.core.declaration import Consumer
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning.due import lookback_span
from stream_assets.core.window import TimeWindow
from stream_assets.lake.ledger import Current
from stream_assets.pipeline.inputs import fingerprint
from stream_assets.pipeline.observe import kept_up
from stream_assets.pipeline.site import Site

WHY = "its inputs are not those in its receipt"


def recognise(site: Site) -> int:
    """Compare the fingerprints in the receipts of all consumers with their present inputs, from the ledger alone.

    Where they are equal the partition is not stale; any other is reopened. Idempotent. A consumer that is not declared
    is looked at once it is declared again.

    Returns:
        How many partitions were reopened.
    """
    return sum(_recognise(site, consumer) for consumer in site.declarations.consumers)


def _recognise(site: Site, consumer: Consumer) -> int:
    ledger, now = site.ledger, site.clock.now()
    reopened = 0
    with ledger.transaction():
        seq = ledger.seq()
        for currents in _by_day(site, consumer):
            stale = _stale(site, consumer, currents)
            ledger.recognise([c for c in currents if c not in stale], seq)
            ledger.reopened.add(consumer.name, Intervals.of(*(c.span for c in stale)), WHY, now, now)
            reopened += len(stale)
        ledger.sources.reconciled([consumer.name], seq)
    return reopened


def _by_day(site: Site, consumer: Consumer) -> Iterator[list[Current]]:
    hull = kept_up(site.ledger, site.declarations.tables[consumer.name]).hull
    for day in site.lake.calendar.days(hull) if hull else ():
        found = [c for c in site.ledger.current(consumer.name, day) if c.span.start >= day.start]
        if found:
            yield found


def _stale(site: Site, consumer: Consumer, currents: list[Current]) -> list[Current]:
    table = site.declarations.tables[consumer.name]
    reads = [lookback_span(c.span, table, site.lake.start, site.lake.calendar) for c in currents]
    hull = TimeWindow(reads[0].start, currents[-1].span.end)
    grains = site.ledger.tables()
    files = {i: site.lake.files(i, hull) if i in grains else [] for i in consumer.inputs}
    found: list[Current] = []
    for current, read in zip(currents, reads, strict=True):
        wanted = current.receipt.covered | (Intervals.of(read) - Intervals.of(current.span))
        present = {i: str(fingerprint(files[i], read, wanted)) for i in consumer.inputs}
        # A stated version counts as an input.
        if present != current.receipt.inputs or (consumer.code_stated and current.code != consumer.code):
            found.append(current)
    return found
