"""A lake with years of history: its newest days are real, older ones stand in the ledger as copies of the newest's records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_assets.core.declaration import Consumer
    from stream_assets.core.window import TimeWindow
    from stream_assets.lake.ledger import Ledger
    from stream_assets.pipeline import Pipeline

REAL_DAYS = 9
"""Days with files: enough for a lookback of seven before one of them."""
DAY = timedelta(days=1)
_ABOVE = 100_000_000
"""Sequence number of the first real publication, so that all of history has been reconciled before it."""


def make(
    lake: str,
    days: int,
    now: datetime,
    consumers: Sequence[Consumer],
    *,
    rate: float = 0.05,
    made: datetime | None = None,
) -> Pipeline:
    """Make a lake (in UTC) in which nothing is due at `now`.

    Args:
        lake: its folder.
        days: closed days that it keeps.
        now: until when it is filled.
        consumers: of the stream `events`.
        rate: events a second.
        made: when the lake was made, which decides how far its windows reach back; `now` by default.
    """
    from stream_assets.core.window import TimeWindow
    from stream_assets.pipeline.project import Project, Stream
    from stream_assets.sources.synthetic import SyntheticEvents
    from stream_assets.testing import SettableClock

    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    source = SyntheticEvents(rate=rate, late_share=0, quiet="")
    project = Project((Stream("events", source),), lake=lake, start=(today - days * DAY).date().isoformat())
    clock = SettableClock(made or now)
    pipeline = project.open(consumers, clock)
    clock.set(now)
    pipeline.lake.ledger.start_above(_ABOVE)
    newest = TimeWindow(today - DAY, today)
    real = TimeWindow(max(pipeline.lake.start, today - REAL_DAYS * DAY), today)
    for table in pipeline.declarations.tables.values():
        is_wide = table.is_days_of_stream or (table.grain == "day" and table.consumer and not table.consumer.lookback)
        _fill(pipeline, table.name, real if is_wide else newest)
    with pipeline.lake.ledger.transaction():
        for table in pipeline.declarations.tables.values():
            first = pipeline.lake.windows_from if table.grain == "5 min" else pipeline.lake.start
            if table.stream and table.grain == "5 min":
                first = max(first, today - table.stream.keep.windows)  # older ones have gone
            repeat(pipeline.lake.ledger, table.name, newest, first)
    for _, reports in pipeline.run():
        assert not any(report.failed for report in reports), reports
    assert not pipeline.plan().works
    return pipeline


def repeat(ledger: Ledger, table: str, template: TimeWindow, first: datetime) -> None:
    """Record the partitions of one UTC day for every earlier day from `first` on that has none, and cover them."""
    from stream_assets.core.intervals import Intervals
    from stream_assets.core.window import TimeWindow

    database = ledger.database
    row = database.row("select min(seq) as seq from publication")
    oldest = row["seq"] if row else _ABOVE
    for number in range(1, (template.start - first) // DAY + 1):
        day, before = template.start, template.start - number * DAY
        days: dict[str, Any] = {
            "tbl": table, "day": f"{day:%F}", "next": f"{template.end:%F}", "compact": f"{day:%Y%m%d}",
            "to_day": f"{before:%F}", "to_next": f"{before + DAY:%F}", "to_compact": f"{before:%Y%m%d}",
            "newest": oldest - (number - 1) * 288,
        }  # fmt: skip
        for statement in (_PUBLICATION, _CURRENT):
            database.change(statement, days)
    ledger.cover(table, [TimeWindow(first, template.start)], Intervals.of(TimeWindow(first, template.start)))


def _moved(column: str) -> str:
    # The day first: dates move backwards, so no date that was moved is one that is still to be moved.
    moved = f"replace(replace({column}, :day, :to_day), :next, :to_next)"
    return f"replace({moved}, :compact, :to_compact)"


_OF_THE_DAY = "where tbl = :tbl and key_start >= :day and key_start < :next"
_PUBLICATION = f"""
    insert or ignore into publication
    select :newest - row_number() over (order by key_start desc), tbl, {_moved("key_start")}, {_moved("key_end")}, revision,
        'published', digest, rows, '[]', '', '', {_moved("committed_at")} from current {_OF_THE_DAY}
"""
_CURRENT = f"""
    insert or ignore into current
    select tbl, {_moved("key_start")}, {_moved("key_end")}, revision, digest, rows, {_moved("file")}, inputs_seq, code,
        {_moved("committed_at")}, {_moved("receipt")}, :newest - row_number() over (order by key_start desc)
    from current {_OF_THE_DAY}
"""


def _fill(pipeline: Pipeline, table: str, span: TimeWindow) -> None:
    with pipeline.running(table, span) as running:
        report = pipeline.fill(table, span, running)
    assert not report.failed, report
