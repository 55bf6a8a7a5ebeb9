"""Measures in a process of its own: `python -m stream_assets_tests.benchmarks.child MODULE FUNCTION ARGUMENTS`.

The function's answer, a dictionary, comes back as JSON with the peak memory of the process.
"""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

PACKAGE = "stream_assets_tests.benchmarks"


class Stopwatch:
    """Elapsed and processor seconds, of all threads, since it was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def seconds(self) -> dict[str, float]:
        """Return both."""
        return {"seconds": time.perf_counter() - self._wall, "cpu_seconds": time.process_time() - self._cpu}


def call(module: str, function: str, *, env: Mapping[str, str] | None = None, **arguments: Any) -> dict[str, Any]:
    """Call a function of a benchmark's module in a new process and return its answer, with `peak_mib`."""
    done = subprocess.run(
        [sys.executable, "-m", f"{PACKAGE}.child", module, function, json.dumps(arguments)],
        env=env, stdout=subprocess.PIPE, check=False, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{module}.{function} failed; its error is above")
    return json.loads(done.stdout.splitlines()[-1])


def main(module: str, function: str, arguments: str) -> None:
    """Run one function and print its answer."""
    answer = getattr(importlib.import_module(f"{PACKAGE}.{module}"), function)(**json.loads(arguments))
    # ru_maxrss is in KiB on Linux. The parent is small, so what is inherited over fork does not count.
    answer["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
