"""`make dev` as a newcomer meets it: started in a fresh clone, stopped by Ctrl-C in the middle, started again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from stream_assets_tests.defs.dagster_dev import DagsterDev
from stream_assets_tests.defs.dagster_ui import DagsterUI
from stream_assets_tests.packaging.conftest import copy_of_the_repository, lend_environment

pytestmark = [pytest.mark.ui, pytest.mark.slow]


class MakeDev(DagsterDev):
    """`make dev` in a clone, which has its own DAGSTER_HOME."""

    def __init__(self, clone: Path, folder: Path, environment: Mapping[str, str]) -> None:
        # `make test` hands its own options on to every `make` below it.
        own = {"PYTHONPATH": str(clone), "MAKEFLAGS": "", "MAKELEVEL": ""}
        super().__init__({"stream_assets": ""}, folder, {**environment, **own})
        self._folder = clone

    def _prepare(self) -> list[str]:
        return ["make", "dev", f"PORT={self.port}"]

    def looks(self) -> int:
        """Return how often `every_5_min` has looked, also before this start."""
        return len(DagsterUI(self, "stream_assets").ticks("every_5_min"))


@dataclass(frozen=True)
class Lived:
    """What was seen of two starts of one clone.

    Attributes:
        port: of the first.
        said: what the first had printed when the dashboard had its first partitions.
        first: inode by path of what was published when it had been stopped.
        second: the same, when the second had done more.
        left_over: processes in the clone after each stop.
    """

    clone: Path
    port: int
    said: str
    first: dict[Path, int]
    second: dict[Path, int]
    left_over: tuple[list[str], list[str]]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, small_lake: dict[str, str]) -> Lived:
    folder = tmp_path_factory.mktemp("make-dev")
    clone = lend_environment(copy_of_the_repository(folder / "stream_assets"))
    with MakeDev(clone, folder / "first", small_lake) as dev:
        dev.wait_for(lambda: published(clone, "revenue_dashboard"), "the dashboard's first partitions", 120)
        said, port, looks = dev.said(), dev.port, dev.looks()
        dev.interrupt()
    first, left = published(clone), processes(clone)
    with MakeDev(clone, folder / "second", small_lake) as dev:
        dev.wait_for(lambda: dev.looks() > looks + 1, "the next looks", 120)
        dev.wait_for(lambda: published(clone, "finance_report"), "yesterday's report", 120)
        dev.interrupt()
    return Lived(clone, port, said, first, published(clone), (left, processes(clone)))


def published(clone: Path, table: str = "[!_]*") -> dict[Path, int]:
    """Return the files of the lake's tables; publishing again would make another."""
    return {path: path.stat().st_ino for path in (clone / "lake").glob(f"{table}/**/part-*.parquet")}


def processes(clone: Path) -> list[str]:
    """Return what still runs in the clone, or was started there."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(clone):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended meanwhile
            continue
    return found


def test_it_says_where_the_ui_and_the_lake_are_and_what_to_try_next(lived: Lived) -> None:
    told = lived.said.partition(" - dagster - ")[0]
    assert f"Dagster   http://127.0.0.1:{lived.port} " in told
    assert f"lake      {lived.clone}/lake" in told
    assert "Try next" in told
    assert "stream-assets explain revenue_dashboard" in told


def test_it_starts_without_a_word_of_alarm(lived: Lived) -> None:
    assert "Traceback" not in lived.said
    assert "ERROR" not in lived.said
    assert "superseded" not in lived.said


def test_partitions_come_without_a_click(lived: Lived) -> None:
    tables = {path.relative_to(lived.clone / "lake").parts[0] for path in lived.first}
    assert {"events", "revenue_dashboard"} <= tables


def test_ctrl_c_stops_it_whole(lived: Lived) -> None:
    assert lived.left_over == ([], [])


def test_started_again_it_goes_on_where_it_was(lived: Lived) -> None:
    assert lived.first.items() <= lived.second.items()
    assert all(path.name.startswith("part-r1-") for path in lived.second)
    reports = [path for path in lived.second if "finance_report" in path.parts]
    assert len(reports) == 1
