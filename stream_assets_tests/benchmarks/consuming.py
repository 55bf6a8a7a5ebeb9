"""Consumers of a day against DuckDB reading the same files, and what the last window of an open day costs them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_assets import consumer
from stream_assets_tests.benchmarks.child import Stopwatch, call
from stream_assets_tests.benchmarks.day import opened, prepared, span_of
from stream_assets_tests.benchmarks.figure import Figure, median
from stream_assets_tests.benchmarks.settings import Settings

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from stream_assets.core.window import TimeWindow
    from stream_assets.pipeline.pipeline import Pipeline

NAME = "consuming"
COLUMNS = ["country", "event_type", "amount"]
SQL = "country, event_type, count(*) as events, sum(amount) as revenue"


@consumer(freshness="5 min", reads={"events": COLUMNS})
def lazy(events: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Revenue by country and type, by DuckDB."""
    return events.aggregate(SQL, "country, event_type").order("country, event_type")


@consumer(freshness="5 min", reads={"events": COLUMNS})
def arrow(events: pa.Table) -> pa.Table:
    """Revenue by country and type, by Arrow."""
    keys = ["country", "event_type"]
    found = events.group_by(keys).aggregate([("amount", "count"), ("amount", "sum")])
    return found.sort_by([(key, "ascending") for key in keys])


@consumer(freshness="5 min", reads={"events": COLUMNS})
def total(events: pa.Table) -> pa.Table:
    """Events and revenue of the day: next to nothing beside the reading."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pa.table({"events": [events.num_rows], "revenue": [pc.sum(events.column("amount")).as_py()]})


def measure(settings: Settings) -> list[Figure]:
    """Run consumers and DuckDB in turn over a day of windows, and over a sealed day."""
    figures: list[Figure] = []
    for kind, files_read in (("windows", "288 window files"), ("day", "one day file")):
        files, lake = prepared(settings, is_sealed=kind == "day")
        found = call("consuming", "in_turn", files=files, lake=lake, rounds=settings.rounds * 2 + 1)
        took = {side: median(seconds) for side, seconds in found["seconds"].items()}
        note = f"{files_read}, three columns; DuckDB reads the same and writes its answer"
        figures += [
            Figure(f"consumer_{kind}_ratio", took["lazy"] / took["duckdb"], "x", 1.3, 1.0, note),
            Figure(f"consumer_{kind}_arrow_ratio", took["arrow"] / took["duckdb"], "x", note="the same as a pa.Table"),
            Figure(f"consumer_{kind}_seconds", took["lazy"], "s"),
        ]
        if kind == "day":
            share = found["hour_bytes"] / (found["day_bytes"] / 24)
            note = "bytes read of a day file for one hour of it / a 24th of the file's"
            figures.append(Figure("hour_of_day_bytes", share, "x", None, 1.1, note))
    files, lake = prepared(settings, is_sealed=False)
    first = str(settings.scratch / "first-window")
    grown = call("consuming", "growing", files=files, lake=lake, first_lake=first, rounds=settings.rounds * 2 + 1)
    took = {side: median(grown[side]) for side in ("first", "last", "read")}
    note = "a consumer of day grain at 5 minutes: its run at the end of the day"
    return [
        *figures,
        Figure("last_window_ratio", took["last"] / took["first"], "x", note=f"{note} / at its first window"),
        Figure("last_window_read_ratio", took["last"] / took["read"], "x", 1.2, None, f"{note} / reading its columns of the day once"),
        Figure("last_window_seconds", took["last"], "s"),
    ]  # fmt: skip


def in_turn(files: str, lake: str, rounds: int) -> dict[str, Any]:
    """Return the seconds of each run of each side, and the bytes that one hour of the day takes to read."""
    import duckdb

    pipeline = opened(files, lake, consumers=(lazy, arrow))
    day = span_of(1)
    paths = [str(file.path) for file in pipeline.lake.files("events", day)]

    def query() -> None:
        connection = duckdb.connect()
        connection.execute(
            f"copy (select {SQL} from read_parquet($paths) group by all order by all) to '{lake}/answer' (format parquet)",
            {"paths": paths},
        )

    found: dict[str, list[float]] = {"lazy": [], "arrow": [], "duckdb": []}
    for number in range(rounds + 1):
        for side, seconds in found.items():
            watch = Stopwatch()
            if side == "duckdb":
                query()
            else:
                _run(pipeline, side, day)
            if number:  # the first round warms
                seconds.append(watch.seconds()["seconds"])
    Path(lake, "answer").unlink()
    whole, hour = (_bytes_read(pipeline, span) for span in (day, type(day)(day.start, day.start + timedelta(hours=1))))
    return {"seconds": found, "day_bytes": whole, "hour_bytes": hour}


def growing(files: str, lake: str, first_lake: str, rounds: int) -> dict[str, Any]:
    """Return the seconds of a day-grain consumer's run when one window is there, when all are, and of a read of them."""
    day = span_of(1)
    settling = timedelta(minutes=3)
    early = opened(files, first_lake, consumers=(total,), at=day.start + timedelta(minutes=5) + settling)
    first = type(day)(day.start, day.start + timedelta(minutes=5))
    with early.running("events", first) as running:
        assert early.fill("events", first, running).count("published") == 1
    late = opened(files, lake, consumers=(total,), at=day.end - timedelta(seconds=30))
    found: dict[str, list[float]] = {"first": [], "last": [], "read": []}
    for number in range(rounds + 1):
        for side, seconds in found.items():
            watch = Stopwatch()
            if side == "read":
                late.lake.read("events", day, COLUMNS)
            else:
                _run(early if side == "first" else late, "total", day)
            if number:
                seconds.append(watch.seconds()["seconds"])
    return found


def _run(pipeline: Pipeline, name: str, day: TimeWindow) -> None:
    """Make a consumer's partition again, and publish it also where it comes out equal."""
    with pipeline.running(name, day, is_mending=True) as running:
        report = pipeline.fill(name, day, running)
    assert report.count("published") == 1, report


def _bytes_read(pipeline: Pipeline, span: TimeWindow) -> int:
    before = read_so_far()
    pipeline.lake.read("events", span)
    return read_so_far() - before


def read_so_far() -> int:
    """Return how many bytes this process has read from files."""
    facts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(facts["rchar"])
