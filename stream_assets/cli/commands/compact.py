"""`stream-assets compact`."""

from __future__ import annotations

from stream_assets.cli.options import command
from stream_assets.cli.session import Session


@command("seal closed days, and remove the files of their windows")
def compact(session: Session) -> bool:
    """Make closed days from their windows, and remove the files of windows whose day has been sealed long enough.

    `run` and the automation `heal` do both by themselves; this does nothing else. What a day lacks is read from its source.
    """
    from stream_assets.cli.commands.doing import do_due, done_facts
    from stream_assets.cli.show.work import show_due

    works = do_due(session, session.open().streams_alone(), lambda work: work.removes in (None, "windows"))
    facts = done_facts(works, "Every closed day is sealed, and no file of a window has to go.")
    session.give(facts, show_due)
    return not facts["failed"]
