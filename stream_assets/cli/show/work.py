"""`run`, `materialize` and `refresh` for people."""

from __future__ import annotations

from typing import Any

from stream_assets.cli.show.page import Page
from stream_assets.cli.show.plan import show_silent
from stream_assets.cli.show.words import alike, keys, last, many, when

MOST_FAILURES = 20


def show_done(work: dict[str, Any], page: Page) -> None:
    """One piece of work that is done, as soon as it is."""
    page.line(f"{work['automation']}  {keys(work)}  {work['seconds']:.2f} s")
    for report in work["reports"]:
        show_report(report, page)


def show_report(report: dict[str, Any], page: Page) -> None:
    """What became of a range of one table."""
    states = ("published", "unchanged", "confirmed", "delivered_by_the_day", "not_made", "removed", "failed")
    counts = [f"{report[state]:,} {state.replace('_', ' ')}" for state in states if report[state]]
    said = ", ".join(counts) or "nothing to do"
    rows = "" if report["removed"] else f", {many(report['rows'], 'row')}"
    page.line(f"    {report['table']}: {said}{rows}", "red" if report["failed"] else "")
    show_rejected(report, "        ", page)
    groups = alike(report["failures"])
    for keys_of, failures in groups[:MOST_FAILURES]:
        again = " (tried again by itself)" if failures[0]["is_transient"] else ""
        page.line(f"        {keys_of} failed: {failures[0]['error']}{again}", "red")
    if len(groups) > MOST_FAILURES:
        left = sum(len(failures) for _, failures in groups[MOST_FAILURES:])
        page.line(f"        and {left} more: stream-assets status")


def show_rejected(facts: dict[str, Any], indent: str, page: Page) -> None:
    """Rows that could not become events: how many, why, and where they are."""
    if facts["rejected_rows"]:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in facts["rejected_reasons"].items())
        rows = many(facts["rejected_rows"], "row")
        page.line(
            f"{indent}{rows} rejected: {reasons}; kept in {facts['rejected_in']} (stream-assets rejected)", "yellow"
        )


def show_run(facts: dict[str, Any], page: Page) -> None:
    """What each consumer got, once everything is done."""
    if not facts["work"]:
        page.line("Nothing was due.")
    page.line()
    page.table(
        ["consumer", "partitions", "rows", "failed", "complete through", "promise"],
        [
            [c["consumer"], c["published"], c["rows"], c["failed"] or None, when(c["complete_through"]), _verdict(c)]
            for c in facts["consumers"]
        ],
    )
    for note in facts["notes"]:
        page.line(note, "yellow")
    for failure in facts["paused"][:1]:
        said = f"{many(len(facts['paused']), 'partition')} paused after failures, such as {failure['table']} {when(failure['start'])}"
        page.line(f"{said}: {failure['error']}; stream-assets retry", "red")
    show_silent(facts["silent_sources"], page)


def show_due(facts: dict[str, Any], page: Page) -> None:
    """What there is to say once a part of what was due is done."""
    if not facts["work"]:
        page.line(facts["said"])
    for work in facts["waiting"]:
        page.line(f"Waits: {', '.join(work['tables'])}, {keys(work)}: {work['reason']}", "yellow")


def _verdict(consumer: dict[str, Any]) -> str:
    if consumer["is_paused"] or consumer["is_empty"]:
        return consumer["stands"]
    return f"{consumer['stands']}, lag {last(consumer['lag_seconds'])}"


def show_filled(facts: dict[str, Any], page: Page) -> None:
    """What became of work by hand."""
    for work in facts["work"]:
        page.line(f"{keys(work)}  {work['seconds']:.2f} s")
        for report in work["reports"]:
            show_report(report, page)
    if not facts["work"]:
        page.line(facts["said"])
