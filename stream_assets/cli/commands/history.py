"""`stream-assets history`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from stream_assets.cli.options import command
from stream_assets.cli.session import Session
from stream_assets.cli.show.page import Page


@command("what was done on each day, and what it cost")
@click.option("--days", type=click.IntRange(1, 36_500), default=14, show_default=True, help="How far back.")
def history(session: Session, days: int) -> None:
    """Say by UTC day what each automation did and what it cost, and what became of each table.

    The ledger keeps single publications and pieces of work for 90 days, and the sums of each day for ever.
    """
    ledger = session.open().lake.ledger
    since = (session.clock.now() - timedelta(days=days - 1)).date()
    facts = {
        "work": [
            {
                "day": str(w.day),
                "automation": w.automation,
                "runs": w.runs,
                "failed": w.failed,
                "cpu_seconds": round(w.cpu_seconds, 3),
            }
            for w in ledger.history.worked(since, session.clock.now())
        ],
        "tables": [
            {
                "day": str(p.day),
                "table": p.table,
                "first": p.first,
                "again": p.again,
                "equal": p.equal,
                "removed": p.removed,
                "rows": p.rows,
            }
            for p in ledger.history.published(since)
        ],
    }
    session.give(facts, _show)


def _show(facts: dict[str, Any], page: Page) -> None:
    if not facts["work"] and not facts["tables"]:
        page.line("Nothing was done.")
        return
    page.table(
        ["day", "automation", "pieces of work", "failed", "CPU s"],
        [[w["day"], w["automation"], w["runs"], w["failed"] or None, w["cpu_seconds"]] for w in facts["work"]],
    )
    page.line()
    page.table(
        ["day", "table", "published", "again", "equal", "removed", "rows"],
        [
            [t["day"], t["table"], t["first"], t["again"] or None, t["equal"] or None, t["removed"] or None, t["rows"]]
            for t in facts["tables"]
        ],
    )
