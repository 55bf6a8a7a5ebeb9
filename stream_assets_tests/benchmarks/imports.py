"""What it costs to import the package, and to load its definitions."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from stream_assets_tests.benchmarks.child import call
from stream_assets_tests.benchmarks.figure import Figure
from stream_assets_tests.benchmarks.settings import Settings

NAME = "imports"
REPEATS = 5


def measure(settings: Settings) -> list[Figure]:
    """Compare new processes that import with such that do not."""
    env = {**os.environ, "STREAM_ASSETS_LAKE": str(settings.scratch / "imports"), "STREAM_ASSETS_SOURCE": "synthetic:"}
    for name in ("ZONE", "TIMEZONE", "START", "END", "CONSUMERS"):
        env.pop(f"STREAM_ASSETS_{name}", None)
    call("imports", "warm", env=env)
    repeats = REPEATS if settings.rounds > 1 else 1
    texts = ("pass", "import stream_assets", "import dagster", "import stream_assets.definitions")
    found: dict[str, list[float]] = {text: [] for text in texts}
    for _ in range(repeats):
        for text in texts:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", text], env=env, check=True)
            found[text].append(time.perf_counter() - began)
    nothing, package, dagster, definitions = (min(found[text]) for text in texts)
    return [
        Figure("import_package", (package - nothing) * 1000, "ms", 60, 30, f"over starting Python, best of {repeats}"),
        Figure(
            "load_definitions",
            definitions - dagster,
            "s",
            0.4,
            0.2,
            f"over importing Dagster, lake opened, best of {repeats}",
        ),
    ]


def warm() -> dict[str, float]:
    """Make the lake and the byte code."""
    import stream_assets.definitions  # noqa: F401

    return {}
