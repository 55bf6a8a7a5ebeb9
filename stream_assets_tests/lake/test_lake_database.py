"""The ledger's file under threads, forks, several processes and failures."""

from __future__ import annotations

import gc
import os
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.errors import LakeError, LakeUnavailable, UsageError
from stream_assets.lake.ledger import database
from stream_assets.lake.ledger.database import Database, instant, text
from stream_assets.lake.store import Lake
from stream_assets.testing.partitions import NOW
from stream_assets_tests.lake.conftest import lake_in
from stream_assets_tests.lake.processes import ended, run, start

zones = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
instants = st.builds(
    lambda micros, zone: (NOW + timedelta(microseconds=micros)).astimezone(zone), st.integers(-(10**15), 10**15), zones
)


@given(instants, instants)
def test_instants_sort_as_text_and_come_back(first: datetime, second: datetime) -> None:
    assert (text(first) < text(second)) == (first < second)
    assert instant(text(first)) == first


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(UsageError):
        text(NOW.replace(tzinfo=None))


def elsewhere(change: Callable[[], None]) -> None:
    """Let another connection do it."""
    other = threading.Thread(target=change)
    other.start()
    other.join()


def test_what_is_read_at_one_moment_does_not_see_what_others_change_meanwhile(lake: Lake) -> None:
    sources, read = lake.ledger.sources, lake.ledger.database.moment
    sources.move_cursor("events", "1")
    with read():
        seen = [sources.cursor("events")]
        elsewhere(lambda: sources.move_cursor("events", "2"))
        seen.append(sources.cursor("events"))
    assert seen == ["1", "1"]
    assert sources.cursor("events") == "2"


def test_a_change_at_a_moment_that_is_only_read_is_refused_and_not_lost(lake: Lake) -> None:
    sources, database = lake.ledger.sources, lake.ledger.database
    sources.move_cursor("events", "1")
    with database.moment(), pytest.raises(LakeError), database.transaction():
        sources.move_cursor("events", "2")
    sources.move_cursor("events", "3")
    assert sources.cursor("events") == "3"


def test_a_moment_inside_a_change_sees_the_change_and_leaves_it_open(lake: Lake) -> None:
    sources, database = lake.ledger.sources, lake.ledger.database
    with database.transaction():
        sources.move_cursor("events", "1")
        with database.moment():
            assert sources.cursor("events") == "1"
        assert database.is_changing
    with pytest.raises(ZeroDivisionError), database.moment():
        _ = sources.cursor("events"), 1 // 0
    assert not database.is_changing


def test_threads_have_connections_of_their_own_and_leave_none_behind(lake: Lake) -> None:
    gc.collect()
    before = len(database._open)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(20):
                with lake.ledger.transaction():
                    known = lake.ledger.sources.cursor("count") or "0"
                    lake.ledger.sources.move_cursor("count", str(int(known) + 1))
                lake.ledger.sources.advance(f"stream{number}", NOW + step * timedelta(seconds=1))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert lake.ledger.sources.cursor("count") == "80"
    assert len(lake.ledger.sources.watermarks()) == 4
    del thread, threads
    gc.collect()
    assert len(database._open) == before


def test_a_change_in_one_thread_is_not_seen_by_another_before_it_is_done(lake: Lake) -> None:
    seen: list[str | None] = []
    with lake.ledger.transaction():
        lake.ledger.sources.move_cursor("events", "1")
        thread = threading.Thread(target=lambda: seen.append(lake.ledger.sources.cursor("events")))
        thread.start()
        thread.join()
        assert lake.ledger.database.is_changing
    assert seen == [None]
    assert not lake.ledger.database.is_changing


def test_a_forked_child_opens_its_own_and_harms_no_open_change(lake: Lake) -> None:
    """Not even one that forks within a change, and ends without a word."""
    with lake.ledger.transaction():
        lake.ledger.sources.move_cursor("events", "parent")

        def child() -> None:
            assert not lake.ledger.database.is_changing
            assert lake.ledger.sources.cursor("events") is None
            lake.ledger.database.close()
            gc.collect()

        assert run(child) == 0
        assert lake.ledger.database.is_changing
    assert lake.ledger.sources.cursor("events") == "parent"

    def writes() -> None:
        lake.ledger.sources.move_cursor("events", "child")

    assert run(writes) == 0
    assert lake.ledger.sources.cursor("events") == "child"


def test_what_a_forked_child_writes_outlives_its_parents_connection(lake: Lake) -> None:
    """The last of all others to close tidies up the log, unless the child holds it by a lock of its own."""
    (ready, is_ready), (go_on, is_closed) = os.pipe(), os.pipe()

    def child() -> None:
        lake.ledger.sources.move_cursor("events", "1")
        os.write(is_ready, b"x")
        os.read(go_on, 1)
        lake.ledger.sources.move_cursor("events", "2")

    lake.ledger.sources.move_cursor("events", "0")
    writer = start(child)
    os.read(ready, 1)
    lake.ledger.database.close()
    assert lake.ledger.sources.cursor("events") == "1"
    lake.ledger.database.close()
    os.write(is_closed, b"x")
    assert ended(writer) == 0
    assert lake.ledger.sources.cursor("events") == "2"
    for end in (ready, is_ready, go_on, is_closed):
        os.close(end)


def test_a_part_of_a_change_can_fail_alone(lake: Lake) -> None:
    def fail() -> None:
        with lake.ledger.transaction():
            lake.ledger.sources.move_cursor("events", "inner")
            raise ValueError("inner")

    with lake.ledger.transaction():
        lake.ledger.sources.move_cursor("events", "outer")
        with pytest.raises(ValueError, match="inner"):
            fail()
    assert lake.ledger.sources.cursor("events") == "outer"


def test_what_was_done_beside_a_change_is_undone_with_it(lake: Lake) -> None:
    """Newest first, seeing the ledger without the change, and before anybody else can write."""
    done: list[str] = []

    def undo(name: str) -> None:
        done.append(f"{name}: {lake.ledger.sources.cursor('events')}")
        other = sqlite3.connect(lake.ledger.database.path, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("begin immediate")
        other.close()

    def fail() -> None:
        with lake.ledger.transaction(lambda: undo("first")):
            with lake.ledger.transaction(lambda: undo("second")):
                lake.ledger.sources.move_cursor("events", "1")
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert done == ["second: None", "first: None"]
    with lake.ledger.transaction(lambda: undo("third")):
        pass
    assert len(done) == 2


def test_a_ledger_that_stays_locked_is_a_transient_error(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", timedelta(milliseconds=50))
    lake.ledger.database.close()
    other = sqlite3.connect(lake.ledger.database.path, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(LakeUnavailable, match="database is locked"), lake.ledger.transaction():
        pass
    with pytest.raises(LakeUnavailable, match="database is locked"):
        lake.ledger.sources.move_cursor("events", "1")
    assert lake.ledger.sources.cursor("events") is None
    other.execute("rollback")
    other.close()
    lake.ledger.sources.move_cursor("events", "1")
    lake.ledger.database.close()


def test_a_ledger_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="cannot be used"):
        Database(tmp_path / "none.sqlite").rows("select 1")
    assert not (tmp_path / "none.sqlite").exists()


def test_paths_that_look_like_addresses_are_paths(tmp_path: Path) -> None:
    folder = tmp_path / "a?mode=ro#b%20 ö'"
    folder.mkdir()
    lake = lake_in(folder)
    assert (folder / "lake" / "_ledger.sqlite").exists()
    assert lake.start < NOW


def test_processes_that_make_one_lake_at_once_make_one(tmp_path: Path, open_lake: Callable[[], Lake]) -> None:
    def make() -> None:
        lake = open_lake()
        (tmp_path / f"id-{lake.id}").touch()
        assert lake.ledger.sources.advance("events", NOW) == NOW

    children = [start(make) for _ in range(6)]
    assert [ended(child) for child in children] == [0] * 6
    (made,) = tmp_path.glob("id-*")
    assert made.name == f"id-{open_lake().id}"
    assert open_lake().start == datetime(2026, 3, 1, tzinfo=UTC)
