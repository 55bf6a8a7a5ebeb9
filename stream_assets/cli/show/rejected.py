"""`rejected list` and `rejected release` for people."""

from __future__ import annotations

from typing import Any

from stream_assets.cli.show.page import Page
from stream_assets.cli.show.words import many, ranges


def show_rejected_rows(facts: dict[str, Any], page: Page) -> None:
    """Rejected rows by stream, window and reason."""
    for stream in facts["streams"]:
        if not stream["rows"]:
            page.line(f"{stream['stream']}: no rows are rejected")
            continue
        page.line(f"{stream['stream']}: {many(stream['rows'], 'row')} rejected, kept in {stream['kept_in']}", "bold")
        page.table(
            ["window", "rows", "reason"],
            [[w["key"], count, reason] for w in stream["windows"] for reason, count in w["reasons"].items()],
        )
        for window in stream["windows"]:
            for row in window.get("raw", ()):
                page.line(f"{window['key']} {row['reason']}: {row['row']}")
        page.line(
            f"Once the source is declared as it should be (id=, time=, timezone=): stream-assets rejected release {stream['stream']}"
        )


def show_released(facts: dict[str, Any], page: Page) -> None:
    """What became of rejected rows."""
    for stream in facts["streams"]:
        name = stream["stream"]
        if not stream["released"] and not stream["moved"] and not stream["left"]:
            page.line(f"{name}: no rows are rejected")
            continue
        where = f" of {ranges(stream['windows'])}" if stream["windows"] else ""
        moved = f", and {many(stream['moved'], 'event')} released before moved" if stream["moved"] else ""
        page.line(f"{name}: {many(stream['released'], 'rejected row')} became events{moved}{where}")
        for table, key in dict.fromkeys((p["table"], p["key"]) for p in stream["published"]):
            page.line(f"    {table} {key} is published again")
        for reason, count in stream["left_reasons"].items():
            page.line(f"    {many(count, 'row')} rejected still: {reason}", "yellow")
