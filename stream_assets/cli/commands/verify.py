"""`stream-assets verify`."""

from __future__ import annotations

import click

from stream_assets.cli.options import command, in_range
from stream_assets.cli.progress import bar
from stream_assets.cli.session import Session


@command("compare source, lake, ledger and files")
@click.argument("table", required=False)
@in_range
@click.option("--deep", is_flag=True, help="Read every file, compare ids over the whole range, read the ledger's file.")
@click.option("--mend", is_flag=True, help="Do what the differences name, then verify again.")
def verify(session: Session, table: str | None, start: str | None, end: str | None, *, deep: bool, mend: bool) -> bool:
    """Compare source, lake, ledger and files, for TABLE or all tables; exit 1 on a difference.

    A stream's name means its windows and its days. Files are read, rows are hashed, and consumers' partitions are
    computed again, so this takes about as long as filling the range does.
    """
    from stream_assets.cli.facts.verify import mended_facts, verify_facts
    from stream_assets.cli.show.verify import show_verify
    from stream_assets.pipeline.verify import mend as do_mend
    from stream_assets.pipeline.verify import verify as compare

    pipeline = session.open()
    asked = session.span(start, end)
    declarations = pipeline.declarations
    if table is None:
        apart = sorted(set(pipeline.lake.ledger.tables()) - set(declarations.tables))
        tables = [*declarations.tables, *apart]
    elif table in declarations.tables and declarations.is_stream(table):
        tables = [table, declarations.stream(table).daily]
    else:
        tables = [table if table in pipeline.lake.ledger.tables() else session.table(table)]
    with bar() as shown:
        days = len(pipeline.calendar.days(asked))
        streams = sum(days for t in tables if t in declarations.tables and declarations.tables[t].stream)
        shown.begin("verify", (len(tables) + streams) * (1 + mend))
        found = compare(pipeline.site, tables, asked, shown.step, is_deep=deep)
        facts = verify_facts(tables, asked, found)
        if mend:
            before = mended_facts(found, do_mend(pipeline, found.differences))
            found = compare(pipeline.site, tables, asked, shown.step, is_deep=deep)
            facts = {**verify_facts(tables, asked, found), **before}
    session.give(facts, show_verify)
    return found.is_good
