"""Publishing 288 windows of a day against writing the same files with neither sync nor ledger."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

from stream_assets_tests.benchmarks.child import Stopwatch, call
from stream_assets_tests.benchmarks.day import START, WINDOWS
from stream_assets_tests.benchmarks.figure import Figure, median
from stream_assets_tests.benchmarks.settings import Settings

NAME = "publishing"


def measure(settings: Settings) -> list[Figure]:
    """Publish and write in turn, in one process, and return medians."""
    scratch = str(settings.scratch / "publishing")
    rows = round(settings.rate * 300)
    found = call("publishing", "in_turn", scratch=scratch, rows=rows, rounds=settings.rounds)
    published, plain = (median(run["seconds"] for run in found[side]) for side in ("published", "plain"))
    published_cpu, plain_cpu = (median(run["cpu_seconds"] for run in found[side]) for side in ("published", "plain"))
    note = f"{WINDOWS} windows of {rows:,} rows; the same files, written only"
    return [
        Figure("publish_ratio", published / plain, "x", 1.3, 1.0, note),
        Figure("publish_cpu_ratio", published_cpu / plain_cpu, "x", note="processor time of the same"),
        Figure("publish_seconds", published, "s", note="written, synced, exchanged, in the ledger"),
    ]


def in_turn(scratch: str, rows: int, rounds: int) -> dict[str, Any]:
    """Return the seconds of each run of each side."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from stream_assets.core.digest import Digest
    from stream_assets.core.intervals import Intervals
    from stream_assets.core.receipt import Receipt
    from stream_assets.core.window import TimeWindow
    from stream_assets.lake.encoding import encoding_of
    from stream_assets.lake.parquet import COMPRESSION, COMPRESSION_LEVEL
    from stream_assets.pipeline.project import Project, Stream
    from stream_assets.pipeline.staging import WINDOWS_A_COMMIT
    from stream_assets.sources.synthetic import SyntheticEvents
    from stream_assets.testing import SettableClock

    source = SyntheticEvents(rate=rows / 300, late_share=0, duplicate_share=0, quiet="")
    windows = list(TimeWindow(START, START + timedelta(days=1)).windows())
    tables: list[pa.Table] = []
    for window in windows[:12]:
        batches = source.read(window, now=START + timedelta(days=2))
        tables.append(pa.Table.from_batches(list(batches)).sort_by("event_time").combine_chunks())
    schema = tables[0].schema

    def publish(lake: Path) -> None:
        stream = Stream("events", SyntheticEvents())
        pipeline = Project((stream,), lake=str(lake), start=START.date().isoformat()).open(
            [], SettableClock(START + timedelta(days=2))
        )
        pipeline.observe()  # it makes the tables known
        for first in range(0, len(windows), WINDOWS_A_COMMIT):
            with pipeline.lake.publisher() as publisher:
                for place in range(first, min(first + WINDOWS_A_COMMIT, len(windows))):
                    table, window = tables[place % len(tables)], windows[place]
                    receipt = Receipt(
                        "events", window, 1, table.num_rows, Digest(1, 1), Intervals.of(window), window.end, rows_read=table.num_rows
                    )  # fmt: skip
                    publisher.stage(
                        "5 min", schema, [table], lambda said=receipt: said, touched=lambda said: said.covered, read_at=0
                    )  # fmt: skip
                publisher.commit()

    def write(folder: Path) -> None:
        for place, window in enumerate(windows):
            path = folder / f"{window.start:%Y%m%dT%H%MZ}" / "part.parquet"
            path.parent.mkdir(parents=True)
            table = tables[place % len(tables)]
            options = encoding_of(table)
            pq.write_table(table, path, compression=COMPRESSION, compression_level=COMPRESSION_LEVEL, **options)

    found: dict[str, list[dict[str, float]]] = {"published": [], "plain": []}
    for number in range(rounds + 1):
        for side, run in (("published", publish), ("plain", write)):
            watch = Stopwatch()
            run(Path(scratch))
            if number:  # the first round warms
                found[side].append(watch.seconds())
            shutil.rmtree(scratch)
    return found
