"""`stream-assets retain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_assets.cli.options import command
from stream_assets.cli.session import Session

if TYPE_CHECKING:
    from stream_assets.core.planning import Work


@command("remove what is not kept any longer")
def retain(session: Session) -> bool:
    """Remove what is not kept any longer: days, rejected rows, files of windows whose day is sealed, old records of the ledger.

    How long each is kept stands in the project (`Stream(keep=, keep_windows=, keep_rejected=)`, STREAM_ASSETS_KEEP).
    `run` and the automation `heal` do it by themselves; this does nothing else. `plan` says what would go. What has been
    removed stays in the lake's staging folder for an hour.
    """
    from stream_assets.cli.commands.doing import do_due, done_facts, held_facts
    from stream_assets.cli.show.work import show_due

    def only(work: Work) -> bool:
        return work.removes is not None

    pipeline = session.open()
    works, held = do_due(session, pipeline, only), held_facts(pipeline, only)
    facts = done_facts(works, held, "Nothing can go now." if held else "Nothing has to go.")
    session.give(facts, show_due)
    return not facts["failed"]
