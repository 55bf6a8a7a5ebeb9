"""`verify` for people."""

from __future__ import annotations

from typing import Any

from stream_assets.cli.show.page import Page
from stream_assets.cli.show.words import many, ranges, when

MOST = 50


def show_verify(facts: dict[str, Any], page: Page) -> None:
    """What was mended, what was compared, then the differences."""
    _mended(facts, page)
    page.line(
        f"{', '.join(facts['tables'])}, {when(facts['start'])} to {when(facts['end'])}: {many(facts['rows'], 'event')} in "
        f"{many(facts['windows'], 'window')} against the source in {many(facts['source_queries'], 'query', 'queries')}, "
        f"{many(facts['partitions'], 'partition')} of consumers ({many(facts['consumer_rows'], 'row')}) computed again, "
        f"{many(facts['files'], 'file')} against the ledger."
    )
    for reason, count in facts["skipped"].items():
        page.line(f"{many(count, 'partition')} not computed again: {reason}", "dim")
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


def _mended(facts: dict[str, Any], page: Page) -> None:
    if "before" not in facts:
        return
    page.line(f"{many(len(facts['before']), 'difference')} before.")
    for mended in facts["mended"][:MOST]:
        page.line(f"{mended['table']} {ranges([mended])}: {mended['said']}", "" if mended["is_done"] else "red")
    if len(facts["mended"]) > MOST:
        page.line(f"and {len(facts['mended']) - MOST} more: --json lists them all")
    page.line("Verified again:")
