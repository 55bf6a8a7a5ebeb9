"""doctor, ledger, split, accept-gap and reopen: the commands of who looks after a lake."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from stream_assets.core.window import TimeWindow
from stream_assets.lake import disk
from stream_assets.lake.ledger import Ledger
from stream_assets.lake.ledger.database import Database
from stream_assets.pipeline import doctor
from stream_assets_tests.cli.conftest import Answer, Shell

MOUNTS = "36 35 98:0 / {} rw,noatime master:1 - {} host:/export rw\n"


def mounted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    """Let the kernel say that the test's folder is on a file system of that type."""
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS.format("/", "ext4") + MOUNTS.format(str(tmp_path).replace(" ", "\\040"), kind))
    monkeypatch.setattr(disk, "MOUNTS", table)


def checks(answer: Answer) -> dict[str, tuple[str, str]]:
    return {c["name"]: (c["level"], c["said"]) for c in answer.facts["checks"]}


def test_doctor_finds_nothing_wrong_with_a_lake_that_is_well(filled: Shell) -> None:
    answer = filled("doctor", "--json")
    found = checks(answer)
    assert answer.code == 0
    assert {name: level for name, (level, _) in found.items() if level == "problem"} == {}
    assert list(found) == [
        "file system", "exchange", "room", "files", "ledger", "staging", "place", "clock", "source of events", "work",
        "failures", "keys", "versions",
    ]  # fmt: skip
    assert found["source of events"][1].endswith("complete up to 2026-03-10 00:46:30Z")
    assert found["keys"][1] == "297 windows since 2026-03-09"
    assert "ok       ledger: whole" in filled("doctor").out


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_network_file_system_is_refused_where_a_lake_is_made_and_by_doctor_with_one_reason(
    small: Shell, filled: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    reason = f"it is a network file system ({kind}), on which folders cannot be exchanged in one step"
    mounted(monkeypatch, tmp_path, kind)
    answer = filled("doctor", "--json")
    assert answer.code == 1
    assert checks(answer)["file system"][0] == "problem"
    assert reason in checks(answer)["file system"][1]
    made = filled("run", STREAM_ASSETS_LAKE=str(tmp_path / "other"))
    assert made.code == 1
    assert reason in made.err
    assert made.err.count("\n") == 1
    assert filled("status").code == 0  # one that is there goes on


@pytest.mark.parametrize("kind", ["btrfs", "tmpfs"])
def test_weak_file_systems_are_a_warning(
    filled: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    mounted(monkeypatch, tmp_path, kind)
    answer = filled("doctor", "--json")
    assert (answer.code, checks(answer)["file system"][0]) == (0, "warning")


def test_the_last_of_several_mounts_in_one_place_counts_and_names_with_spaces_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    place = str(folder).replace(" ", "\\040")
    table = tmp_path / "mountinfo"
    table.write_text("".join(MOUNTS.format(p, k) for p, k in (("/", "ext4"), (place, "xfs"), (place, "nfs"))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "MOUNTS", table)
        assert [disk.file_system(p) for p in (folder, tmp_path)] == ["nfs", "ext4"]


def test_doctor_knows_a_clock_that_went_back_paused_failures_and_lost_work(filled: Shell) -> None:
    filled.declare(
        "orders",
        'from stream_assets import consumer\n@consumer(freshness="5 min", grain="5 min")\ndef orders(events):\n    raise ValueError("no")\n',
    )
    for _ in range(4):
        filled.clock.advance(timedelta(minutes=5))
        filled("run")
    old = filled.lake / "_staging" / "left"
    old.mkdir()
    os.utime(old, (0, 0))
    answer = filled("doctor", "--json")
    assert answer.code == 1
    assert checks(answer)["failures"][0] == "problem"
    assert "ValueError: no" in checks(answer)["failures"][1]
    assert checks(answer)["staging"] == ("warning", "1 folders are left over from more than 2 hours ago")
    filled.clock.set(filled.clock.now() - timedelta(minutes=30))
    assert checks(filled("doctor", "--json"))["clock"][0] == "problem"


def test_doctor_knows_sources_that_do_not_answer_many_keys_and_work_that_hangs(
    filled: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = filled.clock.now()
    work = Ledger(filled.lake / "_ledger.sqlite").work
    span = TimeWindow(now - timedelta(minutes=7), now - timedelta(minutes=2))
    work.begin(None, "x", "5 min", ("orders",), span, now - timedelta(hours=7))
    monkeypatch.setattr(doctor, "MANY_KEYS", 297)
    away = {"STREAM_ASSETS_SOURCE": f"file://{tmp_path}/nowhere"}
    answer = filled("doctor", "--json", **away)
    found = checks(answer)
    assert answer.code == 1
    assert found["source of events"][0] == "problem"
    assert found["source of events"][1]
    assert found["keys"] == (
        "warning",
        "297 windows since 2026-03-09; Dagster recommends at most 100,000 partitions an asset",
    )
    assert found["work"] == ("warning", "given up by its process without a word: 1")
    hangs = work.begin(None, "x", "5 min", ("orders",), span, now - timedelta(hours=7))
    work.renew(hangs, now)
    answer = filled("doctor", "--json")
    assert (answer.code, checks(answer)["work"]) == (
        0,
        ("warning", "orders has been running since 2026-03-09 17:47:00Z"),
    )


def test_who_only_reads_waits_for_no_writer_that_stands_still(filled: Shell) -> None:
    rows = filled.json("sql", "select count(*) n from events")["rows"]
    writer = sqlite3.connect(filled.lake / "_ledger.sqlite", isolation_level=None)
    writer.execute("begin immediate")
    try:
        assert filled.json("sql", "select count(*) n from events")["rows"] == rows
        assert filled("files", "events").code == 0
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("code", "free", "todo"),
    [
        (sqlite3.SQLITE_IOERR, 0, "make room there"),
        (sqlite3.SQLITE_BUSY, 0, "make room there"),
        (sqlite3.SQLITE_FULL, 9, "make room there"),
        (sqlite3.SQLITE_BUSY, 9, "another process writes to it, or was stopped while it did"),
        (sqlite3.SQLITE_IOERR, 9, "it is tried again"),
    ],
)
def test_what_to_do_where_the_ledger_cannot_be_used_now(
    filled: Shell, monkeypatch: pytest.MonkeyPatch, code: int, free: int, todo: str
) -> None:
    class Broken(sqlite3.OperationalError):
        sqlite_errorcode = code

    def fail(*_: object) -> None:
        raise Broken("disk I/O error")

    monkeypatch.setattr(Database, "row", lambda self, *_: guarded(self, fail))
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=4096, f_files=0, f_favail=0))
    assert f"(disk I/O error): {todo}" in filled("status").err


def guarded(database: Database, call: Callable[[], None]) -> None:
    with database._errors():
        call()


def test_doctor_says_what_it_can_of_a_lake_that_cannot_be_opened(filled: Shell) -> None:
    filled.put_down()
    (filled.lake / "_ledger.sqlite").write_bytes(b"\0" * 4096)
    answer = filled("doctor", "--json")
    found = checks(answer)
    assert answer.code == 1
    assert (found["ledger"][0], found["lake"][0], found["room"][0]) == ("problem", "problem", "ok")


def test_without_a_lake_there_is_nothing_to_examine(small: Shell) -> None:
    for args in (("doctor",), ("ledger", "rebuild"), ("ledger", "check")):
        answer = small(*args)
        assert (answer.code, "there is no lake in" in answer.err) == (2, True)
    assert not small.lake.exists()


@pytest.mark.parametrize("command", [("status",), ("run",), ("plan",), ("verify",), ("files", "events"), ("doctor",)])
def test_a_ledger_that_is_damaged_or_gone_is_one_sentence_with_the_way_on(
    filled: Shell, command: tuple[str, ...]
) -> None:
    filled.put_down()
    ledger = filled.lake / "_ledger.sqlite"
    ledger.write_bytes(b"\0" * 4096)
    for _ in range(2):
        answer = filled(*command)
        assert answer.code == 1
        assert "stream-assets ledger rebuild" in answer.err + answer.out
        assert "Traceback" not in answer.err
        for side in ("", "-wal", "-shm"):
            ledger.with_name(ledger.name + side).unlink(missing_ok=True)
        filled.put_down()


def test_the_ledger_is_checked_backed_up_restored_and_rebuilt(filled: Shell, tmp_path: Path) -> None:
    before = filled.json("files", "events")
    assert filled.json("ledger", "check")["is_whole"]
    kept = filled.json("ledger", "backup", str(tmp_path / "kept.sqlite"))
    assert kept["bytes"] == (tmp_path / "kept.sqlite").stat().st_size > 0
    filled.put_down()
    (filled.lake / "_ledger.sqlite").write_bytes(b"\0" * 4096)
    checked = filled("ledger", "check", "--json")
    assert (checked.code, checked.facts["is_whole"]) == (1, False)
    restored = filled.json("ledger", "restore", str(tmp_path / "kept.sqlite"))
    assert Path(restored["kept"]).read_bytes() == b"\0" * 4096
    assert (restored["adopted"], restored["broken"], restored["stale"]) == ({}, [], 0)
    assert filled.json("files", "events") == before
    filled.put_down()
    rebuilt = filled.json("ledger", "rebuild")
    assert rebuilt["partitions"] == {"events": 9, "events_daily": 1, "orders": 297, "report": 1}
    assert (rebuilt["broken"], rebuilt["stale"]) == ([], 0)
    assert filled.json("files", "events") == before
    assert filled.json("verify")["differences"] == []
    assert "Nothing was due." in filled("run").out
    filled.put_down()
    assert "partitions of events 9" in filled("ledger", "rebuild").out


def test_a_backup_into_no_folder_and_a_restore_of_no_ledger_name_what_was_given(filled: Shell, tmp_path: Path) -> None:
    answer = filled("ledger", "backup", str(tmp_path / "nowhere" / "x"))
    assert answer.code == 2
    assert f"there is no folder {tmp_path / 'nowhere'} for the backup" in answer.err
    text, other = tmp_path / "no.txt", tmp_path / "other.sqlite"
    text.write_text("no ledger")
    sqlite3.connect(other).execute("create table t (a)").connection.close()
    filled.put_down()
    for file in (text, other):
        answer = filled("ledger", "restore", str(file))
        assert answer.code == 1
        assert str(file) in answer.err
        assert "_ledger.sqlite.restored" not in answer.err
    assert filled.json("ledger", "check")["is_whole"]


def test_a_backup_put_back_says_how_much_it_adopted(filled: Shell, tmp_path: Path) -> None:
    filled("ledger", "backup", str(tmp_path / "kept.sqlite"))
    filled.clock.advance(timedelta(minutes=10))
    assert filled("run").code == 0
    before = filled.json("files", "orders")
    filled.put_down()
    answer = filled("ledger", "restore", str(tmp_path / "kept.sqlite"))
    assert answer.code == 0
    assert "Published since it was made, and adopted: events 2, orders 2." in answer.out
    assert filled.json("files", "orders") == before
    assert filled.json("plan")["work"] == []
    assert filled.json("verify")["differences"] == []


def test_a_file_that_is_no_whole_partition_makes_a_rebuild_end_with_1(filled: Shell) -> None:
    part = next((filled.lake / "report").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-10])
    answer = filled("ledger", "rebuild")
    assert answer.code == 1
    assert f"left out: {part} is no whole Parquet file" in answer.out


def test_a_copy_is_read_and_not_written_until_it_is_split_off(filled: Shell, tmp_path: Path) -> None:
    filled.put_down()
    shutil.copytree(filled.lake, tmp_path / "copy")
    there = {"STREAM_ASSETS_LAKE": str(tmp_path / "copy")}
    filled.clock.advance(timedelta(minutes=5))
    refused = filled("run", **there)
    assert refused.code == 1
    assert f"is a copy of the one in {filled.lake}" in refused.err
    assert "stream-assets split" in refused.err
    for args in (
        ("materialize", "events", "--from", "2026-03-10"),
        ("reopen", "events", "--from", "2026-03-10", "--reason", "x"),
    ):
        assert "is a copy of" in filled(*args, **there).err
    said = filled("status", **there)
    assert (said.code, "stream-assets split" in said.out) == (0, True)
    assert filled("sql", "select count(*) from events", **there).code == 0
    assert checks(filled("doctor", "--json", **there))["place"][0] == "warning"
    split = filled("split", "--json", **there).facts
    assert (split["was_copy"], split["was"] != split["lake_id"]) == (True, True)
    assert filled("run", **there).code == 0
    assert filled("run").code == 0  # the first one is what it was
    assert not filled("split", "--json", **there).facts["was_copy"]


def test_the_ledgers_of_a_copy_and_of_its_lake_are_never_mistaken(filled: Shell, tmp_path: Path) -> None:
    filled.put_down()
    shutil.copytree(filled.lake, tmp_path / "copy")
    assert filled("split", STREAM_ASSETS_LAKE=str(tmp_path / "copy")).code == 0
    assert (
        filled("ledger", "backup", str(tmp_path / "copy.sqlite"), STREAM_ASSETS_LAKE=str(tmp_path / "copy")).code == 0
    )
    answer = filled("ledger", "restore", str(tmp_path / "copy.sqlite"))
    assert (answer.code, "choose a backup of this lake" in answer.err) == (1, True)
    filled.put_down()
    shutil.copyfile(tmp_path / "copy.sqlite", filled.lake / "_ledger.sqlite")
    answer = filled("run")
    assert (answer.code, "they come from two lakes" in answer.err) == (1, True)


def test_a_lake_that_moved_or_was_restored_in_its_place_is_no_copy(filled: Shell, tmp_path: Path) -> None:
    filled.put_down()
    shutil.copytree(filled.lake, tmp_path / "saved")
    shutil.rmtree(filled.lake)
    shutil.copytree(tmp_path / "saved", filled.lake)
    assert filled("run").code == 0
    moved = tmp_path / "moved"
    filled.lake.rename(moved)
    there = {"STREAM_ASSETS_LAKE": str(moved)}
    assert filled("run", **there).code == 0
    # Where it is now is remembered, so that this holds for the next restore too.
    filled.put_down()
    shutil.copytree(moved, tmp_path / "saved again")
    shutil.rmtree(moved)
    shutil.copytree(tmp_path / "saved again", moved)
    assert filled("run", **there).code == 0


def test_a_split_that_died_between_ledger_and_marker_is_finished_by_the_next_opening(
    filled: Shell, tmp_path: Path
) -> None:
    filled.put_down()
    shutil.copytree(filled.lake, tmp_path / "copy")
    there = {"STREAM_ASSETS_LAKE": str(tmp_path / "copy")}
    marker = (tmp_path / "copy" / "_lake.json").read_text()
    assert filled("split", **there).code == 0
    done = (tmp_path / "copy" / "_lake.json").read_text()
    (tmp_path / "copy" / "_lake.json").write_text(marker)
    assert filled("run", **there).code == 0
    assert (tmp_path / "copy" / "_lake.json").read_text() == done != marker


def test_accept_gap_and_reopen_say_what_they_did(filled: Shell) -> None:
    filled.declare(
        "orders",
        'from stream_assets import consumer\n@consumer(freshness="5 min", grain="5 min")\ndef orders(events):\n    raise ValueError("no")\n',
    )
    filled.clock.advance(timedelta(minutes=5))
    assert filled("run").code == 1
    gap = ("--from", "2026-03-10T00:45", "--by", "Ada", "--reason", "nobody wants it")
    done = filled("accept-gap", "orders", *gap, "--json")
    assert done.code == 0
    assert [g["said"] for g in done.facts["accepted"]] == ["gap accepted by Ada: nobody wants it"]
    (told,) = filled.json("status")["accepted"]
    assert (told["table"], told["start"]) == ("orders", "2026-03-10T00:45:00+00:00")
    assert "is sealed without data: gap accepted by Ada: nobody wants it" in filled("status").out
    again = filled.json(
        "reopen", "events", "--from", "2026-03-10", "--to", "2026-03-10T00:10", "--reason", "look again"
    )
    assert [s["end"] for s in again["reopened"]] == ["2026-03-10T00:10:00+00:00"]
    assert filled.json("status")["streams"][0]["reopened"][0]["reason"] == "reopened: look again"
    assert (
        "Nothing of events is sealed there"
        in filled("reopen", "events", "--from", "2026-03-10T00:50", "--reason", "x").out
    )


def test_a_backup_into_the_lake_itself_is_refused(done: Shell) -> None:
    answer = done("ledger", "backup", str(done.lake / "x.sqlite"))
    assert (answer.code, "lies in the lake itself" in answer.err) == (2, True)
