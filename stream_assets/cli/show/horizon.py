"""Words for where 5-minute keys begin."""

from __future__ import annotations

from typing import Any

from stream_assets.cli.show.page import Page
from stream_assets.cli.show.words import many


def show_horizon(facts: dict[str, Any], page: Page) -> None:
    """Say where keys begin and how many there are, and what moving that on does, would do, or has done."""
    page.line(
        f"5-minute keys begin at {facts['first_key']}: {many(facts['keys'], 'key')} an asset ({', '.join(facts['tables'])})."
    )
    coming = [
        f"{facts[f'{name}_keys']:,} on {facts[f'{name}_keys_on']}"
        for name in ("many", "most")
        if facts[f"{name}_keys_on"]
    ]
    if coming:
        page.line(f"They reach {', '.join(coming)}; Dagster recommends at most {facts['most_keys']:,} an asset.")
    move = facts["move"]
    if facts["advanced"]:
        _show_done(facts, page)
    elif not move["removed_keys"] and not move["refused"]:
        page.line(
            f"Nothing would go by --advance --to {move['day']}. Without --to it keeps the newest 300 days; "
            "name a later day to remove more."
        )
    elif move["refused"]:
        page.line(f"--advance --to {move['day']} would be refused: {move['refused']}", "yellow")
    else:
        page.line(
            f"--advance --to {move['day']} would remove {many(move['removed_keys'], 'key')} of each, and leave {move['keys']:,}. "
            "It cannot be taken back."
        )
        _show_kept(page)


def _show_done(facts: dict[str, Any], page: Page) -> None:
    page.line(f"{many(facts['move']['removed_keys'], 'key')} of each are removed.", "green")
    _show_kept(page)
    page.line(
        "Now reload the code location in Dagster's UI (Deployment, Reload), so that the keys go there: until then a run of one "
        "that has gone is refused."
    )
    if facts["instance"] is None:
        page.line("No Dagster instance was asked whether it is about to fill one of them.", "yellow")


def _show_kept(page: Page) -> None:
    page.line(
        "Files stay: older events are read from days, and consumers' older windows as they are, by sql, files and lake.read. "
        "They have no keys, and are not made again; late events heal their days alone.",
        "dim",
    )
