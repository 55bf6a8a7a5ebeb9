"""What is wanted and not there at all."""

from __future__ import annotations

from datetime import timedelta

from stream_assets.core.cadence import DAY_MARGIN
from stream_assets.core.declaration import Table
from stream_assets.core.window import TimeWindow
from stream_assets.pipeline.observe import ledger_state
from stream_assets.pipeline.verify.difference import RUN, Findings, Mend

PATIENCE = timedelta(minutes=15)
"""What is wanted for less long than this is not missed yet: its run is on its way."""


def find_holes(found: Findings, table: Table) -> None:
    """Name what of `table` is wanted and not there, and that nobody is making now; of tables of days, closed days alone."""
    site = found.site
    now = site.clock.now()
    state = ledger_state(site)
    there = state.table(table.name).coverage
    if table.stream and not table.is_days_of_stream:
        there |= state.table(table.stream.daily).coverage
    until = now - site.declarations.settling(table.stream.name if table.stream else table.name) - PATIENCE
    if table.grain == "day":
        until = site.lake.calendar.day_around(until - DAY_MARGIN).start
    missed = found.span.clip(TimeWindow(min(found.span.start, until), until))
    rule = site.rule(state, now)
    for hole in (rule.wanted(table) - there - rule.in_flight(table)).clip(missed):
        failures = [f for f in state.table(table.name).failures if f.span.overlaps(hole)]
        is_paused = any(f.is_paused for f in failures)
        said = f"wanted and not there: {failures[0].error}" if failures else "wanted and not there"
        mend = Mend("retry", f"stream-assets retry {table.name}") if is_paused else RUN
        found.add("hole", table.name, hole, said, mend)
