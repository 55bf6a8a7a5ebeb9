"""A lake that cannot be used says so in one sentence, and leaves nothing half written."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from stream_assets.errors import DeclarationError, LakeError, LakeUnavailable
from stream_assets.events.schema import REJECTED
from stream_assets.lake import publish as publishing
from stream_assets.lake.disk import exchange
from stream_assets.lake.store import Lake
from stream_assets.testing.partitions import DAY, NOW, WINDOWS, events, ids, publish, stage
from stream_assets_tests.lake.conftest import lake_in
from stream_assets_tests.lake.disks import filled, mounted
from stream_assets_tests.lake.processes import run

NOBODY = 65534


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("")
    with pytest.raises(LakeError, match="cannot be written"):
        lake_in(tmp_path)


def test_a_file_in_the_place_of_a_table_or_partition(lake: Lake) -> None:
    (lake.layout.root / "events").write_text("")
    with pytest.raises(LakeError, match="nothing else may lie in their place"):
        publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    folder = lake.layout.partition("events_daily", "day", DAY)
    folder.parent.mkdir()
    folder.write_text("")
    with pytest.raises(LakeError, match="nothing else may lie in their place"):
        publish(lake, "events_daily", (DAY, events(WINDOWS[0])))
    assert list(lake.layout.staging.iterdir()) == []
    assert lake.ledger.seq() == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become nobody, and everybody else owns what it makes")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    lake = lake_in(tmp_path)
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))

    def as_nobody() -> None:
        os.setresuid(NOBODY, NOBODY, NOBODY)
        with pytest.raises(LakeError, match="other cannot be written"):
            Lake.open(tmp_path / "other", "UTC", NOW)
        with pytest.raises(LakeError, match="cannot be (written|used)"):
            publish(lake_in(tmp_path), "events", (WINDOWS[0], events(WINDOWS[0])))

    assert run(as_nobody) == 0


def test_partitions_without_their_ledger(lake: Lake, tmp_path: Path) -> None:
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    for path in lake.layout.root.glob("_l*"):
        path.unlink()
    with pytest.raises(LakeError, match="partitions but no ledger"):
        lake_in(tmp_path)
    assert not lake.layout.ledger.exists()


def test_a_ledger_that_was_removed_while_it_was_open(lake: Lake, tmp_path: Path) -> None:
    """Whoever went on would publish into a ledger that nobody can see."""
    shutil.rmtree(lake.layout.root)
    lake_in(tmp_path)
    with pytest.raises(LakeError, match="removed or replaced"):
        publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))


def test_a_ledger_from_another_lake(lake: Lake, tmp_path: Path) -> None:
    other = Lake.open(tmp_path / "other", "UTC", NOW, start="2026-03-01")
    assert lake.id != other.id
    other.ledger.database.close()
    lake.ledger.database.close()
    shutil.copy(other.layout.ledger, lake.layout.ledger)
    with pytest.raises(LakeError, match=f"{lake.id}.*{other.id}"):
        lake_in(tmp_path)


def test_a_copy_is_known_and_a_lake_that_moved_is_none(lake: Lake, tmp_path: Path) -> None:
    lake.ledger.database.close()
    shutil.copytree(lake.layout.root, tmp_path / "copy")
    copy = Lake.open(tmp_path / "copy", "UTC", NOW)
    assert (copy.id, copy.is_copy) == (lake.id, True)
    lake.layout.root.rename(tmp_path / "moved")
    moved = Lake.open(tmp_path / "moved", "UTC", NOW)
    assert (moved.id, moved.is_copy) == (lake.id, False)


def test_a_ledger_that_is_damaged(lake: Lake, tmp_path: Path) -> None:
    lake.ledger.database.close()
    lake.layout.ledger.write_bytes(b"\0" * 8192)
    with pytest.raises(LakeError, match="file is not a database"):
        lake_in(tmp_path)


def test_a_lake_of_another_format(lake: Lake, tmp_path: Path) -> None:
    lake.ledger.database.change("update meta set value = '99' where key = 'format'")
    with pytest.raises(LakeError, match="another release"):
        lake_in(tmp_path)


def test_a_start_that_is_no_day(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="not a local day"):
        Lake.open(tmp_path / "lake", "UTC", NOW, start="2026-03-01T12:00")
    assert not (tmp_path / "lake").exists()


# A full disk.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "small", 4) as folder:
        yield folder


def noise(count: int) -> pa.Table:
    rows = events(WINDOWS[0], 1).take([0] * count)
    return rows.set_column(0, "event_id", pa.array([os.urandom(512).hex() for _ in range(count)]))


def test_a_disk_that_fills_while_staging(small_disk: Path) -> None:
    lake = lake_in(small_disk)
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    with lake.publisher() as publisher:
        stage(lake, publisher, "events", WINDOWS[1], [events(WINDOWS[1])])
        with pytest.raises(LakeUnavailable, match="make room"):
            stage(lake, publisher, "events", WINDOWS[0], [noise(10_000)])
    _assert_untouched(lake)
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0], mark="b")))


def test_a_disk_that_fills_at_the_ledgers_commit(small_disk: Path) -> None:
    """The partitions have been exchanged by then, and are exchanged back."""
    lake = lake_in(small_disk)
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    failed = 0
    for room in range(0, 200_000, 8192):
        with lake.publisher() as publisher:
            for window in WINDOWS[:20]:
                stage(lake, publisher, "events", window, [events(window, mark="b")])
            (lake.layout.root / "events" / "day=2026-03-01").mkdir(exist_ok=True)
            with filled(small_disk, room):
                try:
                    publisher.commit()
                    break
                except LakeUnavailable:
                    failed += 1
        _assert_untouched(lake)
    assert failed
    assert len(ids(lake.read("events", DAY))) == 60


def test_a_disk_that_is_full_when_rows_are_rejected(small_disk: Path) -> None:
    lake = lake_in(small_disk)
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    raw = pa.array([os.urandom(3000).hex() for _ in range(1000)])
    rows = pa.table([pa.array(["event_id is null"] * 1000), pa.nulls(1000, REJECTED.types[1]), raw], schema=REJECTED)
    with pytest.raises(LakeUnavailable, match="make room"):
        lake.keep_rejected("events", WINDOWS[0], rows)
    assert [p for p in lake.layout.rejected("events", WINDOWS[0]).rglob("*") if p.is_file()] == []
    lake.keep_rejected("events", WINDOWS[0], rows.slice(0, 3))
    assert lake.rejected("events", WINDOWS[0]) == {"event_id is null": 3}


def test_a_relation_on_a_full_disk_is_tried_again_and_never_made_of_files_that_may_go(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    mkdir = Path.mkdir

    def no_room(path: Path, *args: Any, **options: Any) -> None:
        if "pinned" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        mkdir(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", no_room)
    with pytest.raises(LakeUnavailable, match="make room"):
        lake.relation(duckdb.connect(), "events", DAY)


def test_a_disk_that_fills_at_the_second_exchange(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of names has no room left: the first partition is exchanged back."""
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    publish(lake, "dashboard", (WINDOWS[0], events(WINDOWS[0])))
    calls: list[Path] = []

    def exchange_once(first: Path, second: Path) -> None:
        calls.append(second)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        exchange(first, second)

    monkeypatch.setattr(publishing, "exchange", exchange_once)
    with lake.publisher() as publisher:
        for table in ("dashboard", "events"):
            stage(lake, publisher, table, WINDOWS[0], [events(WINDOWS[0], mark="b")])
        with pytest.raises(LakeUnavailable, match="make room"):
            publisher.commit()
    _assert_untouched(lake)
    assert ids(lake.read("dashboard", DAY)) == ids(events(WINDOWS[0]))
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0], mark="b")))


def _assert_untouched(lake: Lake) -> None:
    assert [p.name for p in (lake.layout.root / "events").rglob("*.parquet")] == [
        Path(c.file).name for c in lake.ledger.current("events", DAY)
    ]
    assert ids(lake.read("events", DAY)) == ids(events(WINDOWS[0]))
    assert list(lake.layout.staging.iterdir()) == []


def test_a_limit_on_file_size(open_lake: Callable[[], Lake]) -> None:
    lake = open_lake()
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        own = open_lake()
        rows = noise(2000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        with pytest.raises(LakeUnavailable, match="cannot be written"), own.publisher() as publisher:
            stage(own, publisher, "events", WINDOWS[0], [rows])

    assert run(limited) == 0
    _assert_untouched(lake)


def test_a_relation_on_a_disk_that_has_become_full(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files cannot be pinned: that passes, and is no error of DuckDB's or of a consumer's."""
    import duckdb

    publish(lake, "dashboard", (WINDOWS[0], events(WINDOWS[0])))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(LakeUnavailable, match="make room there"):
        lake.relation(duckdb.connect(), "dashboard", WINDOWS[0])
