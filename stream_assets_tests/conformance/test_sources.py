"""Every source keeps the promises of `Source`. A new one enrols by registering a case here."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from stream_assets.core.window import TimeWindow
from stream_assets.lake.store import Lake
from stream_assets.pipeline.site import LedgerSourceState
from stream_assets.sources.files import FileEvents
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets.testing.sources import PROMISES, SourceCase, register, registered
from stream_assets_tests.sources.untracked import Counted, Untracked

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MORNING = TimeWindow(NOON - timedelta(hours=2), NOON - timedelta(hours=1))


@register("synthetic")
def synthetic(_: Path) -> SourceCase:
    source = SyntheticEvents(rate=5, late_share=0.05, duplicate_share=0.05)
    night = NOON.replace(hour=2)
    return SourceCase(
        source,
        now=NOON,
        span=MORNING,
        empty=TimeWindow(night, night + timedelta(minutes=30)),
        arrive=lambda: NOON + timedelta(hours=1),
    )


@register("untracked")
def untracked(folder: Path) -> SourceCase:
    case = synthetic(folder)
    return replace(case, source=Untracked(case.source))


@register("counted")
def counted(folder: Path) -> SourceCase:
    case = synthetic(folder)
    return replace(case, source=Counted(case.source))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows in the format that the path's suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        table = pa.Table.from_pylist(rows)
        for column in ("event_time", "arrival_time"):
            parsed = table[column].cast(pa.timestamp("us", "UTC"))
            table = table.set_column(table.column_names.index(column), column, parsed)
        pq.write_table(table, path, row_group_size=50)
        return
    if name.endswith(".csv"):
        sink = pa.BufferOutputStream()
        pyarrow.csv.write_csv(pa.Table.from_pylist(rows), sink)
        data = sink.getvalue().to_pybytes()
    else:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)


def rows(start: datetime, count: int, *, step: timedelta, first: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "event_id": f"{n:05}",
            "event_time": (start + (n - first) * step).isoformat(),
            "arrival_time": (start + (n - first + 1) * step).isoformat(),
            "amount": n / 4,
            "zip": f"0{n}",
        }
        for n in range(first, first + count)
    ]


def folder_of(suffix: str, kind: str) -> Callable[[Path], SourceCase]:
    def make(folder: Path) -> SourceCase:
        landing = folder / "landing"
        bad_time = {"event_id": "bad", "event_time": None, "arrival_time": None, "amount": 0.5, "zip": "x"}
        for hour in range(4):
            start = NOON - timedelta(hours=4 - hour)
            hourly = rows(start, 300, step=timedelta(seconds=11), first=hour * 1000)
            write(landing / f"2026/{hour:02}{suffix}", [*hourly[:150], bad_time, *hourly[150:]])

        def arrive() -> datetime:
            late = rows(MORNING.start + timedelta(minutes=17), 3, step=timedelta(minutes=9), first=9000)
            write(landing / f"late{suffix}", late)
            return NOON + timedelta(hours=1)

        def spoil() -> None:
            for path in landing.rglob(f"*{suffix}"):
                path.write_bytes(path.read_bytes()[:-40] + b"\xff\xfe\n")

        return SourceCase(
            FileEvents(str(landing), kind, arrival="arrival_time"),
            now=NOON + timedelta(minutes=10),
            span=MORNING,
            empty=TimeWindow(NOON - timedelta(days=2), NOON - timedelta(days=1)),
            arrive=arrive,
            fail=lambda: shutil.rmtree(landing),
            spoil=spoil,
        )

    return make


for suffix, kind in (
    (".jsonl", "jsonl"), (".jsonl.gz", "jsonl"), (".csv", "csv"), (".csv.gz", "csv"), (".parquet", "parquet"),
):  # fmt: skip
    register(f"files{suffix}")(folder_of(suffix, kind))


@register("files.jsonl, known to a ledger")
def known_to_a_ledger(folder: Path) -> SourceCase:
    lakes = (Lake.open(folder / f"lake{n}", "UTC", NOON) for n in itertools.count())
    return replace(
        folder_of(".jsonl", "jsonl")(folder), state=lambda: LedgerSourceState(next(lakes).ledger.sources, "events")
    )


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("name", registered())
def test_promise(name: str, promise: str, tmp_path: Path) -> None:
    PROMISES[promise](registered()[name](tmp_path))
