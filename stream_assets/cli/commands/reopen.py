"""`stream-assets reopen`."""

from __future__ import annotations

from typing import Any

import click

from stream_assets.cli.facts.values import spans
from stream_assets.cli.options import command
from stream_assets.cli.session import Session
from stream_assets.cli.show.page import Page


@command("have a range made again by what runs next")
@click.argument("table")
@click.option("--from", "start", required=True, metavar="INSTANT", help="Start of the first partition.")
@click.option("--to", "end", metavar="INSTANT", help="End of the last partition, not included; one partition without.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept in the receipts of what is made again.")
@click.option("--by", default="", metavar="NAME", help="Who says so.")
def reopen(session: Session, table: str, start: str, end: str | None, reason: str, by: str) -> None:
    """Record that what TABLE has in a range is no longer right: the planner has it made again, and what reads it.

    What comes out equal changes nothing. What has not been made yet is due anyway.
    """
    from stream_assets.pipeline.gaps import reopen as record

    pipeline = session.open()
    span = pipeline.range(session.table(table), start, end)
    session.give({"table": table, "reopened": spans(record(pipeline, table, span, reason, by))}, _show)


def _show(facts: dict[str, Any], page: Page) -> None:
    from stream_assets.cli.show.words import ranges

    if not facts["reopened"]:
        page.line(f"Nothing of {facts['table']} is sealed there: it is due by itself. stream-assets plan says when.")
        return
    page.line(
        f"{facts['table']} {ranges(facts['reopened'])} is made again by the next stream-assets run, or by Dagster."
    )
