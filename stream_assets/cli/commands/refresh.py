"""`stream-assets refresh`."""

from __future__ import annotations

import click

from stream_assets.cli.commands.filling import fill_spans
from stream_assets.cli.options import command, in_range
from stream_assets.cli.session import Session
from stream_assets.core.window import TimeWindow


@command("rebuild what other code made, or a range")
@click.argument("consumer")
@in_range
def refresh(session: Session, consumer: str, start: str | None, end: str | None) -> bool:
    """Rebuild the partitions of CONSUMER that other code made, or all of a range.

    Without a range, history that is `stale: code` is made again by the code of today.
    """
    declared = session.consumer(consumer)
    pipeline = session.open()
    pipeline.observe()
    if start is not None:
        spans = [pipeline.range(consumer, start, end)]
    else:
        everything = session.span(None, end)
        ledger = pipeline.lake.ledger
        stale = ledger.made_by_other_code({consumer: declared.code}, ledger.first(declared.grain))
        spans = [s for made in stale.values() for s in made.clip(everything) if s]
    return fill_spans(
        session, consumer, _whole(session, consumer, spans), "refreshed by a person",
        nothing=f"{consumer}: every partition was made by its present code; nothing to refresh.",
    )  # fmt: skip


def _whole(session: Session, consumer: str, spans: list[TimeWindow]) -> list[TimeWindow]:
    """Round to whole partitions."""
    pipeline = session.open()
    grain = pipeline.table(consumer).grain
    found: list[TimeWindow] = []
    for span in spans:
        every = pipeline.calendar.partitions(span, grain)
        found.append(TimeWindow(every[0].start, every[-1].end))
    return found
