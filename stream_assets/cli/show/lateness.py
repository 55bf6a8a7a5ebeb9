"""`lateness` for people."""

from __future__ import annotations

from typing import Any

from stream_assets.cli.show.page import Page
from stream_assets.cli.show.words import last, many, when

_NEVER = "no arrival is known"


def show_lateness(facts: dict[str, Any], page: Page) -> None:
    """Quantiles of all streams in one table, then what each allowance leaves to heal."""
    streams = facts["streams"]
    page.table(
        ["stream", "events", "arrival known", "p50", "p99", "p99.9", "max"],
        [
            [s["stream"], s["events"], s["known"], *(_delay(s[f"{q}_seconds"]) for q in ("p50", "p99", "p999", "max"))]
            for s in streams
        ],
    )
    for stream in streams:
        page.line()
        allowed = stream["allowed"]
        rule = f" ({allowed['rule']}: {allowed['why']})" if allowed["rule"] else ""
        page.line(f"{stream['stream']}: {last(allowed['seconds'])} are allowed{rule}", "bold")
        page.line(
            f"Of {many(stream['known'], 'event')}, {when(stream['start'])} to {when(stream['end'])}, each would leave:"
        )
        page.table(
            ["allowed", "to heal", "share"],
            [[last(a["allowed_seconds"]), a["left"], _share(a["share"])] for a in stream["allowances"]],
        )
    page.line("Quantiles are rounded up to the next step of the counts; the rest is exact.", "dim")


def _delay(seconds: float | None) -> str:
    if seconds is None:
        return _NEVER
    return last(seconds) if seconds == int(seconds) else f"{seconds:.3g} s" if seconds < 60 else last(seconds)


def _share(share: float | None) -> str | None:
    return None if share is None else f"{share:.4%}"
