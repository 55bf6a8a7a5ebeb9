"""`stream-assets sql`."""

from __future__ import annotations

import sys
from typing import Any

import click

from stream_assets.cli.options import command, in_range
from stream_assets.cli.session import Session
from stream_assets.cli.show.page import Page

MOST_ROWS = 1000
"""As many rows are printed as a table; CSV and JSON have all."""


@command("ask DuckDB over the lake's tables")
@click.argument("query")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@in_range
def sql(session: Session, query: str, form: str, start: str | None, end: str | None) -> None:
    """Answer QUERY by DuckDB over the lake: one view a table, each event once.

    `events` (and any other stream) has all its events, `events_daily` those of the sealed days; every consumer is a
    view with its columns, `day` and at 5-minute grain `window_start`. --from and --to leave out partitions of the views.
    """
    from stream_assets.cli.facts.sql import answer_facts, ask

    answer = ask(session.open(), query, session.span(start, end))
    if form == "csv" and not session.as_json:
        import pyarrow.csv

        sys.stdout.flush()
        pyarrow.csv.write_csv(answer, sys.stdout.buffer)
        return
    session.as_json = session.as_json or form == "json"
    rows = answer.num_rows
    facts = answer_facts(answer if session.as_json else answer.slice(0, MOST_ROWS))
    session.give({**facts, "row_count": rows}, _show)


def _show(facts: dict[str, Any], page: Page) -> None:
    names = [column["name"] for column in facts["columns"]]
    if not names:
        return
    page.table(names, [list(row.values()) for row in facts["rows"]])
    left = facts["row_count"] - len(facts["rows"])
    if left:
        page.line(f"and {left:,} more rows: --format csv or --json prints all")
