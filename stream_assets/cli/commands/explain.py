"""`stream-assets explain`."""

from __future__ import annotations

import click

from stream_assets.cli.options import command
from stream_assets.cli.session import Session


@command("why a consumer runs when it runs")
@click.argument("consumer")
def explain(session: Session, consumer: str) -> None:
    """Say why CONSUMER has its lane and cadence, with the arithmetic, what it reads and who wants it when."""
    from stream_assets.cli.facts.explain import explain_facts
    from stream_assets.cli.show.explain import show_explain

    session.give(explain_facts(session.open(), session.consumer(consumer)), show_explain)
