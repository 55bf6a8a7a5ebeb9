"""The order of write, sync, exchange and commit, from the system calls themselves.

A killed process loses nothing that a power cut would, so no test that kills can see a sync that is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_assets_tests.lake import system_calls
from stream_assets_tests.lake.system_calls import Call, trace

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    folder = tmp_path_factory.mktemp("traced")
    return trace(folder, system_calls.__name__, str(folder))


def between(calls: list[Call], first: str, last: str) -> list[Call]:
    """Return the calls on the lake from one mark to the next."""
    marks = [n for n, c in enumerate(calls) if c.kind == "open" and c.paths[0].endswith((f"/{first}", f"/{last}"))]
    found = [c for c in calls[marks[0] : marks[1]] if any("/lake" in p for p in c.paths) and c.kind != "open"]
    assert len({c.thread for c in found}) == 1, "calls of several threads have no order"
    return found


def where(calls: list[Call], is_it: Callable[[Call], bool]) -> list[int]:
    return [n for n, call in enumerate(calls) if is_it(call)]


def assert_in_order(calls: list[Call], *, moves: list[str]) -> None:
    told = "\n".join(f"{n:4} {call}" for n, call in enumerate(calls))
    (synced,) = where(calls, lambda c: c.kind == "sync all")
    before, after = calls[:synced], calls[synced:]
    writes = where(calls, lambda c: c.kind == "write" and c.paths[0].endswith(".parquet"))
    named = where(calls, lambda c: c.kind == "rename" and c.paths[1].endswith(".parquet"))
    made = where(calls, lambda c: c.kind == "mkdir" and "/dashboard" in c.paths[0])
    assert writes, told
    assert max(writes + named + made) < synced, f"a file, its name or its folder came after the sync\n{told}"
    assert not where(before, lambda c: c.kind in ("exchange", "move new")), f"moved before the sync\n{told}"

    kinds = [c.kind for c in after if c.kind in ("lock", "exchange", "move new", "unlock")]
    assert kinds == ["lock", *moves, "unlock"], told
    last = max(where(calls, lambda c: c.kind in ("exchange", "move new")))
    parents = {str(Path(c.paths[1]).parent) for c in after if c.kind in ("exchange", "move new")}
    for parent in parents:
        folder = where(calls, lambda c, parent=parent: c.kind == "sync" and c.paths == (parent,))
        assert folder, f"{parent} is never synced\n{told}"
        assert last < min(folder), told
        told_ledger = where(calls, lambda c: c.kind == "write" and c.paths[0].endswith("-wal"))
        # SQLite writes a change that fits in its memory at the commit alone.
        assert max(folder) < min(n for n in told_ledger if n > synced), f"the ledger was ahead of the disk\n{told}"
        committed = where(calls, lambda c: c.kind == "sync" and c.paths[0].endswith("-wal"))
        assert max(committed) > max(told_ledger), f"what was committed is not synced\n{told}"


def test_a_publication_of_one_partition(calls: list[Call]) -> None:
    assert_in_order(between(calls, "one", "two"), moves=["move new"])


def test_a_publication_of_several_partitions(calls: list[Call]) -> None:
    assert_in_order(between(calls, "two", "rejected"), moves=["exchange", "move new"])


def test_kept_rejected_rows_are_synced_before_they_take_their_name(calls: list[Call]) -> None:
    kept = between(calls, "rejected", "end")
    told = "\n".join(map(str, kept))
    (named,) = where(kept, lambda c: c.kind == "rename")
    draft, path = kept[named].paths
    assert max(where(kept, lambda c: c.kind == "write")) < named, told
    assert where(kept[:named], lambda c: c.kind == "sync" and c.paths == (draft,)), told
    assert where(kept[named:], lambda c: c.kind == "sync" and c.paths == (str(Path(path).parent),)), told


def test_the_marker_of_a_lake_is_synced_before_it_takes_its_name(calls: list[Call]) -> None:
    (named,) = where(calls, lambda c: c.kind == "rename" and c.paths[1].endswith("_lake.json"))
    draft, path = calls[named].paths
    assert where(calls[:named], lambda c: c.kind == "sync" and c.paths == (draft,))
    assert where(calls[named:], lambda c: c.kind == "sync" and c.paths == (str(Path(path).parent),))
