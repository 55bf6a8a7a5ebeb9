"""A day of events in files to 288 windows: the pipeline against a pass written by hand, over the same files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from stream_assets_tests.benchmarks.child import Stopwatch, call
from stream_assets_tests.benchmarks.event_files import DAY, NEXT_DAY, folder
from stream_assets_tests.benchmarks.figure import Figure, median
from stream_assets_tests.benchmarks.settings import Settings

NAME = "backfill"
WINDOWS = 288


def measure(settings: Settings) -> list[Figure]:
    """Run A B A B ..., check both against the truth, and return the figures."""
    truth = call("event_files", "prepare", cache=str(settings.cache), rate=settings.rate)
    files = str(folder(settings.cache, settings.rate))
    sides = {"pipeline": "by_pipeline", "by hand": "by_hand"}
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(settings.rounds):
        for side, function in sides.items():
            out = settings.scratch / "backfill"
            runs[side].append(call("backfill", function, files=files, out=str(out)))
            found = call("event_files", "contents", windows=str(out / "events"))
            wanted = {"rows": truth["rows"], "hash": truth["hash"], "in_wrong_window": 0, "windows": WINDOWS}
            if any(found[key] != value for key, value in wanted.items()):
                raise SystemExit(f"backfill, {side}: the lake holds {found}, the truth is {wanted}")
            shutil.rmtree(out)

    def of(side: str, key: str) -> float:
        return median(run[key] for run in runs[side])

    rows = truth["rows_in_files"]
    note = f"{rows:,} rows in 24 files, medians of {settings.rounds}"
    return [
        Figure("backfill_ratio", of("pipeline", "seconds") / of("by hand", "seconds"), "x", 3.0, 2.0, "time, pipeline / by hand"),
        Figure("backfill_cpu_ratio", of("pipeline", "cpu_seconds") / of("by hand", "cpu_seconds"), "x", None, 2.0, "processor time, pipeline / by hand"),
        Figure("backfill_memory_ratio", of("pipeline", "peak_mib") / of("by hand", "peak_mib"), "x", None, 1.0, "peak memory, pipeline / by hand"),
        Figure("backfill_pipeline_seconds", of("pipeline", "seconds"), "s", note=note),
        Figure("backfill_by_hand_seconds", of("by hand", "seconds"), "s", note="both equal the truth: rows, hash, windows"),
        Figure("backfill_pipeline_cpu_seconds", of("pipeline", "cpu_seconds"), "s"),
        Figure("backfill_by_hand_cpu_seconds", of("by hand", "cpu_seconds"), "s"),
        Figure("backfill_pipeline_peak", of("pipeline", "peak_mib"), "MiB"),
        Figure("backfill_by_hand_peak", of("by hand", "peak_mib"), "MiB"),
    ]  # fmt: skip


def by_pipeline(files: str, out: str) -> dict[str, Any]:
    """Fill the windows of the day as `stream-assets materialize events` does."""
    from datetime import UTC, datetime, timedelta

    import pyarrow as pa

    from stream_assets.core.window import TimeWindow
    from stream_assets.pipeline.project import Project, Stream
    from stream_assets.sources.files import FileEvents
    from stream_assets.testing import SettableClock

    pa.set_cpu_count(2)
    start, end = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (DAY, NEXT_DAY))
    source = FileEvents(files, format="parquet", arrival="arrival_time")
    project = Project((Stream("events", source),), lake=out, start=DAY)
    watch = Stopwatch()
    pipeline = project.open([], SettableClock(end + timedelta(hours=12)))
    span = TimeWindow(start, end)
    with pipeline.running("events", span) as running:
        report = pipeline.fill("events", span, running)
    if report.count("published") != WINDOWS:
        raise SystemExit(f"backfill: {report}")
    return watch.seconds()


def by_hand(files: str, out: str) -> dict[str, Any]:
    """Do the same with pyarrow alone, as somebody would write it for this one job.

    Reads with two threads, text of few values as dictionaries, deals the rows to windows, keeps of equal ids the latest
    arrival, sorts by time, and publishes a whole file a window by a rename after one sync. It keeps no receipt, no
    record of what was done, no rejected rows and no bound on memory, and it knows that all columns are in order.
    """
    import os
    from collections import defaultdict
    from datetime import UTC, datetime

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(2)
    watch = Stopwatch()
    start = int(datetime.fromisoformat(DAY).replace(tzinfo=UTC).timestamp()) * 1_000_000
    five_minutes = 300 * 1_000_000
    parts: dict[int, list[pa.Table]] = defaultdict(list)
    for path in sorted(Path(files).glob("*.parquet")):
        file = pq.ParquetFile(path, read_dictionary=["country", "event_type", "device"])
        for batch in file.iter_batches(131_072, use_threads=True):
            table = pa.Table.from_batches([batch])
            times: Any = table.column("event_time").cast(pa.int64())
            window = ((times.to_numpy() - start) // five_minutes).astype(np.uint16)
            order = np.argsort(window, kind="stable")
            table = table.take(pa.array(order))
            edges = np.searchsorted(window[order], np.arange(WINDOWS + 1))
            for number in np.flatnonzero(np.diff(edges)):
                parts[int(number)].append(table.slice(edges[number], edges[number + 1] - edges[number]))
    drafts: list[tuple[Path, Path]] = []
    for number in range(WINDOWS):
        table = pa.concat_tables(parts.pop(number)).unify_dictionaries().combine_chunks()
        codes = np.asarray(table.column("event_id").combine_chunks().dictionary_encode().indices)
        arrivals, times = (table.column(name).cast(pa.int64()).to_numpy() for name in ("arrival_time", "event_time"))
        order = np.lexsort((arrivals, codes))
        last = np.append(codes[order][1:] != codes[order][:-1], True)
        kept = order[last]
        kept = kept[np.argsort(times[kept], kind="stable")]
        moment = datetime.fromtimestamp((start + number * five_minutes) / 1e6, UTC)
        target = Path(out, "events", f"day={DAY}", f"window_start={moment:%Y%m%dT%H%MZ}", "part.parquet")
        target.parent.mkdir(parents=True)
        draft = target.with_name(".part.tmp")
        pq.write_table(table.take(pa.array(kept)), draft, compression="zstd", compression_level=1)
        drafts.append((draft, target))
    os.sync()
    for draft, target in drafts:
        draft.rename(target)
    return watch.seconds()
