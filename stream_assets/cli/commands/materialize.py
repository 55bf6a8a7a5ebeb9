"""`stream-assets materialize`."""

from __future__ import annotations

import click

from stream_assets.cli.commands.filling import fill_spans
from stream_assets.cli.options import command
from stream_assets.cli.session import Session


@command("make partitions of a table by hand")
@click.argument("table")
@click.option("--from", "start", required=True, metavar="INSTANT", help="Start of the first partition.")
@click.option("--to", "end", metavar="INSTANT", help="End of the last partition, not included; one partition without.")
@click.option("--accept-loss", is_flag=True, help="Let events go that the source no longer has.")
def materialize(session: Session, table: str, start: str, end: str | None, *, accept_loss: bool) -> bool:
    """Make the partitions of TABLE in a range again, by hand: a stream's windows, its days, or a consumer.

    What comes out equal is not published again, and no partition is replaced by one that lacks events it had.
    """
    span = session.open().range(session.table(table), start, end)
    return fill_spans(session, table, [span], "asked by a person", accepts_loss=accept_loss)
