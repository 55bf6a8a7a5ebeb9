"""A day of events in files to 288 windows, and to a sealed day: the pipeline against other means, over the same files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from stream_assets_tests.benchmarks.child import call
from stream_assets_tests.benchmarks.event_files import folder
from stream_assets_tests.benchmarks.figure import Figure, median
from stream_assets_tests.benchmarks.settings import Settings

NAME = "backfill"
WINDOWS = 288
RIVALS = {"duckdb": "by_duckdb", "polars": "by_polars", "dagster_pandas": "by_dagster"}
RANGE_DAYS = 7
MB_A_MIB = 2**20 / 1e6


def measure(settings: Settings) -> list[Figure]:
    """Run A B A B ..., each other rival once; check all against the truth, and return the figures."""
    truth = call("event_files", "prepare", cache=str(settings.cache), rate=settings.rate)
    files = str(folder(settings.cache, settings.rate))
    runs: dict[str, list[dict[str, Any]]] = {}

    def run(side: str, module: str, function: str, **arguments: str) -> None:
        runs.setdefault(side, []).append(call(module, function, files=files, **arguments))
        made = Path(arguments.get("lake") or arguments["out"]) / arguments.get("table", "events")
        _refuse_other(side, made, truth)
        stored = sum(path.stat().st_size for path in made.rglob("*.parquet"))
        runs[side][-1]["bytes_an_event"] = stored / truth["rows"]

    for number in range(settings.rounds):
        ours, whole, other = (str(settings.scratch / name) for name in ("ours", "whole", "other"))
        run("pipeline", "day", "fill", lake=ours)
        run("by hand", "rivals", "by_hand", out=other)
        run("compacted", "day", "fill", lake=ours, table="events_daily")
        run("read whole", "day", "fill", lake=whole, table="events_daily")
        for rival, function in RIVALS.items() if number == 0 else ():
            shutil.rmtree(other)
            run(rival, "rivals", function, out=other)
        for lake in (ours, whole, other):
            shutil.rmtree(lake)

    def of(side: str, key: str) -> float:
        return median(run[key] for run in runs[side])

    def ratio(one: str, other: str, key: str) -> float:
        return of(one, key) / of(other, key)

    note = f"{truth['rows_in_files']:,} rows in 24 files, medians of {settings.rounds}"
    figures = [
        Figure("backfill_ratio", ratio("pipeline", "by hand", "seconds"), "x", 1.8, 1.3, "time, pipeline / by hand"),
        Figure("backfill_cpu_ratio", ratio("pipeline", "by hand", "cpu_seconds"), "x", note="processor time, pipeline / by hand"),
        Figure("backfill_peak", of("pipeline", "peak_mib") * MB_A_MIB, "MB", 1500, 600),
        Figure("backfill_by_hand_peak", of("by hand", "peak_mib") * MB_A_MIB, "MB"),
        Figure("backfill_seconds", of("pipeline", "seconds"), "s", note=note),
        Figure("backfill_by_hand_seconds", of("by hand", "seconds"), "s", note="all equal the truth: rows, hash, windows"),
        Figure("backfill_cpu_seconds", of("pipeline", "cpu_seconds"), "s"),
        Figure("backfill_by_hand_cpu_seconds", of("by hand", "cpu_seconds"), "s"),
        Figure("storage_ratio", ratio("pipeline", "by hand", "bytes_an_event"), "x", 1.1, 0.9, "Parquet bytes an event, pipeline / by hand"),
        Figure("storage", of("pipeline", "bytes_an_event"), "B/event"),
        Figure("seal_ratio", ratio("compacted", "read whole", "seconds"), "x", 0.7, 0.4, "a day sealed from its windows / read from the source"),
        Figure("seal_cpu_ratio", ratio("compacted", "read whole", "cpu_seconds"), "x", note="processor time of the same"),
        Figure("seal_peak", of("compacted", "peak_mib") * MB_A_MIB, "MB", note="compaction"),
    ]  # fmt: skip
    for rival in RIVALS:
        peak = f"once; its peak memory is {of(rival, 'peak_mib') * MB_A_MIB:,.0f} MB"
        figures += [
            Figure(f"backfill_{rival}_seconds", of(rival, "seconds"), "s", note=peak),
            Figure(f"backfill_{rival}_cpu_seconds", of(rival, "cpu_seconds"), "s"),
        ]
    return [*figures, _flatness(settings)]


def _flatness(settings: Settings) -> Figure:
    """Compare peaks at half the rate, at which a day is more than the router holds in memory all the same."""
    rate = settings.rate / 2
    peaks: dict[int, float] = {}
    for days in (1, RANGE_DAYS):
        call("event_files", "prepare", cache=str(settings.cache), rate=rate, days=days)
        lake = settings.scratch / f"{days}-days"
        files = str(folder(settings.cache, rate, days))
        peaks[days] = call("day", "fill", files=files, lake=str(lake), days=days)["peak_mib"]
        shutil.rmtree(lake)
    note = f"peak memory of a range of {RANGE_DAYS} days / of one, {rate:g} events/s; {peaks[RANGE_DAYS] * MB_A_MIB:.0f} MB"
    return Figure("backfill_range_peak_ratio", peaks[RANGE_DAYS] / peaks[1], "x", 1.1, 1.0, note)


def _refuse_other(side: str, made: Path, truth: dict[str, Any]) -> None:
    found = call("event_files", "contents", events=str(made), in_windows=made.name == "events")
    wanted = {"rows": truth["rows"], "hash": truth["hash"]}
    if made.name == "events":
        wanted |= {"in_wrong_window": 0, "windows": WINDOWS}
    if any(found[key] != value for key, value in wanted.items()):
        raise SystemExit(f"backfill, {side}: there is {found}, the truth is {wanted}")
