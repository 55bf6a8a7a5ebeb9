"""`stream-assets rejected list` and `stream-assets rejected release`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stream_assets.cli.options import command, in_range
from stream_assets.cli.session import Session
from stream_assets.errors import UsageError

if TYPE_CHECKING:
    from stream_assets.core.declaration import StreamSpec


@click.group(short_help="rows that could not become events: list them, release them")
def rejected() -> None:
    """Rows of sources that could not become events, kept by the window in which they are counted."""


@command("which rows are rejected, and why")
@click.argument("stream", required=False)
@in_range
@click.option("--rows", is_flag=True, help="The raw rows too.")
def list_(session: Session, stream: str | None, start: str | None, end: str | None, rows: bool) -> None:
    """Count the rejected rows of STREAM, or of all streams, by window and reason."""
    from stream_assets.cli.facts.rejected import rejected_rows
    from stream_assets.cli.show.rejected import show_rejected_rows

    asked = session.span(start, end)
    session.give(rejected_rows(session.open(), _streams(session, stream), asked, with_rows=rows), show_rejected_rows)


@command("make events of rejected rows, once that works")
@click.argument("stream", required=False)
@in_range
def release(session: Session, stream: str | None, start: str | None, end: str | None) -> None:
    """Make events of the rejected rows of STREAM, or of all streams, as the source is declared now.

    Those that conform land in the windows of their event time, as late events do, also where the source has them no
    more; the others stay rejected, with the reason of today. What was released stays so, whatever is read again. It is
    looked at again by each release, of any range: what was released under a wrong declaration moves to where it belongs.
    """
    from stream_assets.cli.facts.rejected import released_facts
    from stream_assets.cli.show.rejected import show_released
    from stream_assets.pipeline.release import release as make

    pipeline = session.open()
    asked = session.span(start, end)
    done = []
    for each in _streams(session, stream):
        pipeline.observe()
        done.append(released_facts(pipeline, each, make(pipeline, each, asked)))
    session.give({"streams": done}, show_released)


def _streams(session: Session, name: str | None) -> list[StreamSpec]:
    declarations = session.open().declarations
    if name is not None and not declarations.is_stream(name):
        raise UsageError(f"there is no stream {name!r}; there are: {', '.join(s.name for s in declarations.streams)}")
    return [s for s in declarations.streams if name in (None, s.name)]


rejected.add_command(list_, "list")
rejected.add_command(release, "release")
