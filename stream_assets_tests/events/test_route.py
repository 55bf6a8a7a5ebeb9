"""Every row goes to exactly one window, every window comes once, in memory or not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_assets.core.window import EPOCH, GRID, TimeWindow
from stream_assets.errors import LakeError, SourceError, UsageError
from stream_assets.events.route import Router
from stream_assets.events.schema import EMPTY, INSTANT

START = EPOCH + timedelta(days=20_000)
SPAN = TimeWindow(START, START + 6 * GRID)
MICROSECOND = timedelta(microseconds=1)
PAIR = pa.list_(pa.int64())
SECONDS = st.integers(-400, 2200)
BATCHES = st.lists(st.lists(SECONDS, max_size=12), max_size=6)


def batch(seconds: list[int], first: int = 0, **columns: Any) -> pa.Table:
    micros = [(START + timedelta(seconds=s) - EPOCH) // MICROSECOND for s in seconds]
    ids = [f"e{first + n}" for n in range(len(seconds))]
    times = pa.array(micros, pa.int64()).view(INSTANT)
    return pa.table({"event_id": pa.array(ids, pa.string()), "event_time": times, **columns})


def instants(seconds: list[int | None]) -> Any:
    times = [None if s is None else START + timedelta(seconds=s) for s in seconds]
    return pa.array(times, INSTANT)


def batches_of(seconds: list[list[int]]) -> list[pa.Table]:
    firsts = [sum(map(len, seconds[:n])) for n in range(len(seconds))]
    return [batch(values, first) for values, first in zip(seconds, firsts, strict=True)]


def routed(tables: list[pa.Table], folder: Path, budget: int = 1 << 20, span: TimeWindow = SPAN) -> Any:
    with Router(span, spill_dir=folder, budget_bytes=budget) as router:
        for table in tables:
            router.add(table)
        return router, [(window, rows.to_pylist()) for window, rows in router.windows()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seconds=BATCHES)
def test_every_row_is_in_its_window_once_and_rows_outside_are_counted(seconds: list[list[int]], tmp_path: Path) -> None:
    tables = batches_of(seconds)
    router, windows = routed(tables, tmp_path)
    assert [window for window, _ in windows] == list(SPAN.windows())
    for window, rows in windows:
        assert all(row["event_time"] in window for row in rows)
    found = [row["event_id"] for _, rows in windows for row in rows]
    expected = [row["event_id"] for t in tables for row in t.to_pylist() if row["event_time"] in SPAN]
    assert sorted(found) == sorted(expected)
    assert router.rows == len(expected)
    assert router.rows + router.outside == sum(map(len, seconds))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(seconds=BATCHES, budget=st.sampled_from([1, 200, 600]))
def test_what_does_not_fit_in_memory_comes_back_the_same(seconds: list[list[int]], budget: int, tmp_path: Path) -> None:
    tables = batches_of(seconds)
    _, kept = routed(tables, tmp_path)
    _, spilled = routed(tables, tmp_path, budget)
    assert spilled == kept
    assert not list(tmp_path.iterdir())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    rows=st.lists(st.lists(st.tuples(st.none() | SECONDS, st.none() | SECONDS), max_size=12), max_size=6),
    budget=st.sampled_from([1, 1 << 20]),
)
def test_rows_without_a_time_in_the_range_go_where_they_are_said_to_belong(
    rows: list[list[tuple[int | None, int | None]]], budget: int, tmp_path: Path
) -> None:
    expected: dict[int, list[tuple[int | None, int | None]]] = {n: [] for n in range(6)}
    outside = 0
    with Router(SPAN, spill_dir=tmp_path, budget_bytes=budget) as router:
        for piece in rows:
            router.add(
                pa.table({"event_time": instants([own for own, _ in piece]), "row": pa.array(piece, PAIR)}),
                otherwise=pa.chunked_array([instants([other for _, other in piece])]),
            )
            for own, other in piece:
                place = next((s // 300 for s in (own, other) if s is not None and 0 <= s < 1800), None)
                if place is None:
                    outside += 1
                else:
                    expected[place].append((own, other))
        found = [table.column("row").to_pylist() if table.num_rows else [] for _, table in router.windows()]
    assert [[tuple(row) for row in window] for window in found] == list(expected.values())
    assert router.outside == outside


def test_spilling_happens_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with Router(SPAN, spill_dir=tmp_path, budget_bytes=100) as router:
        for n in range(4):
            router.add(batch([n * 300, 0, 1799], first=n * 3))
        assert list(tmp_path.glob("*/*.arrow"))
        tables = [rows for _, rows in router.windows()]
    assert not list(tmp_path.iterdir())
    # Tables outlive the files that they were read from.
    assert sum(table.num_rows for table in tables) == 12
    assert tables[0].column("event_id").to_pylist() == ["e0", "e1", "e4", "e7", "e10"]


def test_memory_stays_within_the_budget(tmp_path: Path) -> None:
    budget = 1 << 20
    with Router(SPAN, spill_dir=tmp_path, budget_bytes=budget) as router:
        before = pa.total_allocated_bytes()
        for n in range(30):
            router.add(batch([(7 * k) % 1800 for k in range(5000)], first=n * 5000))
            assert pa.total_allocated_bytes() - before < budget + (256 << 10)
        assert sum(rows.num_rows for _, rows in router.windows()) == 150_000


def test_a_failed_block_removes_what_was_spilled(tmp_path: Path) -> None:
    router = Router(SPAN, spill_dir=tmp_path, budget_bytes=1)

    def fail() -> None:
        with router:
            router.add(batch([1, 2, 3]))
            assert list(tmp_path.iterdir())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with Router(SPAN, spill_dir=tmp_path / "gone", budget_bytes=1) as router:
        router.add(batch([1]))
        with pytest.raises(LakeError, match="gone"):
            router.add(batch([2]))


def test_empty_windows_have_the_columns_of_the_others(tmp_path: Path) -> None:
    with Router(SPAN, spill_dir=tmp_path) as router:
        router.add(batch([301], amount=[1.5]))
        tables = [rows for _, rows in router.windows()]
    assert [table.num_rows for table in tables] == [0, 1, 0, 0, 0, 0]
    assert all(table.schema == tables[1].schema for table in tables)


def test_without_rows_the_last_known_schema_stands(tmp_path: Path) -> None:
    known = pa.schema([*EMPTY, pa.field("amount", pa.float64())])
    with Router(SPAN, spill_dir=tmp_path, schema=known) as router:
        assert {rows.schema for _, rows in router.windows()} == {known}
        router.add(batch([], note=pa.array([], pa.string())))
        assert router.schema.names == ["event_id", "event_time", "note"]
    with Router(SPAN, spill_dir=tmp_path) as router:
        assert {rows.schema for _, rows in router.windows()} == {EMPTY}


def test_columns_of_all_batches_are_united_and_widened(tmp_path: Path) -> None:
    for budget in (1, 1 << 20):
        with Router(SPAN, spill_dir=tmp_path, budget_bytes=budget) as router:
            router.add(batch([0], amount=pa.array([1], pa.int64()), a=["x"]))
            router.add(batch([1], first=1, amount=pa.array([2.5]), b=[True]))
            router.add(batch([2], first=2, amount=pa.nulls(1)))
            _, first = next(router.windows())
        assert first.column("amount").to_pylist() == [1.0, 2.5, None]
        assert first.column("a").to_pylist() == ["x", None, None]
        assert first.column("b").to_pylist() == [None, True, None]


@pytest.mark.parametrize(
    ("left", "right"),
    [(["1"], [1]), ([True], [1]), (["x"], [b"x"]), ([[1]], ["x"])],
    ids=["text and number", "flag and number", "text and bytes", "list and text"],
)
def test_a_column_never_changes_its_class(tmp_path: Path, left: Any, right: Any) -> None:
    with Router(SPAN, spill_dir=tmp_path) as router:
        router.add(batch([0], amount=left))
        with pytest.raises(SourceError, match="'amount'"):
            router.add(batch([1], amount=right))


def test_an_integer_that_no_float_holds_is_refused(tmp_path: Path) -> None:
    with Router(SPAN, spill_dir=tmp_path) as router:
        router.add(batch([0], amount=[2**53 + 1]))
        router.add(batch([1], amount=[0.5]))
        with pytest.raises(SourceError, match="'amount'"):
            list(router.windows())


def test_windows_can_be_asked_for_again_and_more_be_added(tmp_path: Path) -> None:
    with Router(SPAN, spill_dir=tmp_path) as router:
        router.add(batch([0]))
        first = [rows.num_rows for _, rows in router.windows()]
        assert first == [rows.num_rows for _, rows in router.windows()]
        router.add(batch([0], first=1))
        assert [rows.num_rows for _, rows in router.windows()] == [2, 0, 0, 0, 0, 0]


def test_a_range_of_a_year_is_routed_too(tmp_path: Path) -> None:
    year = TimeWindow(START, START + timedelta(days=365))
    seconds = [86_400 * 364, 86_400 * 300 + 299, 0]
    _, windows = routed([batch(seconds)], tmp_path, span=year)
    assert len(windows) == 365 * 288
    assert sum(len(rows) for _, rows in windows) == 3
    assert all(row["event_time"] in window for window, rows in windows for row in rows)


def test_ends_off_the_grid_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="grid"):
        Router(TimeWindow(START, START + timedelta(minutes=7)), spill_dir=tmp_path)
