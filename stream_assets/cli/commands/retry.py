"""`stream-assets retry`."""

from __future__ import annotations

from typing import Any

import click

from stream_assets.cli.options import command
from stream_assets.cli.session import Session
from stream_assets.cli.show.page import Page


@command("forget failures, so that they are due again")
@click.argument("table", required=False)
def retry(session: Session, table: str | None) -> None:
    """Forget the failures of TABLE, or of all tables, so that what failed is due again at once.

    Which columns a stream has is learnt anew from its files, so that a type which came by mistake and is mended in the
    source stands in the way of no other.
    """
    from stream_assets.cli.facts.values import partitions
    from stream_assets.core.intervals import Intervals
    from stream_assets.core.planning import removal_of

    pipeline = session.open()
    work = pipeline.lake.ledger.work
    declared = pipeline.declarations.tables
    failures = work.failures()
    if table is not None and table not in failures:
        session.table(table)
    cleared: list[dict[str, Any]] = []
    for name in [table, removal_of(table)] if table else sorted(failures):
        hull = Intervals.union_of(f.span for f in failures.get(name, ())).hull
        if hull is None:
            continue
        grain = pipeline.lake.ledger.tables().get(name, "day")
        cleared += [
            {"table": name, **partitions(pipeline.calendar, f.span, grain), "error": f.error, "tries": f.tries}
            for f in failures[name]
        ]
        work.clear_failures(name, hull)
        stream = declared[name].stream if name in declared else None
        if stream is not None:
            pipeline.forget_columns(stream.name)
    session.give({"cleared": cleared}, _show)


def _show(facts: dict[str, Any], page: Page) -> None:
    if not facts["cleared"]:
        page.line("Nothing had failed.")
    for failure in facts["cleared"]:
        page.line(f"{failure['table']} {failure['first_key']} is due again; it had failed with: {failure['error']}")
