"""Fuzz: receipts, footers and the ledger's records, changed at random, are read or refused by an error of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Latency, Receipt, WindowFact
from stream_assets.core.window import GRID, Calendar, TimeWindow
from stream_assets.errors import LakeError, StreamAssetsError
from stream_assets.lake.ledger import FileRecord, Ledger
from stream_assets.lake.parquet import RECEIPT, read_receipt
from stream_assets.pipeline.site import LedgerSourceState
from stream_assets.sources.protocol import FileFact
from stream_assets_tests.fuzz.drawing import ANY_TEXT, JSON, inputs, mutated_bytes, mutated_record, mutated_text
from stream_assets_tests.sources.test_file_events import NOW, TEN

HOUR = TimeWindow(TEN, TEN + timedelta(hours=1))
RECEIPT_OF_HOUR = Receipt(
    "events", HOUR, 2, 3, Digest(1, 2), Intervals.of(HOUR), NOW, 1, 1, 5, (WindowFact(TEN, 3, Digest(1, 2), 1, 1),),
    TEN, TEN + GRID, Latency(1.0, 2.0, 3.0), inputs={"events": str(Digest(1, 2))}, inputs_seq=7, code="code", reason="why", run_id="run",
)  # fmt: skip
FACT = FileFact(
    "a/b.jsonl", 10, 20, 3, TEN, TEN + GRID, "wrong", Intervals.of(HOUR), Intervals.of(HOUR), mark="ab", last_time=TEN
)


def read_by_people(receipt: Receipt) -> None:
    """Do what is done with every receipt."""
    assert Receipt.from_json(receipt.to_json()) == receipt
    assert json.dumps(receipt.facts())
    assert receipt.is_sealed == (not receipt.missing)


@inputs()
@given(
    st.one_of(mutated_record(json.loads(RECEIPT_OF_HOUR.to_json())).map(json.dumps), mutated_text(RECEIPT_OF_HOUR.to_json()), JSON.map(json.dumps))
)  # fmt: skip
def test_receipts(text: str) -> None:
    with suppress(StreamAssetsError):
        read_by_people(Receipt.from_json(text))


@inputs()
@given(
    st.one_of(mutated_record(json.loads(FACT.to_json())).map(json.dumps), mutated_text(FACT.to_json()), JSON.map(json.dumps))
)  # fmt: skip
def test_facts_of_files(text: str) -> None:
    with suppress(StreamAssetsError):
        fact = FileFact.from_json(text)
        assert FileFact.from_json(fact.to_json()) == fact
        assert fact.may_have(HOUR) in (True, False)


def _part() -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"event_id": ["a"], "x": [1]}).replace_schema_metadata({RECEIPT: RECEIPT_OF_HOUR.to_json()})
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("footers") / "part-r1-00000000.parquet"


@inputs()
@given(data=mutated_bytes(_part()))
@example(data=_part().replace(b"event_id", b"\x80vent_id"))
def test_footers(part: Path, data: bytes) -> None:
    part.write_bytes(data)
    with suppress(StreamAssetsError):
        read_by_people(read_receipt(part))


COLUMNS: list[tuple[str, str]] = [
    ("current", column) for column in ("key_start", "key_end", "digest", "file", "committed_at", "receipt")
] + [
    ("publication", "touched"), ("coverage", "start"), ("coverage", "end"), ("reopened", "since"), ("reopened", "end"), ("failure", "at"),
    ("failure", "next_try_at"), ("work", "tables"), ("work", "remaining"), ("work", "owner"), ("work", "start"), ("work", "requested_at"), ("work", "lease_expires_at"),
    ("stream", "watermark"), ("stream", "cursor"), ("source_file", "fact"), ("source_file", "start"), ("consumer", "first_seen"),
    ("consumer", "paused_at"), ("automation", "ticked"), ("tbl", "grain"), ("tbl", "stream"),
]  # fmt: skip


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """A ledger with a record of everything."""
    made = Ledger(tmp_path_factory.mktemp("ledger") / "_ledger.sqlite")
    made.create(Calendar(), TEN, TEN, NOW)
    made.database.change("pragma synchronous = off")
    made.register("events", "5 min", "events")
    made.record(RECEIPT_OF_HOUR, "events/day=2026-03-01/part.parquet", Intervals.of(HOUR))
    made.cover("events", [HOUR], Intervals.of(HOUR))
    made.reopened.add("events", Intervals.of(HOUR), "late", NOW, NOW)
    made.work.begin(None, "heal", "5 min", ("events",), HOUR, NOW)
    made.work.fail("events", HOUR, "wrong", NOW, transient=False)
    made.work.tick("heal", NOW)
    made.sources.advance("events", NOW)
    made.sources.move_cursor("events", "1")
    made.sources.remember_files("events", [FileRecord(FACT.path, 10, 20, HOUR, FACT.to_json())])
    made.sources.meet("orders", "code", code_stated=False, seq=0, now=NOW)
    made.sources.pause("orders", NOW)
    return made


def read_everything(ledger: Ledger) -> None:
    """Ask all that the planner, the commands and the sources ask."""
    later = NOW + timedelta(seconds=1)
    asked: list[Callable[[], object]] = [
        lambda: [(c.receipt, c.columns) for c in ledger.current("events", HOUR)], lambda: ledger.newest("events", with_rows=True), lambda: ledger.coverage("events"),
        lambda: ledger.coverage_of(ledger.tables()), ledger.reopened.all, lambda: ledger.totals("events"), lambda: ledger.history.touched_since(0, "events"),
        lambda: ledger.history.made_at("events", HOUR), lambda: ledger.made_by_other_code({"events": "x"}, TEN), ledger.tables, ledger.seq,
        lambda: ledger.work.in_flight(later), ledger.work.recent, ledger.work.p95_run_time, ledger.work.failures, ledger.work.ticks,
        ledger.sources.watermarks, ledger.sources.consumers, lambda: ledger.sources.advance("events", NOW), lambda: _known(ledger),
    ]  # fmt: skip
    for ask in asked:
        with suppress(StreamAssetsError):
            ask()


def _known(ledger: Ledger) -> None:
    state = LedgerSourceState(ledger.sources, "events")
    assert state.versions() is not None
    assert state.fact(FACT.path)
    assert list(state.facts_since(0))


@inputs(150)
@given(st.sampled_from(COLUMNS), st.one_of(ANY_TEXT, JSON.map(json.dumps), st.binary(max_size=8), st.integers(-9, 9)))
def test_records_of_the_ledger(ledger: Ledger, column: tuple[str, str], value: object) -> None:
    table, name = column
    database = ledger.database
    database.change("savepoint whole")
    try:
        try:
            database.change(f'update {table} set "{name}" = ?', (value,))
        except StreamAssetsError:
            return  # no text that SQLite takes, or no JSON
        read_everything(ledger)
    finally:
        database.change("rollback to whole")
        database.change("release whole")


def test_nothing_is_wrong_with_a_ledger_that_nobody_changed(ledger: Ledger) -> None:
    assert ledger.current("events", HOUR)[0].receipt == RECEIPT_OF_HOUR
    _known(ledger)


@pytest.mark.parametrize("file", ["/etc/passwd", "events/../../x.parquet"])
def test_a_file_outside_of_the_lake_is_refused(ledger: Ledger, file: str) -> None:
    with ledger.transaction():
        before = ledger.current("events", HOUR)[0]
        ledger.database.change("update current set file = ?", (file,))
        with pytest.raises(LakeError, match="names a file outside of the lake"):
            ledger.current("events", HOUR)
        ledger.database.change("update current set file = ?", (before.file,))
