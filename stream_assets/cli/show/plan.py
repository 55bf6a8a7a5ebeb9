"""`plan` for people."""

from __future__ import annotations

from typing import Any

from stream_assets.cli.show.page import Page
from stream_assets.cli.show.words import keys, many, when


def show_plan(facts: dict[str, Any], page: Page) -> None:
    """Work first, then what every automation says, then the lanes with their arithmetic."""
    page.line(f"{facts['lake']} at {when(facts['now'])}, days in {facts['timezone']}", "dim")
    if not facts["work"]:
        page.line("Nothing is due.", "green")
    for work in facts["work"]:
        unit = "window" if work["grain"] == "5 min" else "day"
        page.line(
            f"{work['automation']}: {', '.join(work['tables'])}, {keys(work)} ({many(work['partitions'], unit)})",
            "bold",
        )
        page.line(f"    because {work['reason']}")
    page.line()
    page.line("Automations", "bold")
    for said in facts["automations"]:
        serves = f" (serves {', '.join(said['consumers'])})" if said["consumers"] else ""
        page.line(f"  {said['automation']}{serves}: {said['says']}")
    page.line()
    page.line("Lanes", "bold")
    for consumer in facts["consumers"]:
        paused = " Paused: it demands nothing." if consumer["is_paused"] else ""
        page.line(f"  {consumer['arithmetic']}{paused}", "" if consumer["can_be_kept"] else "yellow")
    show_silent(facts["silent_sources"], page)


def show_silent(silent: dict[str, str], page: Page) -> None:
    """Name the sources that could not be asked."""
    for stream, said in silent.items():
        page.line(f"stream {stream}: its source cannot be asked: {said}" if stream else said, "red")
