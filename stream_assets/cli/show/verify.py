"""`verify` for people."""

from __future__ import annotations

from typing import Any

from stream_assets.cli.show.page import Page
from stream_assets.cli.show.words import many, ranges, when

MOST = 50


def show_verify(facts: dict[str, Any], page: Page) -> None:
    """What was compared, then the differences."""
    page.line(
        f"{', '.join(facts['tables'])}, {when(facts['start'])} to {when(facts['end'])}: {many(facts['rows'], 'event')} in "
        f"{many(facts['windows'], 'window')} against the source in {many(facts['source_queries'], 'query', 'queries')}, "
        f"{many(facts['files'], 'file')} against the ledger."
    )
    for difference in facts["differences"][:MOST]:
        known = " (known)" if difference["is_known"] else ""
        page.line(f"{difference['table']} {ranges([difference])}: {difference['said']}{known}", "" if known else "red")
        for said in difference["ids"]:
            page.line(f"    {said}")
        page.line(f"    mend: {difference['mend']}", "dim")
    if len(facts["differences"]) > MOST:
        page.line(f"and {len(facts['differences']) - MOST} more: --json lists them all")
    counted = [d for d in facts["differences"] if not d["is_known"]]
    waiting = len(facts["differences"]) - len(counted)
    agrees = f"Everything agrees, but for {many(waiting, 'known difference')}." if waiting else "Everything agrees."
    page.line(many(len(counted), "difference") + "." if counted else agrees, "red" if counted else "green")
