"""A dozen processes write the ledger at once, some are killed: what was acknowledged is there, in the backups too."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import Work
from stream_assets.core.receipt import Receipt
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.lake.custody import backup, damage
from stream_assets.lake.ledger import FileRecord
from stream_assets.lake.store import Lake
from stream_assets.testing.partitions import NOW, START
from stream_assets_tests.lake.conftest import lake_in
from stream_assets_tests.lake.processes import DIED, ended, start

PROCESSES, KILLED, ROUNDS = 12, 3, 12


def window(process: int, step: int) -> TimeWindow:
    first = START + (process * ROUNDS + step) * 2 * GRID
    return TimeWindow(first, first + GRID)


def write(folder: Path, process: int, rounds: int) -> None:
    """Do one change of every kind a round, and say of each that it was acknowledged, once it was."""
    ledger = lake_in(folder).ledger

    def say(kind: str, *what: object) -> None:
        with (folder / f"said-{process}").open("a") as acknowledged:
            acknowledged.write(json.dumps([kind, *what]) + "\n")

    for step in range(rounds):
        span = window(process, step % ROUNDS)
        with ledger.transaction():
            revision = ledger.revision("events", span) + 1
            ledger.record(
                Receipt("events", span, revision, 0, Digest(), Intervals.of(span), NOW), f"f{revision}", Intervals()
            )
            ledger.cover("events", [span], Intervals.of(span))
        say("published", span.start.isoformat(), revision)
        work = Work("every_5_min", "5 min", span, ("events",), is_catch_up=False, reason=f"{process}-{step}")
        lease = ledger.work.request(work, NOW)
        say("requested", lease.id)
        ledger.work.keep(lease.id, NOW)
        running = ledger.work.begin(lease.id, "x", "5 min", ("events",), span, NOW)
        ledger.work.renew(running, NOW)
        if step % 2:
            ledger.work.finish(running, "events", NOW)
            say("finished", lease.id)
        failure = ledger.work.fail("dashboard", span, f"{process}-{step}", NOW, transient=True)
        say("failed", span.start.isoformat(), failure.tries)
        with ledger.transaction():
            ledger.reopened.add("events", Intervals.of(span), "late", NOW, NOW)
            ledger.sources.move_cursor(f"stream{process}", str(step))
        say("moved", process, step)
        ledger.sources.advance("events", NOW + (process * ROUNDS + step) * GRID)
        say("advanced", process * ROUNDS + step)
        ledger.sources.remember_files(f"stream{process}", [FileRecord(f"{step}", 1, 1, span, "fact")])
        say("file", process, step)


def acknowledged(folder: Path) -> list[list[object]]:
    """Return what was said, of a killed process without a line that it was in the middle of."""
    lines = [line for path in folder.glob("said-*") for line in path.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def missing(lake: Lake, said: list[list[object]]) -> list[list[object]]:
    """Return what was acknowledged and is not in a ledger."""
    database = lake.ledger.database
    published = {(r["key_start"], r["revision"]) for r in database.rows("select key_start, revision from publication")}
    there = lake.ledger.coverage("events")
    work = {r["id"]: r["state"] for r in database.rows("select id, state from work")}
    tries = {r["start"]: r["tries"] for r in database.rows("select start, tries from failure")}
    cursors = {r["name"]: int(r["cursor"] or -1) for r in database.rows("select name, cursor from stream")}
    files = {(r["stream"], r["path"]) for r in database.rows("select stream, path from source_file")}
    mark = lake.ledger.sources.watermarks().get("events", START)
    covered = {s.start.isoformat() for s in there}
    kept: dict[str, Callable[..., bool]] = {
        "published": lambda at, revision: (at, revision) in published and at in covered,
        "requested": lambda number: number in work,
        "finished": lambda number: work.get(number) == "done",
        "failed": lambda at, count: tries.get(at, 0) >= count,
        "moved": lambda process, step: cursors.get(f"stream{process}", -1) >= step,
        "advanced": lambda step: mark >= NOW + step * GRID,
        "file": lambda process, step: (f"stream{process}", f"{step}") in files,
    }
    return [line for line in said if not kept[str(line[0])](*line[1:])]


@pytest.fixture
def folder(quick_folder: Path) -> Path:
    lake_in(quick_folder).ledger.database.close()
    return quick_folder


def test_nothing_that_was_acknowledged_is_lost_and_nobody_meets_a_locked_ledger(folder: Path) -> None:
    def forever(process: int) -> Callable[[], None]:
        return lambda: write(folder, process, 10_000)

    def once(process: int) -> Callable[[], None]:
        return lambda: write(folder, process, ROUNDS)

    lake = lake_in(folder)
    children = [start(once(n)) for n in range(PROCESSES - KILLED)]
    victims = [start(forever(n)) for n in range(PROCESSES - KILLED, PROCESSES)]
    for number, victim in enumerate(victims):
        path = folder / f"said-{PROCESSES - KILLED + number}"
        while not path.exists() or path.stat().st_size < 2000:
            time.sleep(0.01)
        copy = folder / f"backup-{number}.sqlite"
        said = acknowledged(folder)
        backup(lake.layout, copy)
        assert damage(copy) == []
        with closing(sqlite3.connect(copy)) as opened:
            ids = {id for (id,) in opened.execute("select id from work")}
        assert {line[1] for line in said if line[0] == "requested"} <= ids
        os.kill(victim, signal.SIGKILL)
        assert ended(victim) == DIED
    assert [ended(child) for child in children] == [0] * len(children)
    said = acknowledged(folder)
    assert len(said) > 7 * ROUNDS * len(children) - ROUNDS * len(children)
    assert missing(lake, said) == []
    assert damage(folder / "lake" / "_ledger.sqlite") == []
    numbers = [r["seq"] for r in lake.ledger.database.rows("select seq from publication order by seq")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_check_of_the_test_above_sees_a_loss(folder: Path) -> None:
    write(folder, 0, 2)
    lake = lake_in(folder)
    said = acknowledged(folder)
    assert missing(lake, said) == []
    for statement in (
        "delete from publication",
        "update work set state = 'failed'",
        "delete from failure",
        "delete from stream",
        "delete from source_file",
    ):
        lake.ledger.database.change(statement)
    assert {line[0] for line in missing(lake, said)} == {"published", "finished", "failed", "moved", "advanced", "file"}
