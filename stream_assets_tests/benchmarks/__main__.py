"""`make bench`: measures, prints a table, and writes `build/bench.json` and `build/bench-history.png`.

python -m stream_assets_tests.benchmarks [--quick] [--only NAME ...] [--out FILE] [--commit]

Each module of NAMES has `measure(settings)`, which returns figures, and series of them for the plot. `--commit` keeps
the figures beside the benchmarks, where the next run finds what it is compared with.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

from stream_assets.core.clock import SystemClock
from stream_assets_tests.benchmarks import report
from stream_assets_tests.benchmarks.figure import Figure, Series
from stream_assets_tests.benchmarks.settings import Settings

NAMES = (
    "row_hash",
    "imports",
    "command_line",
    "dagster_run",
    "planner_tick",
    "many",
    "years",
    "pages",
    "idle",
    "backfill",
    "parallel",
    "publishing",
    "consuming",
    "row_groups",
)


def main(arguments: list[str]) -> int:
    """Run the benchmarks; 0 also where a must is missed, since figures are not tests."""
    parser = argparse.ArgumentParser(prog="python -m stream_assets_tests.benchmarks")
    parser.add_argument("--quick", action="store_true", help="little data, one round: shows that everything runs")
    parser.add_argument("--only", nargs="+", choices=NAMES, help="some of them")
    parser.add_argument("--rounds", type=int, help="runs of each side of a comparison")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--commit", action="store_true", help=f"keep the figures in {report.COMMITTED.name}")
    asked = parser.parse_args(arguments)
    if asked.commit and (asked.quick or asked.only):
        parser.error("--commit keeps the figures of a whole run: leave out --quick and --only")
    build = asked.out.resolve().parent
    build.mkdir(parents=True, exist_ok=True)
    host = report.machine()
    at = SystemClock().now().isoformat(timespec="seconds")
    measured: list[Figure | Series] = []
    # Not in /tmp, which may be memory: a lake is to be measured on a disk.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build) as scratch:
        make = Settings.quick if asked.quick else Settings
        settings = make(build / "bench-events", Path(scratch))
        if asked.rounds:
            settings = settings.with_rounds(asked.rounds)
        for name in asked.only or NAMES:
            began = time.perf_counter()
            print(f"{name} ...", end="", file=sys.stderr, flush=True)
            measured += importlib.import_module(f"stream_assets_tests.benchmarks.{name}").measure(settings)
            print(f" {time.perf_counter() - began:.0f} s", file=sys.stderr)
    host["load_average_after"] = report.machine()["load_average"]
    figures = [found for found in measured if isinstance(found, Figure)]
    series = [found for found in measured if isinstance(found, Series)]
    found = {
        "at": at,
        "quick": asked.quick,
        "machine": host,
        "figures": [figure.to_json() for figure in figures],
        "series": [line.to_json() for line in series],
    }
    report.write(found, asked.out)
    committed = report.read_committed()
    print(f"\n{report.headline(found)}")
    if committed["figures"]:
        print(f"committed: {report.headline(committed)}")
    print(f"\n{report.table(figures, committed)}\n\n{asked.out}")
    if series:
        drawn = asked.out.with_name(f"{asked.out.stem}-history.png")
        report.plot(series, drawn)
        print(drawn)
    if asked.commit:
        report.write(found, report.COMMITTED)
        print(report.COMMITTED)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
