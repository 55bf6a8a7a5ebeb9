"""`stream-assets files`."""

from __future__ import annotations

from typing import Any

import click

from stream_assets.cli.options import command, in_range
from stream_assets.cli.session import Session
from stream_assets.cli.show.page import Page


@command("list the files of a table")
@click.argument("table")
@in_range
def files(session: Session, table: str, start: str | None, end: str | None) -> None:
    """List the Parquet files that hold TABLE, one path a line, from the ledger.

    A stream's name gives each event once: its sealed days, and windows elsewhere. A file that the range cuts is listed
    whole; --json says which part of it is inside.
    """
    from stream_assets.cli.facts.values import span as span_of
    from stream_assets.cli.facts.values import spans

    pipeline = session.open()
    span = session.span(start, end)
    if table not in pipeline.lake.ledger.tables():
        session.table(table)
        found = []
    else:
        found = pipeline.lake.files(table, span)
    facts = {
        "table": table,
        "files": [
            {
                "path": str(f.path),
                **span_of(f.current.span),
                "rows": f.current.rows,
                "revision": f.current.revision,
                "wanted": spans(f.wanted),
            }
            for f in found
        ],
    }
    session.give(facts, _show)


def _show(facts: dict[str, Any], page: Page) -> None:
    for file in facts["files"]:
        click.echo(file["path"])
