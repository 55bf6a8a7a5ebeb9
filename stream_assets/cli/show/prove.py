"""`prove` for people."""

from __future__ import annotations

from typing import Any

from stream_assets.cli.show.page import Page
from stream_assets.cli.show.words import many, ranges, when

MOST = 50


def show_prove(facts: dict[str, Any], page: Page) -> None:
    """What each lane did with the same events, then whether they made the same rows."""
    page.line(
        f"{facts['consumer']}, {when(facts['start'])} to {when(facts['end'])}: {many(facts['events'], 'event')} with the "
        f"lookback, in {many(facts['late'], 'late arrival')}, as they arrived."
    )
    for lane in facts["lanes"]:
        page.line(
            f"{lane['name']}: {many(lane['rows'], 'row')} in {many(lane['partitions'], 'partition')}, "
            f"{many(lane['runs'], 'run')}, {many(lane['publications'], 'publication')}, {lane['cpu_seconds']:.1f} CPU seconds"
        )
    for difference in facts["differences"][:MOST]:
        page.line(f"{difference['lane']} {ranges([difference])}: {difference['said']}", "red")
        for said in difference["rows"]:
            page.line(f"    {said}")
    if len(facts["differences"]) > MOST:
        page.line(f"and {len(facts['differences']) - MOST} more: --json lists them all")
    if facts["is_equal"]:
        page.line("Equal: every lane made the same rows.", "green")
    elif any(difference["is_failure"] for difference in facts["differences"]):
        page.line(
            "Not proved, since what is said above could not be made: mend that, and `prove` again. Where the lake has the "
            f"same failure, `stream-assets retry {facts['consumer']}` makes it there.",
            "red",
        )
    else:
        page.line(f"Not equal: {many(len(facts['differences']), 'difference')}. Is the function pure?", "red")
