"""What a read gives, against a plain model; and how little it opens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_assets.core.window import GRID, TimeWindow
from stream_assets.errors import Conflict, LakeError
from stream_assets.lake.read import Opened
from stream_assets.lake.store import Lake
from stream_assets.testing.partitions import DAY, WINDOWS, events, ids, publish, publish_day_and_window
from stream_assets_tests.lake.conftest import lake_in

HOUR = timedelta(hours=1)
TOMORROW = TimeWindow(DAY.end, DAY.end + 24 * HOUR)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, pa.Table]:
    """A lake with windows at both sides of a sealed day, some of the day's windows as copies; and all its events."""
    lake = lake_in(tmp_path_factory.mktemp("mixed"))
    open_day = list(TimeWindow(DAY.end, DAY.end + 2 * HOUR).windows())
    of_day = [events(w, n % 4, mark="d") for n, w in enumerate(WINDOWS)]
    of_open = [events(w, n % 3, mark="o") for n, w in enumerate(open_day)]
    publish(lake, "events", *list(zip(WINDOWS, of_day, strict=True))[-12:])
    publish(lake, "events", *zip(open_day, of_open, strict=True))
    publish(lake, "events_daily", (DAY, pa.concat_tables(of_day)))
    return lake, pa.concat_tables([*of_day, *of_open])


offsets = st.one_of(
    st.integers(0, 320).map(lambda n: n * GRID),
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(hours=27)),
)


@settings(max_examples=150, deadline=None)
@given(edges=st.tuples(offsets, offsets), columns=st.sampled_from([None, ["event_id"], ["amount", "event_time"]]))
def test_any_span_gives_its_events_in_order_each_once(
    mixed: tuple[Lake, pa.Table], edges: tuple[timedelta, timedelta], columns: list[str] | None
) -> None:
    lake, everything = mixed
    first, last = sorted(edges)
    span = TimeWindow(DAY.start + first, DAY.start + last)
    inside = [t in span for t in everything["event_time"].to_pylist()]
    expected = everything.filter(pa.array(inside, pa.bool_()))
    found = lake.read("events", span, columns)
    assert found.to_pylist() == (expected.select(columns) if columns else expected).to_pylist() or not expected.num_rows
    assert found.num_rows == expected.num_rows


def test_five_minutes_of_a_day_read_about_one_row_group(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    per_window = 1_000
    publish(lake, "events_daily", (DAY, pa.concat_tables([events(w, per_window) for w in WINDOWS[:60]])))
    read: list[int] = []
    original = pq.ParquetFile.read_row_groups

    def counted(self: pq.ParquetFile, groups: list[int], columns: list[str], **options: object) -> pa.Table:
        read.append(sum(self.metadata.row_group(g).num_rows for g in groups))
        assert set(columns) == {"amount", "event_time"}
        return original(self, groups, columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    for number in (0, 17, 59):
        rows = lake.read("events", WINDOWS[number], ["amount"])
        assert rows.num_rows == per_window
    # Small windows share a row group of 10,000 rows.
    assert len(read) == 3
    assert max(read) <= 11_000
    assert lake.read("events", WINDOWS[100]).num_rows == 0


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are opened, as often as they are."""
    opened: list[str] = []

    class Counted(pq.ParquetFile):
        def __init__(self, path: Path) -> None:
            opened.append(str(path))
            super().__init__(path)

    monkeypatch.setattr(pq, "ParquetFile", Counted)
    monkeypatch.setattr(pq, "read_schema", None)
    return opened


def test_every_file_is_opened_once(lake: Lake, opened: list[str]) -> None:
    publish(lake, "events", *((w, events(w)) for w in WINDOWS[:40]))
    assert lake.read("events", DAY, ["amount"]).num_rows == 120
    assert len(opened) == len(set(opened)) == 40


def test_reads_that_overlap_open_each_file_once_between_them(lake: Lake, opened: list[str]) -> None:
    publish(lake, "dashboard", *((w, events(w, 2)) for w in WINDOWS[:40]))
    files, kept = lake.files("dashboard", DAY), Opened()
    for first in range(28):
        span = TimeWindow(WINDOWS[first].start, WINDOWS[first + 12].end)
        found = lake.read("dashboard", span, ["event_id", "amount"], keys=True, files=files, opened=kept)
        assert len(opened) == len(set(opened)) == first + 13
        assert found.equals(pa.concat_tables([_with_keys(w) for w in WINDOWS[first : first + 13]]))


def test_reads_of_parts_of_a_day_do_not_take_what_was_read_of_it_for_other_parts(lake: Lake) -> None:
    publish(lake, "events_daily", (DAY, pa.concat_tables([events(w, 2) for w in WINDOWS])))
    files, kept = lake.files("events", DAY), Opened()
    for window in (WINDOWS[3], WINDOWS[4], WINDOWS[3]):
        assert ids(lake.read("events", window, files=files, opened=kept)) == ids(events(window, 2))


def _with_keys(window: TimeWindow) -> pa.Table:
    table = events(window, 2).select(["event_id", "amount"])
    for name, value in (("day", f"{window.start:%Y-%m-%d}"), ("window_start", f"{window.start:%Y%m%dT%H%MZ}")):
        table = table.append_column(name, pa.array([value] * 2))
    return table


def test_types_that_do_not_fit_together_are_named(lake: Lake) -> None:
    text = events(WINDOWS[1]).set_column(2, "amount", pa.array(["1", "2", "3"]))
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])), (WINDOWS[1], text))
    with pytest.raises(LakeError, match="do not fit together.*amount"):
        lake.read("events", DAY)


def test_a_number_too_big_for_the_wider_type_is_named(lake: Lake) -> None:
    big = events(WINDOWS[0], 1).set_column(2, "amount", pa.array([2**62 + 1]))
    floats = events(WINDOWS[1], 1).set_column(2, "amount", pa.array([0.5]))
    publish(lake, "events", (WINDOWS[0], big), (WINDOWS[1], floats))
    with pytest.raises(LakeError, match="do not fit the type of their column"):
        lake.read("events", DAY)


def test_a_file_that_is_gone_is_an_error_and_not_nothing(lake: Lake) -> None:
    publish(lake, "events", *((w, events(w)) for w in WINDOWS[:2]))
    lake.files("events", DAY)[0].path.unlink()
    with pytest.raises(LakeError, match=r"is not there. Run `stream-assets verify events`"):
        lake.read("events", DAY)
    assert ids(lake.read("events", WINDOWS[1])) == ids(events(WINDOWS[1]))


def test_a_damaged_file_is_an_error(lake: Lake) -> None:
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    path = lake.files("events", DAY)[0].path
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LakeError, match="no whole Parquet file"):
        lake.read("events", DAY)


def test_the_pipeline_is_told_where_a_partition_was_replaced(lake: Lake, open_lake: Callable[[], Lake]) -> None:
    """It publishes what it read as content of one revision, so it is never given another."""
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    publish(lake, "events_daily", (DAY, events(WINDOWS[0])))
    (window,), (day,) = lake.ledger.current("events", DAY), lake.ledger.current("events_daily", DAY)
    assert ids(lake.rows_of(window, lake.schema_of([window]))) == ids(events(WINDOWS[0]))
    started = lake.windows_of_day(day)
    assert ids(next(started)[1]) == ids(events(WINDOWS[0]))
    publish_day_and_window(open_lake(), events(WINDOWS[0], mark="b"))
    assert sum(rows.num_rows for _, rows in started) == 0
    for look in (lambda: lake.rows_of(window, events(WINDOWS[0]).schema), lambda: next(lake.windows_of_day(day))):
        with pytest.raises(Conflict, match="was replaced while"):
            look()
    with pytest.raises(Conflict):
        lake.schema_of([window])


def test_windows_of_a_day_are_those_of_its_receipt(mixed: tuple[Lake, pa.Table]) -> None:
    lake, everything = mixed
    (day,) = lake.ledger.current("events_daily", DAY)
    windows = list(lake.windows_of_day(day))
    assert [fact.window for fact, _ in windows] == list(WINDOWS)
    assert [rows.num_rows for _, rows in windows] == [n % 4 for n in range(288)]
    assert ids(pa.concat_tables([rows for _, rows in windows])) == ids(everything.slice(0, day.rows))
