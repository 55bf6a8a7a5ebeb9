"""`python -m stream_assets_tests.chaos [--minutes N] [--seed N] [--json]`: prints a line of figures; 1 where something is wrong."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from pathlib import Path
from typing import Any

from stream_assets_tests.chaos.disk import with_private_mounts

SHOWN = (
    "seed", "minutes", "kills", "stops", "clock_jumps", "outages", "full_disks", "declarations", "publications", "polls",
    "not_found", "missed", "withdrawn", "lost", "doubled", "changed", "torn", "forgotten", "by_ledger_wrong", "raised",
)  # fmt: skip


def line(figures: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {figures[name]}" for name in SHOWN)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m stream_assets_tests.chaos")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None, help="by default another one each time")
    parser.add_argument("--keep", type=Path, default=Path("build/chaos"), help="where a lake that is wrong is kept")
    parser.add_argument("--json", action="store_true", help="all figures as JSON")
    asked = parser.parse_args(arguments)
    with_private_mounts()
    from stream_assets_tests.chaos.run import chaos

    seed = secrets.randbelow(1_000_000) if asked.seed is None else asked.seed
    figures = chaos(seed, asked.minutes, asked.keep / f"seed-{seed}", lambda said: print(said, file=sys.stderr))
    for difference in figures["differences"]:
        print(difference, file=sys.stderr)
    print(json.dumps(figures) if asked.json else line(figures))
    if figures["good"]:
        return 0
    print(f"chaos: something is wrong; lake and logs are in {figures['kept']}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
