"""`stream-assets prove`."""

from __future__ import annotations

import click

from stream_assets.cli.options import command, in_range
from stream_assets.cli.progress import bar
from stream_assets.cli.session import Session


@command("compute days in every lane side by side, and compare")
@click.argument("consumer")
@in_range
def prove(session: Session, consumer: str, start: str | None, end: str | None) -> bool:
    """Compute closed days of CONSUMER as each lane would have, side by side, and compare; exit 1 where they differ.

    The events come from the lake, each seen from its arrival on, so that what was late is late again. The lanes work in
    scratch lakes that are removed; the lake is only read. Without a range it is the newest closed day.
    """
    from stream_assets.cli.facts.prove import prove_facts
    from stream_assets.cli.show.prove import show_prove
    from stream_assets.core.window import TimeWindow
    from stream_assets.pipeline.prove import LANES, newest_day
    from stream_assets.pipeline.prove import prove as compare

    declared = session.consumer(consumer)
    pipeline = session.open()
    pipeline.observe()
    span = newest = newest_day(pipeline.site, declared)
    if start is not None or end is not None:
        asked = session.span(start, end)
        first = pipeline.calendar.day_around(asked.start).start
        last = newest.end if end is None else pipeline.calendar.partitions(asked, "day")[-1].end
        span = TimeWindow(first, max(first, last))
    with bar() as shown:
        shown.begin(f"prove {consumer}", len(pipeline.calendar.days(span)) * 288)
        proof = compare(pipeline.site, declared, span, shown.step, lanes=LANES)
    session.give(prove_facts(proof), show_prove)
    return proof.is_equal
