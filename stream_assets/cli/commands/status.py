"""`stream-assets status`."""

from __future__ import annotations

import click

from stream_assets.cli.options import command
from stream_assets.cli.session import Session


@command("how consumers and streams stand now")
@click.option(
    "--recent",
    default=10,
    type=click.IntRange(min=0),
    show_default=True,
    help="How many of the newest pieces of work to show.",
)
def status(session: Session, recent: int) -> None:
    """Say how every consumer stands against its promise, what each stream has, and what was done last."""
    from stream_assets.cli.facts.status import status_facts
    from stream_assets.cli.show.status import show_status

    session.give(status_facts(session.open(), recent=recent), show_status)
