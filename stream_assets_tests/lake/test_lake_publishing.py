"""What a publication leaves on disk and in the ledger."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.errors import Conflict, LakeError
from stream_assets.lake.publish import KEEP_REPLACED, sweep
from stream_assets.lake.store import Lake
from stream_assets.testing.partitions import DAY, NOW, WINDOWS, events, ids, publish, stage
from stream_assets_tests.lake.conftest import lake_in
from stream_assets_tests.lake.processes import ended, run, start


def test_folders_are_plain_hive(lake: Lake) -> None:
    (window,) = publish(lake, "events", (WINDOWS[1], events(WINDOWS[1])))
    (day,) = publish(lake, "events_daily", (DAY, events(WINDOWS[1])))
    files = sorted(str(p.relative_to(lake.layout.root)) for p in lake.layout.root.rglob("*.parquet"))
    assert files == [
        f"events/day=2026-03-01/window_start=20260301T0005Z/part-r1-{window.digest.short}.parquet",
        f"events_daily/day=2026-03-01/part-r1-{day.digest.short}.parquet",
    ]
    assert sorted(p.name for p in lake.layout.root.iterdir() if not p.name.startswith("_ledger")) == [
        "_lake.json", "_staging", "events", "events_daily",
    ]  # fmt: skip


def test_one_publisher_publishes_again_and_again(lake: Lake) -> None:
    """Its folders in staging hold what it exchanged out, so they are never used twice."""
    for mark in "ab":
        with lake.publisher() as publisher:
            for window in WINDOWS[:3]:
                stage(lake, publisher, "events", window, [events(window, mark=mark)])
                publisher.commit()
    assert {i[0] for i in ids(lake.read("events", DAY))} == {"b"}


def test_a_file_name_is_never_used_twice(lake: Lake) -> None:
    """Not even where the content is what it was before: a reader may have the older file half open."""
    for mark in "aba":
        publish(lake, "events", (WINDOWS[0], events(WINDOWS[0], mark=mark)))
    names = {path.name for path in lake.layout.root.rglob("part-*.parquet")}
    assert len(names) == 3


def test_what_was_replaced_stays_readable_for_an_hour(lake: Lake) -> None:
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    (old,) = lake.files("events", DAY)
    # However old the partition itself is: the hour begins when it is replaced.
    long_ago = (NOW - timedelta(days=300)).timestamp()
    os.utime(old.path, (long_ago, long_ago))
    os.utime(old.path.parent, (long_ago, long_ago))
    descriptor = os.open(old.path.parent, os.O_RDONLY)
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0], mark="b")))
    replaced_at = max(NOW.fromtimestamp(p.stat().st_mtime, NOW.tzinfo) for p in lake.layout.staging.iterdir())
    assert sweep(lake.layout, replaced_at + KEEP_REPLACED - timedelta(seconds=5)) == 0
    assert os.listdir(descriptor) == [old.path.name]
    assert sweep(lake.layout, replaced_at + KEEP_REPLACED + timedelta(seconds=5)) == 1
    assert os.listdir(descriptor) == []
    os.close(descriptor)


def test_a_sweep_leaves_alone_what_somebody_holds_or_still_writes(lake: Lake) -> None:
    tomorrow = NOW + timedelta(days=36500)
    with lake.publisher() as publisher:
        stage(lake, publisher, "events", WINDOWS[0], [events(WINDOWS[0])])
        assert run(lambda: _assert_swept(lake, tomorrow, 0)) == 0
        publisher.commit()
    with lake.scratch() as folder:
        (folder / "0.arrow").write_bytes(b"rows")
        assert run(lambda: _assert_swept(lake, tomorrow, 0)) == 0
        assert (folder / "0.arrow").exists()
    # What nobody holds, in an old folder whose file grows; also where the clock was set back.
    spilled = lake.layout.staging / "route-x"
    spilled.mkdir()
    (spilled / "0.arrow").write_bytes(b"rows")
    os.utime(spilled, (0, 0))
    assert sweep(lake.layout, lake_clock(spilled / "0.arrow")) == 0
    assert sweep(lake.layout, lake_clock(spilled / "0.arrow") - timedelta(hours=1)) == 0
    assert sweep(lake.layout, tomorrow) == 1
    assert ids(lake.read("events", DAY)) == ids(events(WINDOWS[0]))


def _assert_swept(lake: Lake, now: object, count: int) -> None:
    assert sweep(lake.layout, now) == count


def lake_clock(path: Path) -> datetime:
    return NOW.fromtimestamp(path.stat().st_mtime + 60, NOW.tzinfo)


def test_a_dead_publisher_holds_nothing(lake: Lake, open_lake: Callable[[], Lake]) -> None:
    def die() -> None:
        other = open_lake()
        publisher = other.publisher()
        stage(other, publisher, "events", WINDOWS[0], [events(WINDOWS[0])])
        os._exit(0)

    assert run(die) == 0
    assert len(list(lake.layout.staging.iterdir())) == 1
    assert sweep(lake.layout, NOW + timedelta(days=36500)) == 1


def test_a_failure_within_the_transaction_takes_everything_back(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    before = _names(lake)

    def fail(_: Path) -> None:
        assert _names(lake) != before  # The first of them has been moved.
        raise KeyboardInterrupt

    with lake.publisher() as publisher, monkeypatch.context() as patched:
        for window in WINDOWS[:3]:
            stage(lake, publisher, "events", window, [events(window, mark="b")])
        patched.setattr("stream_assets.lake.publish.sync_folder", fail)
        with pytest.raises(KeyboardInterrupt):
            publisher.commit()
    assert _names(lake) == before
    assert list(lake.layout.staging.iterdir()) == []
    assert ids(lake.read("events", DAY)) == ids(events(WINDOWS[0]))
    assert lake.ledger.coverage("events") == Intervals.of(WINDOWS[0])
    publish(lake, "events", *((w, events(w, mark="c")) for w in WINDOWS[:3]))


def _names(lake: Lake) -> list[str]:
    return sorted(str(p) for p in (lake.layout.root / "events").rglob("*.parquet"))


def test_tables_are_registered_before_they_are_published(lake: Lake) -> None:
    """Else a reader of the stream would not know that the table holds its days, and miss their events."""
    with lake.publisher() as publisher:
        stage(lake, publisher, "events", WINDOWS[0], [events(WINDOWS[0])])
        lake.ledger.database.change("delete from tbl where name = 'events'")
        with pytest.raises(LakeError, match="no table 'events' of grain '5 min'"):
            publisher.commit()
    assert not (lake.layout.root / "events").exists() or _names(lake) == []


def test_a_newer_file_that_is_not_of_the_partition_is_not_adopted(lake: Lake) -> None:
    publish(lake, "events", *((w, events(w)) for w in WINDOWS[:2]))
    first, second = (f.path for f in lake.files("events", DAY))
    stranger = first.parent / f"part-r7-{'0' * 8}.parquet"
    stranger.write_bytes(second.read_bytes())
    with pytest.raises(LakeError, match="move it out"):
        lake.roll_forward("events", "5 min", WINDOWS[0])
    stranger.write_bytes(b"PAR1")
    with pytest.raises(LakeError, match="no whole Parquet file"):
        lake.roll_forward("events", "5 min", WINDOWS[0])


def test_empty_windows_and_columns_survive_the_file(lake: Lake) -> None:
    rows = pa.table(
        {"event_id": ["a"], "event_time": pa.array([WINDOWS[0].start], pa.timestamp("us", "UTC")), "x": pa.nulls(1)}
    )
    publish(lake, "events", (WINDOWS[0], rows), (WINDOWS[1], rows.slice(0, 0)))
    assert lake.read("events", DAY).equals(rows)
    for file in lake.files("events", DAY):
        assert pq.read_schema(file.path).remove_metadata() == rows.schema


def add_to(lake: Lake, windows: list[TimeWindow], mark: str) -> None:
    """Publish windows with one more event each. The revision is looked at before the rows are."""
    with lake.publisher() as publisher:
        for window in windows:
            revision = lake.ledger.revision("events", window)
            new = events(window, 1, mark=mark)
            rows = pa.concat_tables([lake.read("events", window), new]) if revision else new
            stage(lake, publisher, "events", window, [rows], revision=revision + 1)
        publisher.commit()


def test_processes_that_publish_the_same_windows_lose_and_double_nothing(lake: Lake, tmp_path: Path) -> None:
    windows, rounds, workers = WINDOWS[:3], 8, 3

    def add(worker: int) -> None:
        own = lake_in(tmp_path)
        for step in range(rounds):
            pair = [windows[(worker + step) % 3], windows[(worker + step + 1) % 3]]
            for _ in range(1000):
                try:
                    add_to(own, pair, f"{worker}-{step}-")
                    break
                except Conflict:
                    continue
            else:
                raise AssertionError("never got its turn")

    children = [start(lambda worker=worker: add(worker)) for worker in range(workers)]
    assert [ended(child) for child in children] == [0] * workers
    marks = [i.rpartition("-")[0] for i in ids(lake.read("events", DAY))]
    assert sorted(marks) == sorted(f"{w}-{s}" for w in range(workers) for s in range(rounds) for _ in range(2))
    revisions = [c.revision for c in lake.ledger.current("events", DAY)]
    assert sum(revisions) == workers * rounds * 2
