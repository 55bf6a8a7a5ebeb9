"""`stream-assets compact`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_assets.cli.options import command
from stream_assets.cli.session import Session

if TYPE_CHECKING:
    from stream_assets.core.planning import Work
    from stream_assets.pipeline.pipeline import Pipeline


@command("seal closed days, and remove the files of their windows")
def compact(session: Session) -> bool:
    """Make closed days from their windows, and remove the files of windows whose day has been sealed long enough.

    `run` and the automation `heal` do both by themselves; this does nothing else. What a day lacks is read from its source.
    """
    from stream_assets.cli.commands.doing import do_due, done_facts, held_facts
    from stream_assets.cli.show.work import show_due

    def only(work: Work) -> bool:
        return work.removes in (None, "windows")

    pipeline = session.open().streams_alone()
    works, held = do_due(session, pipeline, only), held_facts(pipeline, only)
    files = "no file of a window can go now" if held else "no file of a window has to go"
    facts = done_facts(works, held, f"{_sealed(pipeline)}, and {files}.")
    session.give(facts, show_due)
    return not facts["failed"]


def _sealed(pipeline: Pipeline) -> str:
    from stream_assets.cli.show.words import many

    rule, tables = pipeline.rule(), pipeline.declarations.tables.values()
    left = [s for t in tables if t.is_days_of_stream for s in rule.wanted(t) - rule.state.table(t.name).coverage]
    days = sum(len(pipeline.calendar.days(span)) for span in left)
    if not days:
        return "Every closed day is sealed"
    return f"{many(days, 'closed day is', 'closed days are')} not sealed (`stream-assets status` says why)"
