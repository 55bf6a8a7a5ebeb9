"""`explain` for people."""

from __future__ import annotations

from typing import Any

from stream_assets.cli.show.page import Page
from stream_assets.cli.show.plan import show_silent
from stream_assets.cli.show.words import last, when


def show_explain(facts: dict[str, Any], page: Page) -> None:
    """The decision, what is read, and at which boundaries."""
    page.line(facts["arithmetic"], "bold" if facts["can_be_kept"] else "yellow")
    for line in facts["description"].splitlines():
        page.line(line)
    page.line()
    page.line(f"Grain {facts['grain']}; code {facts['code']}; now {facts['standing']}")
    for read in facts["reads"]:
        columns = ", ".join(read["columns"]) if read["columns"] is not None else "all columns"
        back = f", {last(facts['lookback_seconds'])} back" if facts["lookback_seconds"] else ""
        drift = f"; drift {read['drift']}" if read["drift"] else ""
        page.line(f"Reads {read['table']}: {columns}, as {read['arrives_as']}{back}{drift}")
    for stream, rule in facts["lateness"].items():
        if rule["rule"]:
            page.line(f"Lateness of {stream} is {rule['rule']}: {last(rule['seconds'])}, {rule['why']}")
    page.line(f"Settled through {when(facts['settled_through'])}; wanted through {when(facts['wanted_through'])}")
    page.line()
    page.table(
        ["wanted by", "last boundary", "next boundary", "looked for at"],
        [
            [b["automation"], when(b["last"]), when(b["next"]), when(b["next_looked_for_at"])]
            for b in facts["boundaries"]
        ],
    )
    if facts["is_paused"]:
        page.line("It is paused: it demands nothing, and its promise is suspended.", "yellow")
    for reader in facts["readers"]:
        paused = " (paused)" if reader["is_paused"] else ""
        page.line(f"Read by {reader['consumer']}, which wants it {reader['automation']}{paused}")
    show_silent(facts["silent_sources"], page)
