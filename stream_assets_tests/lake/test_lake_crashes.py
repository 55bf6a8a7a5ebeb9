"""A process killed at any line of a publication leaves every partition as it was or new, and the next one goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_assets.core.intervals import Intervals
from stream_assets.errors import Conflict
from stream_assets.lake.parquet import read_receipt
from stream_assets.lake.publish import Publisher, sweep
from stream_assets.lake.store import Lake
from stream_assets.testing.partitions import DAY, NOW, WINDOWS, events, ids, stage
from stream_assets_tests.lake.conftest import lake_in
from stream_assets_tests.lake.processes import DIED, killed_at_line, run

ALL = (("events_daily", 0), ("dashboard", 0), ("dashboard", 1))
"""A day and two windows; the last one is not there before."""
OLD = ALL[:2]


def publish(
    lake: Lake,
    mark: str,
    partitions: tuple[tuple[str, int], ...],
    commit: Callable[[Publisher], object] = Publisher.commit,
) -> None:
    """Publish partitions of two tables together, as a heal does."""
    with lake.publisher() as publisher:
        for table, number in partitions:
            span = DAY if table == "events_daily" else WINDOWS[number]
            stage(lake, publisher, table, span, [events(WINDOWS[number], mark=mark)])
        commit(publisher)


def content(lake: Lake, table: str, number: int) -> str:
    """Return the mark of what a reader gets of one partition; empty where it is not there."""
    found = {i[0] for i in ids(lake.read(table, WINDOWS[number]))}
    assert len(found) < 2, f"a mixture: {found}"
    return "".join(found)


def assert_whole(lake: Lake) -> None:
    """Every partition has one file, and it is the one the ledger names (reading has rolled the ledger forward)."""
    for table in ("events_daily", "dashboard"):
        known = lake.ledger.current(table, DAY)
        for current in known:
            path = lake.layout.root / current.file
            assert [p.name for p in path.parent.iterdir()] == [path.name]
            assert read_receipt(path) == current.receipt
        assert lake.ledger.coverage(table) == Intervals.union_of(c.span for c in known)


def test_killed_at_every_line_of_a_commit(quick_folder: Path) -> None:
    lake = lake_in(quick_folder)
    publish(lake, "a", OLD)
    were = {("events_daily", 0): "a", ("dashboard", 0): "a", ("dashboard", 1): ""}
    outcomes = set[frozenset[str]]()
    status, line = DIED, 0
    while status == DIED:
        line += 1
        mark = "bcdefgh"[line % 7]

        def die(line: int = line, mark: str = mark) -> None:
            publish(lake_in(quick_folder), mark, ALL, lambda p: killed_at_line(line, p.commit)())

        status = run(die)
        for key, mark_before in were.items():
            assert content(lake, *key) in (mark_before, mark), f"line {line}: {key}"
        # A partition that is there for the first time is unknown to readers until it is adopted.
        lake.roll_forward("dashboard", "5 min", WINDOWS[1])
        are = {key: content(lake, *key) for key in ALL}
        for key, mark_before in were.items():
            assert are[key] in (mark_before, mark), f"line {line}: {key} was {mark_before!r} and is {are[key]!r}"
        outcomes.add(frozenset("new" if are[k] == mark else "old" for k in ALL))
        assert_whole(lake)
        were = are
    assert status == 0
    assert set(were.values()) == {mark}
    assert line > 40
    assert outcomes == {frozenset({"old"}), frozenset({"old", "new"}), frozenset({"new"})}
    # What was left in staging, by those who died and by those who replaced, is swept by age.
    assert sweep(lake.layout, NOW + timedelta(days=36500)) > line / 2
    assert list(lake.layout.staging.iterdir()) == []


def test_killed_at_every_line_of_rolling_forward(quick_folder: Path) -> None:
    lake = lake_in(quick_folder)
    publish(lake, "a", OLD)
    leave_ahead(quick_folder, "b")
    status, line = DIED, 0
    while status == DIED:
        line += 1
        status = run(killed_at_line(line, lambda: lake_in(quick_folder).roll_forward("events_daily", "day", DAY)))
    assert status == 0
    assert line > 20
    history = lake.ledger.database.rows(
        "select kind, revision from publication where tbl = 'events_daily' order by seq"
    )
    assert [tuple(r) for r in history] == [("published", 1), ("adopted", 2)]
    assert content(lake, "events_daily", 0) == "b"


def leave_ahead(folder: Path, mark: str) -> None:
    """Die after the first exchange, before the commit: the disk is ahead of the ledger by the day."""
    assert run(lambda: publish(lake_in(folder), mark, ALL, die_after_an_exchange)) == DIED


def die_after_an_exchange(publisher: Publisher) -> None:
    move = publisher._move

    def move_and_die(staged: Any) -> None:
        move(staged)
        os.kill(os.getpid(), signal.SIGKILL)

    publisher._move = move_and_die
    publisher.commit()


def test_what_is_adopted_of_a_consumer_is_made_again(lake: Lake, tmp_path: Path) -> None:
    """Whoever told of changed inputs meanwhile could not name what was not in the ledger yet."""
    publish(lake, "a", OLD)

    def die() -> None:
        own = lake_in(tmp_path)
        with own.publisher() as publisher:
            rows = [events(WINDOWS[0], mark="b")]
            stage(own, publisher, "dashboard", WINDOWS[0], rows, inputs_seq=own.ledger.seq())
            die_after_an_exchange(publisher)

    assert run(die) == DIED
    assert content(lake, "dashboard", 0) == "b"
    assert [(r.span, r.reason) for r in lake.ledger.reopened.all()["dashboard"]] == [
        (WINDOWS[0], "adopted after a crash")
    ]


def test_a_reader_adopts_what_a_crash_left(lake: Lake, tmp_path: Path) -> None:
    publish(lake, "a", OLD)
    leave_ahead(tmp_path, "b")
    assert lake.ledger.revision("events_daily", DAY) == 1
    assert content(lake, "events_daily", 0) == "b"
    assert lake.ledger.revision("events_daily", DAY) == 2
    assert content(lake, "dashboard", 0) == "a"


def test_a_list_of_files_adopts_what_a_crash_left_so_that_whoever_opens_it_finds_each(
    lake: Lake, tmp_path: Path
) -> None:
    publish(lake, "a", OLD)
    (before,) = lake.files("events", DAY)
    leave_ahead(tmp_path, "b")
    (file,) = lake.files("events", DAY)
    assert not before.path.exists()
    assert (file.current.revision, file.path.exists()) == (2, True)


def test_a_list_of_files_names_one_that_was_lost(lake: Lake) -> None:
    publish(lake, "a", OLD)
    (before,) = lake.files("events", DAY)
    before.path.unlink()
    assert lake.files("events", DAY) == [before]


def test_the_next_publisher_is_told_and_all_that_is_ahead_is_adopted(lake: Lake, tmp_path: Path) -> None:
    """Also what is not of the table that the caller would look at: a heal publishes days and windows together."""
    publish(lake, "a", OLD)
    leave_ahead(tmp_path, "b")
    with pytest.raises(Conflict, match="revision 2, not 1"):
        publish(lake, "c", (ALL[1], ALL[0]))
    assert lake.ledger.revision("events_daily", DAY) == 2
    publish(lake, "c", ALL)
    assert {content(lake, *key) for key in ALL} == {"c"}


def test_a_roll_forward_is_reported_downstream_and_happens_once(lake: Lake, tmp_path: Path) -> None:
    publish(lake, "a", OLD)
    seq = lake.ledger.seq()
    leave_ahead(tmp_path, "b")
    assert lake.roll_forward("events_daily", "day", DAY)
    assert not lake.roll_forward("events_daily", "day", DAY)
    assert [touched for _, touched in lake.ledger.history.touched_since(seq, "events_daily")] == [Intervals.of(DAY)]
