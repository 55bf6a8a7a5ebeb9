"""`stream-assets plan`."""

from __future__ import annotations

from stream_assets.cli.options import command
from stream_assets.cli.session import Session


@command("what is due now, why, and every consumer's lane")
def plan(session: Session) -> bool:
    """Say what is due now and why, and which lane every consumer has. Runs nothing; exit 1 if a source cannot be asked."""
    from stream_assets.cli.facts.plan import plan_facts
    from stream_assets.cli.show.plan import show_plan

    facts = plan_facts(session.open())
    session.give(facts, show_plan)
    return not facts["silent_sources"]
