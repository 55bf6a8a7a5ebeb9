"""`make bench`: measures, prints a table, and writes `build/bench.json`.

python -m stream_assets_tests.benchmarks [--quick] [--only NAME ...] [--out FILE]
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path

from stream_assets.core.clock import SystemClock
from stream_assets_tests.benchmarks.figure import Figure, as_table, machine
from stream_assets_tests.benchmarks.settings import Settings

NAMES = ("row_hash", "imports", "command_line", "dagster_run", "planner_tick", "backfill")


def main(arguments: list[str]) -> int:
    """Run the benchmarks; 0 also where an aim is missed, since figures are not tests."""
    parser = argparse.ArgumentParser(prog="python -m stream_assets_tests.benchmarks")
    parser.add_argument("--quick", action="store_true", help="little data, one round: shows that everything runs")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="some of them")
    parser.add_argument("--rounds", type=int, help="runs of each side of a comparison")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    asked = parser.parse_args(arguments)
    build = asked.out.resolve().parent
    build.mkdir(parents=True, exist_ok=True)
    host = machine()
    at = SystemClock().now().isoformat(timespec="seconds")
    figures: list[Figure] = []
    # Not in /tmp, which may be memory: a lake is to be measured on a disk.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build) as scratch:
        make = Settings.quick if asked.quick else Settings
        settings = make(build / "bench-events", Path(scratch))
        if asked.rounds:
            settings = settings.with_rounds(asked.rounds)
        for name in asked.only:
            began = time.perf_counter()
            print(f"{name} ...", end="", file=sys.stderr, flush=True)
            figures += importlib.import_module(f"stream_assets_tests.benchmarks.{name}").measure(settings)
            print(f" {time.perf_counter() - began:.0f} s", file=sys.stderr)
    host["load_average_after"] = machine()["load_average"]
    report = {"at": at, "quick": asked.quick, "machine": host, "figures": [f.to_json() for f in figures]}
    asked.out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\n{host['cpu']}, {host['cores']} cores, {host['memory_gib']} GiB, load {host['load_average'][0]}, {at}\n")
    print(as_table(figures))
    print(f"\n{asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
