"""Batches of a source become canonical events; rows that cannot are kept with the reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.core.window import TimeWindow
from stream_assets.errors import DeclarationError, SourceError
from stream_assets.events.conform import Conformed, Names, conform, reasons
from stream_assets.events.dedup import deduplicate
from stream_assets.events.schema import AROUND, DEEPEST, INSTANT, REJECTED

run_end_encode: Any = vars(pc)["run_end_encode"]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = TimeWindow(NOW - timedelta(hours=1), NOW)
FINE = "2026-03-01T11:30:00Z"
NAMES = Names(id="id", time="ts", arrival="seen")


def conformed(columns: dict[str, Any], names: Names = NAMES) -> Conformed:
    return conform(pa.table(columns), names, WINDOW, NOW)


def test_columns_get_their_names_types_and_order() -> None:
    table = pa.table({"b": [1], "seen": [FINE], "ts": ["2026-03-01T12:30:00.5+01:00"], "a": ["x"], "id": [7]})
    got = conform(table, NAMES, WINDOW, NOW)
    assert got.table.column_names == ["event_id", "event_time", "arrival_time", "b", "a"]
    assert got.table.schema.field("event_id").type == pa.int64()
    assert got.table.schema.field("event_time") == pa.field("event_time", INSTANT, nullable=False)
    assert got.table.schema.field("arrival_time") == pa.field("arrival_time", INSTANT)
    assert got.table.to_pylist()[0]["event_time"] == datetime(2026, 3, 1, 11, 30, 0, 500_000, tzinfo=UTC)
    assert got.table.to_pylist()[0]["arrival_time"] == datetime(2026, 3, 1, 11, 30, tzinfo=UTC)
    assert got.rejected.schema == REJECTED
    assert got.rejected.num_rows == 0


def test_a_source_without_arrivals_has_none() -> None:
    assert "arrival_time" not in conformed({"id": [1], "ts": [FINE]}).table.column_names
    nothing = Names(id="id", time="ts", arrival=None)
    assert "arrival_time" not in conformed({"id": [1], "ts": [FINE]}, nothing).table.column_names


@pytest.mark.parametrize(
    ("row", "reason", "when"),
    [
        ({"id": None, "ts": FINE}, "id is null", FINE),
        ({"id": "", "ts": FINE}, "id is empty", FINE),
        ({"id": 1, "ts": None}, "ts is null", None),
        ({"id": 1, "ts": "2026-03-01T11:30:00"}, "ts has no time zone", None),
        ({"id": 1, "ts": "noon"}, "ts cannot be read as an instant", None),
        ({"id": 1, "ts": "1969-12-31T23:59:59Z"}, "ts is before 1970", "1969-12-31T23:59:59Z"),
        ({"id": 1, "ts": "0001-01-01T00:00:00Z"}, "ts is before 1970", "0001-01-01T00:00:00Z"),
        (
            {"id": 1, "ts": "2026-03-02T12:00:01Z"},
            "ts is more than a day in the future",
            "2026-03-02T12:00:01Z",
        ),
        ({"id": 1, "ts": "9999-12-31T23:00:00-05:00"}, "ts is more than a day in the future", None),
        ({"id": 1, "ts": FINE, "seen": "2026-03-01T11:30:00"}, "seen has no time zone", FINE),
        ({"id": 1, "ts": FINE, "seen": "soon"}, "seen cannot be read as an instant", FINE),
    ],
)
def test_a_row_that_cannot_be_an_event_is_kept_with_the_reason(
    row: dict[str, Any], reason: str, when: str | None
) -> None:
    kind = pa.string() if row["id"] == "" else pa.int64()
    good = {"id": "2" if row["id"] == "" else 2, "ts": FINE, "seen": None}
    row = {"seen": None, **row}
    schema = pa.schema([("id", kind), ("ts", pa.string()), ("seen", pa.string())])
    got = conform(pa.Table.from_pylist([good, row, good], schema=schema), NAMES, WINDOW, NOW)
    assert got.table.column("event_id").to_pylist() == [good["id"]] * 2
    assert got.rejected.schema == REJECTED
    (rejected,) = got.rejected.to_pylist()
    assert rejected["reason"] == reason
    assert rejected["event_time"] == (when and datetime.fromisoformat(when))
    assert json.loads(rejected["raw"]) == row
    assert reasons(got.rejected) == {reason: 1}


def test_a_day_ahead_of_the_clock_is_the_last_accepted() -> None:
    got = conformed({"id": [1, 2], "ts": ["2026-03-02T12:00:00Z", "1970-01-01T00:00:00Z"]})
    assert got.rejected.num_rows == 0


def test_naive_timestamps_numbers_and_dates_are_rejected_whole() -> None:
    naive = conformed({"id": [1, 2], "ts": pa.array([0, None], pa.timestamp("us"))})
    assert reasons(naive.rejected) == {"ts has no time zone": 1, "ts is null": 1}
    assert naive.table.num_rows == 0
    assert naive.table.schema.field("event_time").type == INSTANT
    assert reasons(conformed({"id": [1], "ts": [5]}).rejected) == {"ts is int64, not an instant": 1}
    dates = conformed({"id": [1], "ts": pa.array([5], pa.date32())})
    assert reasons(dates.rejected) == {"ts is date32[day], not an instant": 1}


def test_nanoseconds_are_floored_to_microseconds() -> None:
    base = 1_772_366_400_000_000_000
    got = conformed({"id": [1, 2], "ts": pa.array([base + 1_999, base], pa.timestamp("ns", "UTC"))})
    assert got.table.column("event_time").cast(pa.int64()).to_pylist() == [base // 1000 + 1, base // 1000]


def test_a_row_with_many_faults_has_one_reason() -> None:
    got = conformed({"id": pa.array([None], pa.int64()), "ts": ["noon"], "seen": ["soon"]})
    assert reasons(got.rejected) == {"id is null": 1}


@given(st.lists(st.tuples(st.none() | st.integers(0, 9), st.sampled_from([None, FINE, "noon", "2026-03-01T11:00"]))))
def test_every_row_is_conformed_or_rejected(rows: list[tuple[int | None, str | None]]) -> None:
    ids = pa.array([row[0] for row in rows], pa.int64())
    got = conformed({"id": ids, "ts": pa.array([row[1] for row in rows], pa.string())})
    good = [row[0] for row in rows if row[0] is not None and row[1] == FINE]
    assert got.table.column("event_id").to_pylist() == good
    assert got.rejected.num_rows == len(rows) - len(good)


def test_encoded_columns_are_decoded() -> None:
    text = pa.array(["x", "y"])
    encoded = {
        "id": text.dictionary_encode(),
        "ts": pa.array([FINE, FINE]).dictionary_encode(),
        "a": text.dictionary_encode(),
        "b": text.cast(pa.string_view()),
        "c": run_end_encode(pa.array([1, 1])),
    }
    got = conformed(encoded)
    assert got.table.schema.types == [pa.string(), INSTANT, pa.string(), pa.large_string(), pa.int64()]
    assert got.table.column("a").to_pylist() == ["x", "y"]


def test_batches_and_tables_of_many_chunks_and_of_none_are_taken() -> None:
    batch = pa.RecordBatch.from_pydict({"id": [1], "ts": [FINE]})
    assert conform(batch, NAMES, WINDOW, NOW).table.num_rows == 1
    assert conform(pa.Table.from_batches([batch, batch]), NAMES, WINDOW, NOW).table.num_rows == 2
    empty = conform(batch.schema.empty_table(), NAMES, WINDOW, NOW)
    assert empty.table.schema == conform(batch, NAMES, WINDOW, NOW).table.schema
    assert empty.table.num_rows == empty.rejected.num_rows == 0


def test_where_a_row_is_counted_is_no_part_of_events_or_of_raw_rows() -> None:
    times = [NOW - timedelta(minutes=n) for n in range(4)]
    table = pa.table({"id": [1, None, 3, 4], "ts": [FINE, FINE, None, None], AROUND: pa.array(times, INSTANT)})
    for answer in (table, pa.concat_tables([table.slice(0, 3), table.slice(3)])):
        got = conform(answer, NAMES, WINDOW, NOW)
        assert got.table.column_names == ["event_id", "event_time"]
        assert got.around.to_pylist() == times[1:]
        assert [json.loads(raw) for raw in got.rejected.column("raw").to_pylist()] == [
            {"id": None, "ts": FINE}, {"id": 3, "ts": None}, {"id": 4, "ts": None},
        ]  # fmt: skip
    assert conformed({"id": [1, None], "ts": [FINE, FINE]}).around.to_pylist() == [None]


def test_a_raw_row_of_any_types_becomes_json() -> None:
    got = conformed(
        {
            "id": pa.array([None], pa.int64()),
            "ts": [FINE],
            "ns": pa.array([1_000_000_001], pa.timestamp("ns", "Europe/Berlin")),
            "far": pa.array([2**62], pa.timestamp("us")),
            "date": pa.array([0], pa.date32()),
            "bytes": [b"\xff\x00"],
            "nan": [float("nan")],
            "decimal": [Decimal("1.10")],
            "nested": [{"a": [1.5, float("inf")], "t": NOW}],
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "text": ["ü"],
            "flag": [True],
        }
    )
    raw: Any
    (raw,) = got.rejected.column("raw").to_pylist()
    assert "ü" in raw
    found = json.loads(raw)
    assert "value out of range" in found.pop("far")
    assert found == {
        "id": None,
        "ts": FINE,
        "ns": "1970-01-01 00:00:01.000000001Z",
        "date": "1970-01-01",
        "bytes": {"hex": "ff00"},
        "nan": "nan",
        "decimal": "1.10",
        "nested": {"a": [1.5, "inf"], "t": "2026-03-01 12:00:00+00:00"},
        "map": [["k", 1]],
        "text": "ü",
        "flag": True,
    }


def test_a_raw_row_that_is_not_utf8_becomes_json() -> None:
    bad = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    (row,) = conformed({"id": pa.array([None], pa.int64()), "ts": [FINE], "x": bad}).rejected.to_pylist()
    assert json.loads(row["raw"])["x"] == {"hex": "ff"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"ts": [FINE]}, "no column 'id'.*there are 'ts'"),
        ({"id": [1], "time": [FINE]}, "no column 'ts'.*'id', 'time'"),
        ({"id": [1], "ts": [FINE], "day": [1]}, "column 'day'"),
        ({"id": [1], "ts": [FINE], "window_start": [1]}, "column 'window_start'"),
        ({"id": [1], "ts": [FINE], "event_id": [2]}, "two columns 'event_id'"),
        ({"id": [1], "ts": [FINE], "seen": [FINE], "arrival_time": [FINE]}, "two columns 'arrival_time'"),
        ({"id": [[1]], "ts": [FINE]}, "ids of type list"),
    ],
)
def test_a_shape_that_no_events_have_is_a_source_error(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        conformed(columns)


def test_a_column_may_be_nested_so_deep_and_no_deeper() -> None:
    kind: Any = pa.int64()
    for _ in range(DEEPEST):
        kind = pa.list_(kind)
    deepest = conformed({"id": [1], "ts": [FINE], "x": pa.nulls(1, kind)}).table
    assert deduplicate(deepest).table.num_rows == 1
    with pytest.raises(SourceError, match="column 'x' that is nested more than 64 deep: write it as text"):
        conformed({"id": [1], "ts": [FINE], "x": pa.nulls(1, pa.list_(kind))})


def test_a_doubled_column_is_a_source_error() -> None:
    table = pa.Table.from_arrays(
        [pa.array([1]), pa.array([FINE]), pa.array([1]), pa.array([2])], ["id", "ts", "x", "x"]
    )
    with pytest.raises(SourceError, match="two columns 'x'"):
        conform(table, NAMES, WINDOW, NOW)


def test_a_source_may_call_its_time_by_a_reserved_name() -> None:
    assert conformed({"id": [1], "day": [FINE]}, Names("id", "day")).table.num_rows == 1


@pytest.mark.parametrize("names", [("a", "a", None), ("a", "b", "b"), ("", "b", None)])
def test_names_must_differ(names: tuple[str, str, str | None]) -> None:
    with pytest.raises(DeclarationError, match="different columns"):
        Names(*names)
