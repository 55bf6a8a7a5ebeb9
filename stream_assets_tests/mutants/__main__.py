"""Runs tests against deliberately broken variants of the code: each must be caught.

No general tool draws these: mutmut and cosmic-ray change operators and constants one by one, thousands of variants
of which most mean nothing here, and neither can move a sync behind an exchange. The list is written by hand, one
variant for each promise that somebody in a hurry might break; what runs it is a copy, a replacement and pytest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("mutants.toml")
COPIED = ("stream_assets", "stream_assets_tests", "pyproject.toml")
CORES = 2
LIMIT_SECONDS = 600
FAILED = 1
"""What pytest ends with where a test has failed; other numbers say that it could not run them."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One variant: `old`, which stands in `file` exactly once, becomes `new`, and one of `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, root: Path) -> None:
        """Change the file.

        Raises:
            ValueError: its text is not what it was when the mutant was written.
        """
        path = root / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.file} has the old text {text.count(self.old)} times, not once: write the mutant anew"
            )
        path.write_text(text.replace(self.old, self.new))


def mutants(wanted: str = "") -> list[Mutant]:
    """Return the mutants whose names have `wanted` in them."""
    found = tomllib.loads(LIST.read_text())["mutant"]
    return [Mutant(**{**m, "tests": tuple(m["tests"])}) for m in found if wanted in m["name"]]


def outcome_of(tests: Sequence[str], mutant: Mutant | None = None) -> int:
    """Return what pytest ended with on a copy of the code, changed by `mutant`; `FAILED` too where it took too long."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = Path(folder)
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, root / name)
        if mutant:
            mutant.apply(root)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-m",
            "not slow and not exhaustive",
            *tests,
        ]
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1", "CI": "1"}
        try:
            done = subprocess.run(
                command,
                cwd=root,
                env=environment,
                check=False,
                capture_output=True,
                timeout=LIMIT_SECONDS if mutant else None,
            )
        except subprocess.TimeoutExpired:
            return FAILED
    return done.returncode


def verdict(mutant: Mutant) -> str:
    """Try one mutant, and say what became of it."""
    try:
        status = outcome_of(mutant.tests, mutant)
    except ValueError as error:
        return f"LOST: {error}"
    return "caught" if status == FAILED else "SURVIVED" if status == 0 else f"BROKEN: pytest ended with {status}"


def main(wanted: str = "") -> int:
    """Try all mutants; returns 0 where each was caught."""
    tried = mutants(wanted)
    tests = list(dict.fromkeys(test for mutant in tried for test in mutant.tests))
    bad = 0
    with ThreadPoolExecutor(CORES) as pool:
        # A test that fails anyway would catch everything.
        clean = pool.submit(outcome_of, tests)
        for mutant, said in zip(tried, pool.map(verdict, tried), strict=True):
            print(f"{said:9} {mutant.name}", flush=True)
            bad += said != "caught"
        if clean.result():
            print(f"BROKEN: the tests end with {clean.result()} on the code as it is")
            bad += 1
    print(f"{len(tried)} mutants, {bad} not caught")
    return 1 if bad or not tried else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
