"""`stream-assets lateness`."""

from __future__ import annotations

import click

from stream_assets.cli.options import command
from stream_assets.cli.session import Session


@command("how late events come, and what that leaves to heal")
@click.argument("stream", required=False)
def lateness(session: Session, stream: str | None) -> None:
    """Say how late the events of STREAM, or of all streams, came in the last 28 days.

    For each of four allowed latenesses it says how many events would have come after their window was sealed, and so
    would have been left to heal.
    """
    from stream_assets.cli.facts.lateness import lateness_facts
    from stream_assets.cli.show.lateness import show_lateness

    pipeline = session.open()
    streams = [session.stream(stream)] if stream else list(pipeline.declarations.streams)
    session.give(lateness_facts(pipeline, streams), show_lateness)
