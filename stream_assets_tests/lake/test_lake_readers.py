"""Readers of partitions that are republished 200 times meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from stream_assets.core.window import TimeWindow
from stream_assets.lake.relation import scan
from stream_assets.lake.store import Lake
from stream_assets.testing.partitions import publish
from stream_assets_tests.lake.conftest import lake_in
from stream_assets_tests.lake.polling_reader import READERS, ROWS, SHOWN

REPUBLISHED = 200


def rows(window: TimeWindow, revision: int) -> pa.Table:
    return pa.table({"revision": [revision] * ROWS, "part": [f"{window.start:%H%M}"] * ROWS})


def start_reader(kind: str, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "stream_assets_tests.lake.polling_reader", kind, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def said(reader: subprocess.Popen[str]) -> str:
    assert reader.stdout is not None
    return reader.stdout.readline().strip()


def polled(kinds: list[str], folder: Path, lake: Lake) -> dict[str, dict[str, int]]:
    """Republish one window after the other while readers of all kinds poll; returns what each saw."""
    publish(lake, "dashboard", *((w, rows(w, 1)) for w in SHOWN))
    readers = {kind: start_reader(kind, folder) for kind in kinds}
    try:
        assert {kind: said(reader) for kind, reader in readers.items()} == dict.fromkeys(kinds, "ready")
        for number in range(REPUBLISHED):
            publish(lake, "dashboard", (SHOWN[number % len(SHOWN)], rows(SHOWN[number % len(SHOWN)], number + 2)))
        (folder / "stop").touch()
        return {kind: json.loads(said(reader)) for kind, reader in readers.items()}
    finally:
        (folder / "stop").touch()
        for reader in readers.values():
            reader.communicate(timeout=60)


def test_readers_by_the_ledger_see_old_or_new_and_never_an_error(quick_folder: Path) -> None:
    seen = polled(["lake", "relation"], quick_folder, lake_in(quick_folder))
    assert {kind: set(counts) for kind, counts in seen.items()} == {"lake": {"whole"}, "relation": {"whole"}}


def test_readers_of_the_plain_folder_see_old_or_new_or_say_not_found_or_miss_one(quick_folder: Path) -> None:
    engines = [kind for kind in READERS if kind not in ("lake", "relation")]
    seen = polled(engines, quick_folder, lake_in(quick_folder))
    print("what engines saw of the plain folder:", seen)
    for engine, counts in seen.items():
        assert not set(counts) - {"whole", "not found", "missed"}, f"{engine}: {counts}"
        assert counts.get("whole"), f"{engine}: {counts}"


def test_a_relation_gives_the_same_rows_however_late_it_is_used(lake: Lake) -> None:
    import duckdb

    publish(lake, "dashboard", *((w, rows(w, 1)) for w in SHOWN))
    connection = duckdb.connect()
    relation = lake.relation(connection, "dashboard", TimeWindow(SHOWN[0].start, SHOWN[-1].end), ["part", "revision"])
    assert relation is not None
    publish(lake, "dashboard", *((w, rows(w, 2)) for w in SHOWN))
    assert relation.aggregate("min(revision), max(revision), count(*)").fetchall() == [(1, 1, ROWS * len(SHOWN))]
    assert relation.columns == ["part", "revision"]


def test_a_relation_unites_columns_by_name_and_cuts_days(lake: Lake) -> None:
    import duckdb

    from stream_assets.testing.partitions import DAY, WINDOWS, events

    new = events(WINDOWS[0], 2).select(["amount", "event_time", "event_id"])
    new = new.set_column(0, "amount", pa.array([0.5, 1.5])).append_column("coupon", pa.array(["x", None]))
    tomorrow = TimeWindow(DAY.end, DAY.end + WINDOWS[0].duration)
    publish(lake, "events_daily", (DAY, pa.concat_tables([events(w, 2) for w in WINDOWS])))
    publish(lake, "events", (tomorrow, new.set_column(1, "event_time", events(tomorrow, 2)["event_time"])))
    for span in (TimeWindow(WINDOWS[-1].start, tomorrow.end), TimeWindow(WINDOWS[3].start, WINDOWS[9].end), DAY):
        relation = lake.relation(duckdb.connect(), "events", span)
        assert relation is not None
        expected = lake.read("events", span)
        assert relation.columns == expected.column_names
        found = relation.select("event_id, amount, epoch_us(event_time)").fetchall()
        assert sorted(found) == sorted(
            zip(
                expected["event_id"].to_pylist(), expected["amount"].to_pylist(),
                expected["event_time"].cast(pa.int64()).to_pylist(), strict=True,
            )
        )  # fmt: skip
    before = lake.relation(duckdb.connect(), "events", DAY, ["coupon", "amount"])
    assert before is not None
    assert before.types[0] == "VARCHAR"
    assert before.aggregate("count(coupon), count(amount)").fetchall() == [(0, 576)]


def test_a_relation_unites_what_was_replaced_by_other_columns_meanwhile(lake: Lake) -> None:
    import duckdb

    publish(lake, "dashboard", *((w, rows(w, 1)) for w in SHOWN))
    span = TimeWindow(SHOWN[0].start, SHOWN[-1].end)
    files = lake.files("dashboard", span)
    assert len({file.current.columns for file in files}) == 1
    other = rows(SHOWN[0], 2).select(["part", "revision"]).append_column("more", pa.array([7] * ROWS))
    publish(lake, "dashboard", (SHOWN[0], other))
    relation = lake.relation(duckdb.connect(), "dashboard", span, files=files)
    assert relation is not None
    assert relation.aggregate("sum(more), count(more), count(*)").fetchall() == [(7 * ROWS, ROWS, ROWS * len(SHOWN))]


def test_only_files_that_nobody_knows_to_be_alike_are_all_opened_before_the_first_is_read() -> None:
    assert "union_by_name = False" in scan({"a": "x", "b": "x"})
    assert "union_by_name = True" in scan({"a": "x", "b": "y"})
    assert "union_by_name = True" in scan({"a": "", "b": ""})
