"""Proves that source, lake, ledger and files agree, and names every difference with the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stream_assets.core.window import TimeWindow
from stream_assets.pipeline.observe import observe
from stream_assets.pipeline.site import Site
from stream_assets.pipeline.verify.consumers import Consumers
from stream_assets.pipeline.verify.difference import MEND_LEDGER, MEND_SOURCE, Difference, Findings, Verification
from stream_assets.pipeline.verify.events import Events
from stream_assets.pipeline.verify.holes import find_holes
from stream_assets.pipeline.verify.identity import find_in_two_windows
from stream_assets.pipeline.verify.mend import Mended, mend
from stream_assets.pipeline.verify.partitions import Partitions

__all__ = ["Difference", "Mended", "Verification", "mend", "verify"]


def verify(
    site: Site,
    tables: Sequence[str],
    span: TimeWindow,
    step: Callable[[], None] = lambda: None,
    *,
    is_deep: bool = False,
) -> Verification:
    """Compare everything that the lake has of `tables` inside `span`, from measurement: files are read, rows hashed.

    A stream is read from its source, in one query a day, and compared window by window; a consumer's partitions are
    computed again from the lake, and compared by value. Nothing is changed but what looking at a source records.

    Args:
        site: the project at work.
        tables: streams (their windows), days of streams, consumers, or tables that only the lake knows by now.
        span: event time `[start, end)` on the 5-minute grid.
        step: called after each day of a stream and each table.
        is_deep: whether the files of a day's windows and of undeclared tables are read too, ids are compared over all
            of `span` and not from one day to the next alone, and the ledger's file is read.
    """
    found = Findings(site, span, is_deep=is_deep)
    if is_deep:
        for fault in site.ledger.database.damage(is_deep=True):
            found.add("ledger", "_ledger.sqlite", span, fault, MEND_LEDGER)
    for stream, said in observe(site).items():
        if stream in tables:
            found.add("source", stream, span, f"its source cannot be asked: {said}", MEND_SOURCE)
    grains = site.ledger.tables()
    compared: set[str] = set()
    for name in tables:
        table = site.declarations.tables.get(name)
        if table and table.stream:
            Events(found, table, table.stream).compare(step)
            if is_deep and table.stream.name not in compared:
                compared.add(table.stream.name)
                find_in_two_windows(found, table, span, span)
        if name in grains:
            Partitions(found, name, grains[name], table).compare()
        if table and table.consumer:
            Consumers(found, table, table.consumer).compare()
        if table:
            find_holes(found, table)
        step()
    return found.verification
