"""The same day to 288 windows by other means: each reads the same files and leaves the same rows, one of each id.

Each as a careful engineer would write it for this one job, on two threads: `<out>/events/day=.../window_start=.../`
holds whole files of zstd, sorted by event time, which appear by a rename. None has a digest, a receipt or a sync.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from stream_assets_tests.benchmarks.child import Stopwatch
from stream_assets_tests.benchmarks.event_files import DAY, NEXT_DAY

WINDOWS = 288


def by_hand(files: str, out: str) -> dict[str, Any]:
    """Do the same with pyarrow alone, as somebody would write it for this one job.

    Reads with two threads, text of few values as dictionaries, deals the rows to windows, and in two threads keeps of
    equal ids the latest arrival, sorts by time, and publishes a whole file a window by a rename. It makes no digest, no
    receipt, no sync, no record of what was done, keeps no rejected rows and no bound on memory, and knows that all
    columns are in order.
    """
    from collections import defaultdict
    from concurrent.futures import ThreadPoolExecutor
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

    def publish(number: int) -> None:
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
        draft.rename(target)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(publish, range(WINDOWS)))
    return watch.seconds()


def by_duckdb(files: str, out: str) -> dict[str, Any]:
    """One statement: the latest of each id, partitioned by window."""
    import duckdb

    watch = Stopwatch()
    connection = duckdb.connect(config={"threads": 2, "temp_directory": f"{out}/spill"})
    connection.execute("set timezone = 'UTC'")
    connection.execute("set partitioned_write_max_open_files = 300")
    Path(out).mkdir(parents=True)
    connection.execute(f"""
        copy (
            select *, strftime(event_time, '%Y-%m-%d') as day,
                strftime(time_bucket(interval 5 minutes, event_time), '%Y%m%dT%H%MZ') as window_start
            from read_parquet('{files}/*.parquet')
            qualify row_number() over (partition by event_id order by arrival_time desc) = 1
            order by event_time
        ) to '{out}/.draft' (format parquet, compression zstd, compression_level 1, partition_by (day, window_start))
    """)
    Path(out, ".draft").rename(Path(out, "events"))
    return watch.seconds()


def by_polars(files: str, out: str) -> dict[str, Any]:
    """Read and made distinct by the streaming engine, written window by window."""
    os.environ["POLARS_MAX_THREADS"] = "2"
    import polars as pl

    watch = Stopwatch()
    events = (
        pl.scan_parquet(f"{files}/*.parquet")
        .with_columns(window_start=pl.col("event_time").dt.truncate("5m"))
        .sort("arrival_time", maintain_order=True)
        .unique("event_id", keep="last")
        .sort("event_time")
        .collect(engine="streaming")
    )
    for (start,), rows in events.partition_by("window_start", as_dict=True, include_key=False).items():
        target = _folder(out, start)
        target.mkdir(parents=True)
        rows.write_parquet(target / ".part.tmp", compression="zstd", compression_level=1)
        (target / ".part.tmp").rename(target / "part.parquet")
    return watch.seconds()


def by_dagster(files: str, out: str) -> dict[str, Any]:
    """Run one backfill of an asset of the same partitions, in process, whose body is pandas."""
    import logging
    from datetime import datetime

    import dagster as dg
    import pandas as pd

    logging.disable(logging.INFO)
    windows = dg.TimeWindowPartitionsDefinition(
        start=f"{DAY}-00:00", fmt="%Y-%m-%d-%H:%M", cron_schedule="*/5 * * * *", end=f"{NEXT_DAY}-00:00"
    )

    @dg.asset(partitions_def=windows, backfill_policy=dg.BackfillPolicy.single_run())
    def events(context) -> None:  # Dagster cannot resolve an annotation that names a local import
        span = context.partition_time_window
        rows = pd.concat([pd.read_parquet(path) for path in sorted(Path(files).glob("*.parquet"))], ignore_index=True)
        rows = rows[(rows.event_time >= span.start) & (rows.event_time < span.end)]
        rows = rows.sort_values("arrival_time", kind="stable").drop_duplicates("event_id", keep="last")
        rows = rows.sort_values("event_time", kind="stable")
        for start, group in rows.groupby(rows.event_time.dt.floor("5min")):
            assert isinstance(start, datetime)
            target = _folder(out, start)
            target.mkdir(parents=True)
            group.to_parquet(target / ".part.tmp", index=False, compression="zstd", compression_level=1)
            (target / ".part.tmp").rename(target / "part.parquet")

    job = dg.Definitions(assets=[events], jobs=[dg.define_asset_job("day", "events")]).resolve_job_def("day")
    keys = windows.get_partition_keys()
    assert len(keys) == WINDOWS
    watch = Stopwatch()
    with dg.DagsterInstance.local_temp() as instance:
        tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
        assert job.execute_in_process(instance=instance, tags=tags).success
    return watch.seconds()


def _folder(out: str, start: Any) -> Path:
    return Path(out, "events", f"day={DAY}", f"window_start={start:%Y%m%dT%H%MZ}")
