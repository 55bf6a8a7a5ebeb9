"""Many consumers over many streams, of all lanes and both grains, in a lake that has all of their history."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from stream_assets import consumer

if TYPE_CHECKING:
    from stream_assets.core.declaration import Consumer
    from stream_assets.pipeline import Pipeline
    from stream_assets.pipeline.project import Project

KINDS: tuple[dict[str, Any], ...] = (
    {"freshness": "5 min", "grain": "5 min"},
    {"freshness": "15 min", "grain": "day"},
    {"freshness": "1 hour", "grain": "5 min", "lookback": "1 hour"},
    {"freshness": "1 day", "grain": "day"},
    {"freshness": "1 day", "grain": "day", "lookback": "7 days"},
)
"""Each stream has consumers of all of these, as many of one as of another."""


def streams(count: int) -> list[str]:
    """Return names of streams."""
    return [f"stream{number}" for number in range(count)]


def consumers(names: list[str], count: int) -> list[Consumer]:
    """Return `count` consumers, spread over the streams `names`."""
    return [
        _consumer(number, names[number % len(names)], KINDS[number // len(names) % len(KINDS)])
        for number in range(count)
    ]


def _consumer(number: int, stream: str, kind: dict[str, Any]) -> Consumer:
    # Named after what it reads, as a parameter is: one function a consumer, so that each has its own.
    source = f"def counted_{number}({stream}: pa.Table) -> pa.Table:\n    return {stream}.select(['country']).group_by('country').aggregate([('country', 'count')])\n"
    made: dict[str, Any] = {"__name__": __name__}
    exec(source, made)
    return consumer(**kind, code_version="1")(made[f"counted_{number}"])


def project(lake: str, names: list[str], start: datetime, *, rate: float = 0.02) -> Project:
    """Return a project of synthetic streams."""
    from stream_assets.pipeline.project import Project, Stream
    from stream_assets.sources.synthetic import SyntheticEvents

    sources = (SyntheticEvents(rate=rate, seed=seed, late_share=0, quiet="") for seed in range(len(names)))
    made = tuple(Stream(name, source) for name, source in zip(names, sources, strict=True))
    return Project(made, lake=lake, start=start.date().isoformat())


def crowd(lake: str, stream_count: int, consumer_count: int, days: int, now: datetime) -> Pipeline:
    """Make the lake, in UTC: its ledger says that all of history is there, with receipts of the newest day and of today."""
    from stream_assets.core.digest import Digest
    from stream_assets.core.intervals import Intervals
    from stream_assets.core.receipt import Receipt
    from stream_assets.core.window import TimeWindow
    from stream_assets.testing import SettableClock

    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    names = streams(stream_count)
    pipeline = project(lake, names, today - timedelta(days=days)).open(
        consumers(names, consumer_count), SettableClock(now)
    )
    pipeline.observe()
    ledger, layout, calendar = pipeline.lake.ledger, pipeline.lake.layout, pipeline.calendar
    state = pipeline.state()
    from stream_assets.core.planning import Rule

    rule = Rule(pipeline.declarations, state, calendar, now)
    with ledger.transaction():
        for table in pipeline.declarations.tables.values():
            wanted = rule.wanted(table).hull
            assert wanted is not None
            whole = TimeWindow(rule.first(table), wanted.end)
            newest = TimeWindow(max(whole.start, whole.end - timedelta(hours=36)), whole.end)
            if table.stream and table.grain == "5 min":
                whole = newest  # the files of older windows have gone
            parts = calendar.partitions(newest, table.grain)
            for part in parts:
                covered = Intervals.of(part).clip(whole)
                receipt = Receipt(
                    table.name, part, 1, 6, Digest(1 << 60, 1 << 59), covered, covered.spans[-1].end, rows_read=6,
                    inputs_seq=1_000_000_000 if table.consumer else 0, code="1" if table.consumer else "",
                )  # fmt: skip
                file = layout.partition(table.name, table.grain, part) / "part-r1-00000000.parquet"
                ledger.record(receipt, str(file.relative_to(layout.root)), Intervals())
            ledger.cover(table.name, [TimeWindow(whole.start, parts[-1].end)], Intervals.of(whole))
    pipeline.observe()
    return pipeline
