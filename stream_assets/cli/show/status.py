"""`status` for people."""

from __future__ import annotations

from typing import Any

from stream_assets.cli.show.page import Page
from stream_assets.cli.show.plan import show_silent
from stream_assets.cli.show.words import alike, keys, last, many, ranges, when
from stream_assets.cli.show.work import show_rejected

MOST_FAILURES = 5


def show_status(facts: dict[str, Any], page: Page) -> None:
    """Consumers against their promises, streams, the newest work."""
    page.line(f"{facts['lake']} at {when(facts['now'])}, days in {facts['timezone']}", "dim")
    if facts["copy_of"]:
        page.line(
            f"a copy of the lake in {facts['copy_of']}, only read: stream-assets split makes it its own", "yellow"
        )
    page.table(
        ["consumer", "promise", "lag", "complete through", "is"],
        [
            [c["consumer"], c["promise"], last(c["lag_seconds"]), when(c["complete_through"]), c["stands"]]
            for c in facts["consumers"]
        ],
    )
    for consumer in facts["consumers"]:
        _troubles(consumer, page)
    for stream in facts["streams"]:
        _stream(stream, page)
    _accepted(facts["accepted"], page)
    page.line()
    page.table(
        ["work", "tables", "partitions", "state", "at", "took s", "CPU s"],
        [
            [
                w["automation"],
                ", ".join(w["tables"]),
                keys(w),
                w["state"],
                when(w["requested_at"]),
                w["seconds"],
                w["cpu_seconds"],
            ]
            for w in facts["recent_work"]
        ],
    )
    for work in facts["recent_work"]:
        if work["error"]:
            page.line(f"{', '.join(work['tables'])} {keys(work)}: {work['error']}", "red")
    show_silent(facts["silent_sources"], page)


def _accepted(gaps: list[dict[str, Any]], page: Page) -> None:
    for gap in gaps[-MOST_FAILURES:]:
        page.line(f"{gap['table']} {ranges([gap])} is sealed without data: {gap['said']}", "yellow")
    if len(gaps) > MOST_FAILURES:
        page.line(f"and {many(len(gaps) - MOST_FAILURES, 'older accepted gap')}: --json lists them all", "yellow")


def _troubles(consumer: dict[str, Any], page: Page) -> None:
    name = consumer["consumer"]
    if consumer["paused_at"]:
        page.line(f"{name}: paused since {when(consumer['paused_at'])}; stream-assets resume {name}", "yellow")
    if not consumer["can_be_kept"]:
        page.line(f"{name}: its promise {consumer['verdict']}; stream-assets explain {name}", "yellow")
    if consumer["holes"]:
        page.line(f"{name}: holes before the live span: {ranges(consumer['holes'])}", "yellow")
    if consumer["stale_code"]:
        count = many(consumer["stale_code"], "partition")
        page.line(f"{name}: stale: code in {count}; stream-assets refresh {name}", "yellow")
    _failures(name, consumer["failures"], page)


def _failures(name: str, failures: list[dict[str, Any]], page: Page) -> None:
    groups = alike(failures)
    for keys_of, group in groups[:MOST_FAILURES]:
        failure = group[0]
        again = (
            "paused; stream-assets retry" if failure["is_paused"] else f"tried again at {when(failure['next_try_at'])}"
        )
        tries = many(failure["tries"], "time")
        page.line(f"{name} {keys_of} failed {tries} ({again}): {failure['error']}", "red")
    if len(groups) > MOST_FAILURES:
        page.line(f"{name}: and {sum(len(g) for _, g in groups[MOST_FAILURES:])} more failures", "red")


def _stream(stream: dict[str, Any], page: Page) -> None:
    page.line()
    page.line(f"{stream['stream']}: {stream['source']}", "bold")
    page.line(
        f"  watermark {when(stream['watermark'])}; days {ranges(stream['days'])}; windows {ranges(stream['windows'])}; "
        f"drift {stream['drift']}"
    )
    page.line(f"  late events: {stream['late_events']}", "dim")
    if stream["is_empty"]:
        page.line(
            f"  nothing has come yet, and windows are sealed as empty: are {stream['source']} the right ones?", "yellow"
        )
    show_rejected(stream, f"  since {when(stream['rejected_since'])} ", page)
    if stream["discarded_values"]:
        values = many(stream["discarded_values"], "value")
        columns = ", ".join(stream["discarded_columns"]) or "columns"
        page.line(f"  since {when(stream['rejected_since'])} {values} of {columns} discarded as new", "yellow")
    for reopened in stream["reopened"][:MOST_FAILURES]:
        page.line(f"  {reopened['table']} {ranges([reopened])} is read again: {reopened['reason']}")
    _failures(stream["stream"], stream["failures"], page)
