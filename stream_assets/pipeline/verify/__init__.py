"""Proves that source, lake, ledger and files agree, and names every difference with the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stream_assets.core.window import TimeWindow
from stream_assets.pipeline.observe import observe
from stream_assets.pipeline.site import Site
from stream_assets.pipeline.verify.difference import Difference, Findings, Verification
from stream_assets.pipeline.verify.events import Events
from stream_assets.pipeline.verify.holes import find_holes
from stream_assets.pipeline.verify.partitions import Partitions

__all__ = ["Difference", "Verification", "verify"]


def verify(
    site: Site, tables: Sequence[str], span: TimeWindow, step: Callable[[], None] = lambda: None
) -> Verification:
    """Compare everything that the lake has of `tables` inside `span`, from measurement: files are read, rows hashed.

    A stream is read from its source, in one query a day, and compared window by window. Nothing is changed but what
    looking at a source records.

    Args:
        site: the project at work.
        tables: streams (their windows), days of streams, consumers, or tables that only the lake knows by now.
        span: event time `[start, end)` on the 5-minute grid.
        step: called after each day of a stream and each table.
    """
    found = Findings(site, span)
    for stream, said in observe(site).items():
        if stream in tables:
            found.add(
                "source", stream, span, f"its source cannot be asked: {said}", "mend the source, and verify again"
            )
    grains = site.ledger.tables()
    for name in tables:
        table = site.declarations.tables.get(name)
        if table and table.stream:
            Events(found, table, table.stream).compare(step)
        if name in grains:
            Partitions(found, name, grains[name], table).compare()
        if table:
            find_holes(found, table)
        step()
    return found.verification
