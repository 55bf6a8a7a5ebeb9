"""A day of events as 24 Parquet files, one an hour of arrival, and the truth about them.

With the default rate 8,640,000 events, 43,200 of them given twice, and 0.2 % that arrive after their window has settled,
up to six hours later and so in another file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DAY = "2026-03-01"
NEXT_DAY = "2026-03-02"
FILES = 24
DUPLICATE_SHARE = 0.005
LATE_SHARE = 0.002
_COLUMNS = "event_id, event_time, arrival_time, user_id, country, event_type, device, amount"
_TRUTH = f"""
    select count(*) as rows, cast(sum(hash({_COLUMNS})::hugeint) as varchar) as hash from ({{events}})
"""


def folder(cache: Path, rate: float, days: int = 1) -> Path:
    """Return where the files for a rate are kept."""
    return cache / f"events-{rate:g}-{days}d"


def prepare(cache: str, rate: float, days: int = 1) -> dict[str, Any]:
    """Write the files, unless they are there, and return the truth about them: rows, and a hash made by DuckDB."""
    import duckdb

    where = folder(Path(cache), rate, days)
    if not (where / "_made.json").exists():
        made = {"rows_in_files": sum(_write(where, rate, day) for day in range(days))}
        (where / "_made.json").write_text(json.dumps(made))
    made = json.loads((where / "_made.json").read_text())
    if made.get("duckdb") != duckdb.__version__:
        # DuckDB's hash() may change between its releases.
        once = (
            f"select * from read_parquet('{where}/*.parquet') "
            "qualify row_number() over (partition by event_id order by arrival_time desc) = 1"
        )
        made |= _asked(once) | {"duckdb": duckdb.__version__}
        (where / "_made.json").write_text(json.dumps(made))
    return made


def contents(events: str, *, in_windows: bool) -> dict[str, Any]:
    """Return rows and hash of the files under a folder, and what is wrong with its folders `window_start=...`."""
    import duckdb

    rows = f"select * from read_parquet('{events}/**/*.parquet', hive_partitioning=true, hive_types_autocast=false)"
    if not in_windows:
        return _asked(rows)
    start = "strptime(window_start, '%Y%m%dT%H%MZ') at time zone 'UTC'"
    wrong = duckdb.sql(
        f"select count(*) from ({rows}) where event_time < {start} or event_time >= {start} + interval 5 minutes"
    ).fetchall()[0][0]
    folders = len({path.parent for path in Path(events).glob("**/window_start=*/*.parquet")})
    return _asked(rows) | {"in_wrong_window": wrong, "windows": folders}


def _asked(events: str) -> dict[str, Any]:
    import duckdb

    duckdb.sql("set timezone = 'UTC'")
    rows, hash_ = duckdb.sql(_TRUTH.format(events=events)).fetchall()[0]
    return {"rows": rows, "hash": hash_}


def _write(where: Path, rate: float, number_of_day: int) -> int:
    from datetime import UTC, datetime, timedelta

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from stream_assets.core.window import TimeWindow
    from stream_assets.sources.synthetic import SyntheticEvents

    where.mkdir(parents=True, exist_ok=True)
    start = datetime.fromisoformat(DAY).replace(tzinfo=UTC) + timedelta(days=number_of_day)
    day = TimeWindow(start, start + timedelta(days=1))
    source = SyntheticEvents(rate=rate, late_share=LATE_SHARE, duplicate_share=DUPLICATE_SHARE, quiet="")
    hours: list[list[pa.Table]] = [[] for _ in range(FILES)]
    for batch in source.read(day, now=day.end + timedelta(days=1)):
        table = pa.Table.from_batches([batch])
        arrived: Any = table.column("arrival_time").cast(pa.int64())
        # What arrives after midnight comes in the last file, so that the files are one day's delivery.
        hour = np.minimum((arrived.to_numpy() - int(start.timestamp()) * 1_000_000) // 3_600_000_000, FILES - 1)
        for number in np.unique(hour):
            hours[int(number)].append(table.filter(pa.array(hour == number)))
    rows = 0
    for number, tables in enumerate(hours):
        table = pa.concat_tables(tables).sort_by("arrival_time")
        pq.write_table(table, where / f"{start:%Y-%m-%d}T{number:02}.parquet")
        rows += table.num_rows
    return rows
