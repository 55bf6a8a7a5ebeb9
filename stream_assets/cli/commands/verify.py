"""`stream-assets verify`."""

from __future__ import annotations

import click

from stream_assets.cli.options import command, in_range
from stream_assets.cli.progress import bar
from stream_assets.cli.session import Session


@command("compare source, lake, ledger and files")
@click.argument("table", required=False)
@in_range
def verify(session: Session, table: str | None, start: str | None, end: str | None) -> bool:
    """Compare source, lake, ledger and files, for TABLE or all tables; exit 1 on a difference.

    A stream's name means its windows and its days. Files are read and rows are hashed, so this takes about as long as
    reading the range from the source does.
    """
    from stream_assets.cli.facts.verify import verify_facts
    from stream_assets.cli.show.verify import show_verify
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
        shown.begin(
            "verify",
            len(tables) + sum(days for t in tables if t in declarations.tables and declarations.tables[t].stream),
        )
        found = compare(pipeline.site, tables, asked, shown.step)
    session.give(verify_facts(tables, asked, found), show_verify)
    return found.is_good
