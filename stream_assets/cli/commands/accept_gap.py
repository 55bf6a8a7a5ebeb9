"""`stream-assets accept-gap`."""

from __future__ import annotations

from typing import Any

import click

from stream_assets.cli.options import command
from stream_assets.cli.progress import bar
from stream_assets.cli.session import Session
from stream_assets.cli.show.page import Page


@command("seal what is gone for good, on the record")
@click.argument("table")
@click.option("--from", "start", required=True, metavar="INSTANT", help="Start of the first partition.")
@click.option("--to", "end", metavar="INSTANT", help="End of the last partition, not included; one partition without.")
@click.option("--by", required=True, metavar="NAME", help="Who accepts it; kept in the receipts.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept in the receipts.")
@click.option(
    "--source-is-gone",
    is_flag=True,
    help="The source was taken out of service: while it does not answer, that is a gap too.",
)
def accept_gap(
    session: Session, table: str, start: str, end: str | None, by: str, reason: str, source_is_gone: bool
) -> bool:
    """Accept that data of TABLE in a range is gone for good, so that nothing waits for it any longer.

    What can be made is made, the rest is sealed as empty: windows or days of a stream that its source refuses, and a
    consumer's partitions that fail, or are lost while some of their inputs are not kept. What is there stays as it is. A
    late arrival reopens it like any other.
    """
    from stream_assets.cli.facts.work import report_facts
    from stream_assets.pipeline.gaps import accept_gap as accept

    pipeline = session.open()
    span = pipeline.range(session.table(table), start, end)
    with bar() as shown:
        shown.begin(table, len(pipeline.calendar.partitions(span, pipeline.table(table).grain)))
        report = accept(pipeline, table, span, by, reason, source_is_gone=source_is_gone, progress=shown.step)
    gaps = [gap for o in report.outcomes if o.receipt for gap in o.receipt.accepted]
    facts = {
        "accepted": [{"start": g.span.start.isoformat(), "end": g.span.end.isoformat(), "said": g.said} for g in gaps],
        "report": report_facts(report, pipeline),
    }
    session.give(facts, _show)
    return not report.failed


def _show(facts: dict[str, Any], page: Page) -> None:
    from stream_assets.cli.show.words import ranges
    from stream_assets.cli.show.work import show_report

    show_report(facts["report"], page)
    page.line(f"Sealed without data: {ranges(facts['accepted'])}.")
