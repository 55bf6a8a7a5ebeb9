"""Row groups of a day file in several sizes, and a Bloom filter on its ids: what each costs to write and saves to read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stream_assets_tests.benchmarks.child import Stopwatch, call
from stream_assets_tests.benchmarks.consuming import COLUMNS, read_so_far
from stream_assets_tests.benchmarks.figure import Figure, median
from stream_assets_tests.benchmarks.settings import Settings

NAME = "row_groups"
HOURS = 6
SIZES = {"third": 1 / 3, "window": 1.0, "four": 4.0, "hour": 12.0, "all": 12.0 * HOURS}
"""Rows of a row group, in windows of 30,000 events. The lake's are of a window each."""


def measure(settings: Settings) -> list[Figure]:
    """Write six hours of the measured day in each way, and read one hour, three columns of all, and one id."""
    call("event_files", "prepare", cache=str(settings.cache), rate=settings.rate)
    folder = settings.scratch / "row-groups"
    found = call(
        "row_groups",
        "in_turn",
        cache=str(settings.cache),
        folder=str(folder),
        rate=settings.rate,
        rounds=settings.rounds,
    )
    shutil.rmtree(folder)

    def against(way: str, what: str) -> float:
        return median(found[way][what]) / median(found["window"][what])

    figures: list[Figure] = []
    for way in (way for way in SIZES if way != "window"):
        note = f"row groups of {SIZES[way]:.2g} windows / of one"
        figures += [
            Figure(f"row_group_{way}_hour_bytes", against(way, "hour_bytes"), "x", note=f"bytes read for an hour, {note}"),
            Figure(f"row_group_{way}_scan", against(way, "scan"), "x", note=f"three columns of all, by DuckDB, {note}"),
            Figure(f"row_group_{way}_bytes", against(way, "bytes"), "x", note=f"bytes of the file, {note}"),
        ]  # fmt: skip
    return [
        *figures,
        Figure("bloom_write", against("bloom", "write"), "x", note="time to write, with a Bloom filter on the id / without"),
        Figure("bloom_bytes", against("bloom", "bytes"), "x", note="bytes of the file, the same"),
        Figure("bloom_find", against("bloom", "find"), "x", note="finding one id in it by DuckDB, the same"),
    ]  # fmt: skip


def in_turn(cache: str, folder: str, rate: float, rounds: int) -> dict[str, Any]:
    """Return seconds and bytes by way and by what was done."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from stream_assets.lake.encoding import encoding_of
    from stream_assets.lake.parquet import COMPRESSION, COMPRESSION_LEVEL
    from stream_assets_tests.benchmarks.event_files import folder as files_of

    Path(folder).mkdir(parents=True)
    files = sorted(files_of(Path(cache), rate).glob("*.parquet"))[:HOURS]
    rows = pq.read_table(files).sort_by("event_time")
    window = rows.num_rows // (HOURS * 12)
    wanted = rows.column("event_id")[rows.num_rows // 2].as_py()
    ways: dict[str, tuple[int, dict[str, Any]]] = {name: (int(window * size), {}) for name, size in SIZES.items()}
    ways["bloom"] = window, {"bloom_filter_options": {"event_id": {"ndv": window, "fpp": 0.05}}}
    found: dict[str, dict[str, list[float]]] = {way: {} for way in ways}
    for number in range(rounds + 1):
        for way, (group, options) in ways.items():
            path = Path(folder, f"{way}.parquet")

            def write(path: Path = path, group: int = group, options: dict[str, Any] = options) -> None:
                pq.write_table(
                    rows, path, row_group_size=group, compression=COMPRESSION, compression_level=COMPRESSION_LEVEL,
                    **encoding_of(rows), **options,
                )  # fmt: skip

            taken = {"write": _timed(write), "scan": _timed(lambda p=path: _ask(p, f"select {_SUMS}"))}
            taken["find"] = _timed(lambda p=path: _ask(p, "select *", f"where event_id = '{wanted}'"))
            before, file = read_so_far(), pq.ParquetFile(path)
            counts = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
            # The second hour: the row groups that share a row with it.
            needed = [
                i for i in range(len(counts)) if sum(counts[:i]) < window * 24 and sum(counts[: i + 1]) > window * 12
            ]
            assert pc.any(pc.is_valid(file.read_row_groups(needed).column("event_id"))).as_py()
            taken |= {"hour_bytes": read_so_far() - before, "bytes": path.stat().st_size}
            for what, value in taken.items() if number else ():  # the first round warms
                found[way].setdefault(what, []).append(value)
    return found


_SUMS = ", ".join(f"count(distinct {c})" if c != "amount" else "sum(amount)" for c in COLUMNS)


def _ask(path: Path, select: str, where: str = "") -> None:
    import duckdb

    assert duckdb.connect().execute(f"{select} from read_parquet(?) {where}", [str(path)]).fetchall()


def _timed(act: Callable[[], object]) -> float:
    watch = Stopwatch()
    act()
    return watch.seconds()["cpu_seconds"]
