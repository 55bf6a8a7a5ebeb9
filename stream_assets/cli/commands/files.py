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
def files(session: Session, table: str, start: str | None, end: str | None) -> bool:
    """List the Parquet files that hold TABLE, one path a line, from the ledger.

    A stream's name gives each event once: its sealed days, and windows elsewhere. A file that the range cuts is listed
    whole; --json says which part of it is inside. Exit 1 where one of them is not there.
    """
    from stream_assets.cli.facts.values import span as span_of
    from stream_assets.cli.facts.values import spans

    pipeline = session.open()
    span = session.span(start, end)
    if table not in pipeline.lake.ledger.tables():
        session.table(table)
        found, lost = [], []
    else:
        found, lost = pipeline.lake.files(table, span), pipeline.lake.lost(table, span)
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
        "lost": [str(path) for path in lost],
    }
    session.give(facts, _show)
    for path in lost:
        session.say(f"{path} is not there: run `stream-assets verify {table}`")
    return not lost


def _show(facts: dict[str, Any], page: Page) -> None:
    for file in facts["files"]:
        click.echo(file["path"])
