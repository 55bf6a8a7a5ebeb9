"""What real sources hold: every value goes from file to lake to consumer and verify, and is the same when it comes again."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_assets import consumer
from stream_assets.core.window import TimeWindow
from stream_assets.pipeline.verify import verify
from stream_assets.sources.files import FileEvents

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

START = datetime(2026, 3, 11, tzinfo=UTC)
DAY = TimeWindow(START, START + timedelta(days=1))
TIMES = pa.timestamp("us", "UTC")


@consumer(freshness="5 min", grain="5 min")
def by_pandas(events: pd.DataFrame) -> pd.DataFrame:
    return events.head(0)[["event_time"]].assign(n=0) if events.empty else events[["event_time"]].assign(n=len(events))


@consumer(freshness="5 min", grain="5 min")
def by_arrow(events: pa.Table) -> pa.Table:
    return events


@consumer(freshness="5 min", grain="5 min")
def by_duckdb(events: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    return events.aggregate("count(*) as n, count(distinct event_id) as ids")


@pytest.fixture
def lived(world, tmp_path):
    """Put a table (or lines) into a folder, and let the whole way be gone, twice."""

    def live(rows, *consumers, until="00:12", **options):
        folder = tmp_path / "landing"
        folder.mkdir()
        if isinstance(rows, pa.Table):
            pq.write_table(rows, folder / "1.parquet")
        else:
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / "1.jsonl").write_bytes(text.encode(errors="surrogatepass"))
        source = FileEvents(str(folder), format="parquet" if isinstance(rows, pa.Table) else "jsonl", **options)
        w = world(*consumers, now=f"2026-03-11 {until}", start="2026-03-11", sources={"events": source})
        w.folder_of_files = folder
        for table in ("events", *(c.name for c in consumers)):
            settled = (w.now - timedelta(minutes=2)).strftime("2026-03-11T%H:%M")
            report = w.by_hand(table, "2026-03-11T00:00", settled)
            assert [o.error for o in report.outcomes if not o.is_good] == []
            again = w.by_hand(table, "2026-03-11T00:00", settled)
            assert {o.state for o in again.outcomes} == {"unchanged"}
        found = verify(
            w.pipeline.site, list(w.pipeline.declarations.tables), TimeWindow(START, w.now - timedelta(minutes=7))
        )
        assert [d for d in found.differences if d.check != "hole"] == []
        return w

    return live


ALL = (by_pandas, by_arrow, by_duckdb)


def read(w):
    return w.pipeline.lake.read("events", DAY)


def at(minutes, **columns):
    return {"event_time": (START + timedelta(minutes=minutes)).isoformat(), **columns}


def events(**columns: Any) -> pa.Table:
    count = len(next(iter(columns.values())))
    times = pa.array([START + timedelta(seconds=n) for n in range(count)], TIMES)
    return pa.table({"event_id": pa.array(range(count), pa.int64()), "event_time": times, **columns})


def test_windows_of_very_different_sizes(lived):
    count = 1_000_000
    micros = START.timestamp() * 1e6 + np.concatenate([[0], 300e6 + np.arange(count) * 299])
    rows = pa.table({"event_id": np.arange(count + 1), "event_time": pa.array(micros.astype(np.int64)).view(TIMES)})
    w = lived(rows, by_duckdb)
    assert [r.rows for r in w.receipts("events").values()] == [1, count]
    assert w.table("by_duckdb")[0][0][1] in (1, "2026-03-11")


def test_thousands_of_distinct_keys(lived):
    rows = [at(n % 9, event_id=str(n), **{f"key {n}": n, f"key {(n + 7) % 2000}": n}) for n in range(0, 2000, 5)]
    w = lived(rows, by_arrow)
    assert read(w).num_columns == 2 + 800
    assert read(w).column("key 7").drop_null().to_pylist() == [0]


def test_strings_of_ten_megabytes(lived):
    long = ["x" * 10_000_000, "é" * 5_000_000, "y"]
    w = lived([at(n, event_id=str(n), text=text) for n, text in enumerate(long)], *ALL)
    assert read(w).column("text").to_pylist() == long


def test_structs_and_lists_that_grow_inside(lived):
    w = lived(
        [
            at(1, event_id="1", basket={"items": [{"sku": "a"}]}),
            at(6, event_id="2", basket={"items": [{"sku": "b", "price": 1.5}], "gift": None}),
            at(7, event_id="3", basket={"items": [], "gift": {"to": "x"}}),
            at(8, event_id="4", basket=None),
        ],
        *ALL,
    )
    assert read(w).column("basket").to_pylist() == [
        {"items": [{"sku": "a", "price": None}], "gift": None},
        {"items": [{"sku": "b", "price": 1.5}], "gift": None},
        {"items": [], "gift": {"to": "x"}},
        None,
    ]


def test_text_of_any_script(lived):
    texts = [
        "a\x00b",
        "\x00",
        "",
        "👩‍👩‍👧‍👦 🇰🇷",
        "مرحبا بالعالم",
        "\u202eabc",
        "'; drop table x; --",
        "\u2028",
        "\ufeff",
        " ",
    ]
    w = lived([at(n / 10, event_id=str(n), text=text) for n, text in enumerate(texts)], *ALL)
    assert read(w).column("text").to_pylist() == texts


def test_ids_that_look_alike_stay_different(lived):
    ids = ["a", "A", "é", unicodedata.normalize("NFD", "é"), "a ", "a\x00", "\uff41", "1", "01", "1.0", "ß", "SS"]
    w = lived([at(n / 10, event_id=id) for n, id in enumerate(ids)], *ALL)
    assert read(w).column("event_id").to_pylist() == ids
    assert w.receipts("events")["2026-03-11T00:00+0000"].duplicates == 0


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([-128, 127], pa.int8()),
        pa.array([0, 2**16 - 1], pa.uint16()),
        pa.array([-(2**31), 2**31 - 1], pa.int32()),
        pa.array([-(2**63), 2**63 - 1], pa.int64()),
        pa.array([2**64 - 1, 2**64 - 2, 2**53 + 1, 2**53], pa.uint64()),
        pa.array(["a", "b"], pa.large_string()),
        pa.array([b"\x00", b"\x00\x00", b"\xff"], pa.binary()),
        pa.array([b"ab", b"cd"], pa.binary(2)),
        pa.array(["a", "b"], pa.string()).dictionary_encode(),
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([UUID(int=1).bytes, UUID(int=2).bytes], pa.binary(16))),
        pa.array([Decimal("1.10"), Decimal("1.11"), Decimal("-99.99")], pa.decimal128(10, 2)),
        pa.array([Decimal("1" + "0" * 60), Decimal("1" + "0" * 59 + "1")], pa.decimal256(70, 0)),
        pa.array([date(2026, 1, 1), date(2026, 1, 2)], pa.date32()),
        pa.array([1, 2], pa.timestamp("ns", "UTC")),
        pa.array([time(1), time(2)], pa.time64("us")),
        pa.array([1.5, 2.5, 1e300], pa.float64()),
        pa.array([True, False], pa.bool_()),
    ],
    ids=lambda ids: str(ids.type),
)
def test_an_id_of_every_type(lived, ids):
    count = len(ids)
    times = pa.array([START + timedelta(seconds=n) for n in range(count)] * 2, TIMES)
    once = pa.table({"event_id": ids, "event_time": times[:count], "n": list(range(count))})
    w = lived(
        pa.concat_tables([once, once]), *(c for c in ALL if c is not by_duckdb or "decimal256" not in str(ids.type))
    )
    receipt = w.receipts("events")["2026-03-11T00:00+0000"]
    assert (receipt.rows, receipt.duplicates, receipt.rejected) == (count, count, 0)
    assert read(w).column("n").to_pylist() == list(range(count))


def test_nan_and_minus_zero(lived):
    ratio = pa.array([float("nan"), -0.0, 0.0, None, float("inf"), 5e-324], pa.float64())
    rows = events(ratio=ratio, small=ratio.cast(pa.float32()))
    other_nan = np.array([0xFFF8000000000001], np.uint64).view(np.float64)
    copies = pa.table(
        {
            "event_id": [0],
            "event_time": rows["event_time"][:1],
            "ratio": other_nan,
            "small": pa.array([float("nan")], pa.float32()),
        }
    )
    w = lived(pa.concat_tables([rows, copies]), *ALL)
    assert w.receipts("events")["2026-03-11T00:00+0000"].duplicates == 1
    found = read(w).column("ratio").to_pylist()
    assert str(found) == "[nan, -0.0, 0.0, None, inf, 5e-324]"


def test_float_ids_that_are_no_number_or_no_zero(lived):
    ids = pa.array([float("nan"), float("nan"), -0.0, 0.0], pa.float64())
    times = pa.array([START] * 4, TIMES)
    w = lived(pa.table({"event_id": ids, "event_time": times}))
    receipt = w.receipts("events")["2026-03-11T00:00+0000"]
    assert receipt.rows_read == receipt.rows + receipt.duplicates == 4
    assert receipt.rows == 2


def test_decimals_of_any_width(lived):
    values = {
        "small": pa.array([Decimal("0.01"), Decimal("-99.99"), None], pa.decimal128(4, 2)),
        "wide": pa.array([Decimal(10) ** 37, Decimal(-1), Decimal(0)], pa.decimal128(38, 0)),
        "tiny": pa.array([Decimal("1e-18"), Decimal("0"), Decimal("1")], pa.decimal128(38, 18)),
    }
    w = lived(events(**values), *ALL)
    for name, column in values.items():
        assert read(w).column(name).to_pylist() == column.to_pylist()


def test_nanoseconds_never_make_two_events_one(lived):
    base = int(START.timestamp()) * 10**9
    times = pa.array([base + 1, base + 2, base + 999, base + 1_001, base + 300 * 10**9 - 1], pa.timestamp("ns", "UTC"))
    rows = pa.table({"event_id": pa.array(range(5), pa.int64()), "event_time": times, "clock": times})
    w = lived(rows, *ALL)
    assert w.receipts("events")["2026-03-11T00:00+0000"].rows == 5
    # An event time is microseconds, rounded down, so an event stays in its window; the same instant in another column is whole.
    found = read(w).sort_by("event_id")
    nanos: Any = times.cast(pa.int64()).to_pylist()
    assert found.column("clock").cast(pa.int64()).to_pylist() == nanos
    assert found.column("event_time").cast(pa.int64()).to_pylist() == [n // 1000 for n in nanos]


def test_types_that_are_rare(lived):
    values = {
        "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        "when": pa.array([time(1, 2, 3, 4), None, time(0)], pa.time64("us")),
        "day": pa.array([date(1, 1, 1), date(9999, 12, 31), None], pa.date32()),
        "naive": pa.array(["2026-01-01", None, "0001-01-01"], pa.string()).cast(pa.timestamp("us")),
        "bits": pa.array([b"\x00\xff", b"", None], pa.large_binary()),
        "nothing": pa.nulls(3),
        "half": pa.array(np.array([1, 2, 3], np.float16)),
        "pair": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2)),
    }
    values["born"] = values.pop("day")
    w = lived(events(**values), by_arrow, by_duckdb)
    for name, column in values.items():
        assert read(w).column(name).to_pylist() == column.to_pylist(), name
