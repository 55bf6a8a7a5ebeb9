"""Values, as they stand in files of each format: the same in every block and file, and never another number."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_assets.errors import SourceError
from stream_assets.events.conform import conform
from stream_assets.sources.files import FileEvents, delimited, jsonl
from stream_assets.sources.protocol import MemoryState
from stream_assets_tests.sources.test_file_events import HOUR, NOW, TEN, columns_of, event, ids, put, read, window_at


def test_json_text_stays_text_in_every_block_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 200)
    dates = [event(n, f"{n:03}", day="2026-03-01", when={"at": "2026-03-01T00:00:00Z"}) for n in range(20)]
    words = [event(20 + n, f"{20 + n:03}", day="today", when={"at": "soon"}) for n in range(20)]
    put(tmp_path, "1.jsonl", *dates, *words)
    put(tmp_path, "2.jsonl", *words[::-1])
    types = {str(batch.schema.field("day").type) for batch in FileEvents(str(tmp_path)).read(HOUR, now=NOW)}
    rows = read(FileEvents(str(tmp_path)))
    assert types == {"string"}
    assert rows[0]["event_id"] == "000"
    assert rows[0]["day"] == "2026-03-01"
    assert rows[0]["when"] == {"at": "2026-03-01T00:00:00Z"}
    assert len(rows) == 60


def test_json_ids_that_are_no_exact_numbers_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "1.jsonl", {**event(1), "event_id": 12345678901234567890})
    with pytest.raises(SourceError, match=r"1.jsonl: column 'event_id' has numbers"):
        read(FileEvents(str(tmp_path)))


BIG = 2**53 + 1
"""The first integer that a float does not hold."""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (BIG, 1.5), (1.5, -BIG), ([BIG], [1.5]), ([1, 2.5, BIG], [None]), ({"a": BIG}, {"a": 1.5}),
        ([{"a": [1.5]}], [{"b": "x"}, {"a": [2, BIG]}]), (2**64 + 1, 2**64 + 1),
    ],
)  # fmt: skip
def test_a_json_integer_that_would_become_another_number_is_refused_by_name(
    tmp_path: Path, first: Any, second: Any
) -> None:
    put(tmp_path, "1.jsonl", event(1, amount=first, n=BIG), event(2, amount=second, n=BIG), event(3, amount=None))
    with pytest.raises(SourceError, match=r"1.jsonl: column 'amount' has .* integer -?\d+, .* cannot hold: write"):
        read(FileEvents(str(tmp_path)))


def test_a_json_integer_beside_lines_that_are_left_out_is_refused_too(tmp_path: Path) -> None:
    put(tmp_path, "1.jsonl", event(1, amount=1.5), event(2, amount=BIG), "no json", event(50))
    with pytest.raises(SourceError, match=f"column 'amount' has .* {BIG}"):
        read(FileEvents(str(tmp_path)), window_at(0))


def test_great_floats_and_integers_that_floats_hold_are_read(tmp_path: Path) -> None:
    written = ["1e300", "-1e17", f"{BIG}.0", str(2**60), "9007199254740992", "null"]
    lines = [json.dumps(event(n, amount=0, n=BIG, s=str(BIG))).replace(" 0", f" {w}") for n, w in enumerate(written)]
    put(tmp_path, "1.jsonl", *lines)
    rows = read(FileEvents(str(tmp_path)))
    assert [row["amount"] for row in rows] == [json.loads(w) if w == "null" else float(w) for w in written]
    assert {row["n"] for row in rows} == {BIG}
    (tmp_path / "1.jsonl").unlink()
    rows_of_csv = [f"{n},{event(n)['event_time']},{w.replace('null', '')}" for n, w in enumerate(written)]
    put(tmp_path, "1.csv", "event_id,event_time,amount", *rows_of_csv)
    assert [row["amount"] for row in read(FileEvents(str(tmp_path), "csv"))] == [row["amount"] for row in rows]


@pytest.mark.parametrize("place", [0, 150])
@pytest.mark.parametrize("block", [500, 1 << 20])
@pytest.mark.parametrize("integer", [BIG, -BIG, 2**64 + 1])
def test_a_csv_integer_that_would_become_another_number_is_refused_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int, block: int, integer: int
) -> None:
    monkeypatch.setattr(delimited, "BLOCK_BYTES", block)
    amounts: list[Any] = [7] * 300
    amounts[120], amounts[place] = 1.5, integer
    lines = [f"{n},{(TEN + timedelta(seconds=n)).isoformat()},{amount}" for n, amount in enumerate(amounts)]
    put(tmp_path, "1.csv", "event_id,event_time,amount", *lines)
    with pytest.raises(
        SourceError, match=r"column 'amount' .*2\*\*53|1.csv: column 'amount' .* cannot hold: say types="
    ):
        columns_of(FileEvents(str(tmp_path), "csv"))
    kept = {row["event_id"]: row["amount"] for row in read(FileEvents(str(tmp_path), "csv", types="amount:text"))}
    assert kept[str(place)] == str(integer)
    rounded = {row["event_id"]: row["amount"] for row in read(FileEvents(str(tmp_path), "csv", types="amount:float"))}
    assert rounded[str(place)] == float(integer)


def test_json_keys_may_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 100)
    put(tmp_path, "1.jsonl", event(1, a=1), event(2, b=[1, 2]), {"event_id": "x"}, {"event_id": "y"}, event(3))
    source = FileEvents(str(tmp_path))
    window = window_at(0)
    rejected = [conform(batch, source.names, window, NOW).rejected for batch in source.read(window, now=NOW)]
    assert len(ids(source)) == 5
    assert sum(table.num_rows for table in rejected) == 2


def test_csv_ids_and_codes_stay_text_and_numbers_become_numbers(tmp_path: Path) -> None:
    put(
        tmp_path, "1.csv",
        "event_id,event_time,zip,amount,count,ok,note",
        "007,2026-03-01T10:01:00Z,01234,1.5,3,true,",
        '008,2026-03-01T10:02:00Z,99999,2,,false,"a, ""b""\nc"',
    )  # fmt: skip
    first, second = read(FileEvents(str(tmp_path), "csv"))
    assert first == {
        "event_id": "007", "event_time": "2026-03-01T10:01:00Z", "zip": "01234", "amount": 1.5, "count": 3,
        "ok": True, "note": None,
    }  # fmt: skip
    assert second["note"] == 'a, "b"\nc'
    assert (second["amount"], second["count"], second["zip"]) == (2.0, None, "99999")


def test_csv_types_do_not_depend_on_where_a_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{n:05},{(TEN + timedelta(seconds=n)).isoformat()},{n if n < 1000 else n / 2}" for n in range(3000)]
    put(tmp_path, "1.csv", "event_id,event_time,amount", *lines)
    source = FileEvents(str(tmp_path), "csv")
    whole = read(source)
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 500)
    assert read(source) == whole


def test_a_csv_cell_that_does_not_fit_is_named_and_types_settle_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 300)
    lines = [f"{n},{(TEN + timedelta(seconds=n)).isoformat()},{n if n != 77 else '077'}" for n in range(1, 100)]
    put(tmp_path, "1.csv", "event_id,event_time,code", *lines)
    with pytest.raises(SourceError, match=r"1.csv: row 78: column 'code' is int .* '077' is not: say types=code:text"):
        read(FileEvents(str(tmp_path), "csv"))
    rows = read(FileEvents(str(tmp_path), "csv", types="code:text"))
    assert [row["code"] for row in rows][75:78] == ["76", "077", "78"]


def test_columns_of_any_name_make_an_event(tmp_path: Path) -> None:
    put(tmp_path, "1.csv", "nr,at,seen", "1,2026-03-01T11:01:00+01:00,2026-03-01T10:02:00Z")
    source = FileEvents(str(tmp_path), "csv", id="nr", time="at", arrival="seen")
    batches = list(source.read(window_at(0), now=NOW))
    table = conform(batches[0], source.names, window_at(0), NOW).table
    assert table.column_names == ["event_id", "event_time", "arrival_time"]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_parquet_times_of_any_unit_and_row_groups_are_pruned(tmp_path: Path, unit: Any) -> None:
    times = [TEN + timedelta(minutes=n) for n in range(120)]
    table = pa.table({"event_id": list(range(120)), "event_time": pa.array(times, pa.timestamp(unit, "UTC"))})
    pq.write_table(table, tmp_path / "1.parquet", row_group_size=10)
    source = FileEvents(str(tmp_path), "parquet")
    for state in (None, MemoryState()):
        rows = [r for b in source.read(window_at(33), now=NOW, state=state) for r in b.column(0).to_pylist()]
        assert rows == [33, 34, 35, 36, 37]


@pytest.mark.parametrize(
    "values",
    [
        [[None, None]],
        [[None, None], [None], None, [], [None, None, None]],
        [[[None, None], [None]], [[], None, [None, None, None]], None],
        [{"x": [None, None]}, None, {"x": [None]}, {"x": None}],
        [[{"x": [None, None]}, {"x": [None]}, None], []],
        [[{"x": None}, {"x": None}], [{"x": None}]],
    ],
)
def test_json_lists_of_nothing_but_nulls_have_all_of_them(tmp_path: Path, values: list[Any]) -> None:
    put(tmp_path, "1.jsonl", *(event(n, value=value) for n, value in enumerate(values)))
    (batch,) = FileEvents(str(tmp_path)).read(HOUR, now=NOW)
    batch.validate(full=True)
    assert batch.column(batch.schema.get_field_index("value")).to_pylist() == values
    done = conform(batch, FileEvents(str(tmp_path)).names, HOUR, NOW)
    assert done.table.num_rows == len(values)
