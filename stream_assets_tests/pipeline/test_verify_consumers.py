"""`verify` computes consumers' partitions again from the lake, and names the rows that differ."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from stream_assets import consumer
from stream_assets.core.declaration import Consumer
from stream_assets.core.window import TimeWindow
from stream_assets.events.hashing import digest
from stream_assets.pipeline.project import Project, Stream
from stream_assets.pipeline.verify import Verification, verify
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets.testing import SettableClock

if TYPE_CHECKING:
    from stream_assets.pipeline import Pipeline

DAY = datetime(2026, 3, 9, tzinfo=UTC)
NOW = DAY + timedelta(days=1, minutes=47)
EVERYTHING = TimeWindow(DAY, DAY + timedelta(days=2))
COUNTER = itertools.count()
FALLS_OVER: list[str] = []


@consumer(freshness="1 day", reads={"events": ["country", "amount"]})
def countries(events: pd.DataFrame) -> pd.DataFrame:
    return events.groupby("country", as_index=False).agg(orders=("amount", "count"), revenue=("amount", "sum"))


@consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id"]})
def counts(events: pa.Table) -> pa.Table:
    return pa.table({"events": [events.num_rows]})


@consumer(freshness="1 day")
def best(countries: pd.DataFrame) -> pd.DataFrame:
    return countries.nlargest(1, "revenue")[["country", "revenue"]]


@consumer(freshness="1 day", reads={"events": ["event_id"]})
def impure(events: pa.Table) -> pa.Table:
    return pa.table({"call": [next(COUNTER)]})


@consumer(freshness="1 day", reads={"events": ["amount"]})
def shuffled(events: pa.Table) -> pa.Table:
    order = next(COUNTER)
    total = sum(events["amount"].to_pylist()[:: 1 if order % 2 else -1])
    return pa.table({"place": [order % 2, 1 - order % 2], "total": [total, total]})


@consumer(freshness="1 day", reads={"events": ["event_id"]})
def fragile(events: pa.Table) -> pa.Table:
    if FALLS_OVER:
        raise ValueError(FALLS_OVER[0])
    return pa.table({"n": [events.num_rows]})


@consumer(freshness="1 day", reads={"events": ["amount"]})
def lazy(events: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    return events.aggregate("sum(amount) as amount")


def lake_of(tmp_path: Path, *consumers: Consumer) -> Pipeline:
    source = SyntheticEvents(rate=0.02, late_share=0.0)
    project = Project((Stream("events", source),), lake=str(tmp_path / "lake"), start="2026-03-09")
    made = project.open(consumers, SettableClock(NOW))
    assert all(not r.failed for _, reports in made.run() for r in reports)
    return made


def verified(pipeline: Pipeline, *tables: str) -> Verification:
    return verify(pipeline.site, tables, EVERYTHING)


def publish(pipeline: Pipeline, table: str, rows: pa.Table) -> None:
    """Put other rows into the newest partition of a consumer, as a defect of ours would: file, receipt and ledger agree."""
    (current, *_) = pipeline.lake.ledger.current(table, EVERYTHING)
    said = replace(
        current.receipt, revision=current.revision + 1, rows=rows.num_rows, digest=digest(rows, skip=()),
        inputs_seq=pipeline.lake.ledger.seq(),
    )  # fmt: skip
    with pipeline.lake.publisher() as publisher:
        publisher.stage("day", rows.schema, [rows], lambda: said, touched=lambda receipt: receipt.covered, read_at=NOW)
        publisher.commit()


def test_every_partition_is_computed_again_and_nothing_is_published(tmp_path: Path) -> None:
    pipeline = lake_of(tmp_path, countries, counts, best)
    seq = pipeline.lake.ledger.seq()
    found = verified(pipeline, "countries", "counts", "best")
    assert found.differences == []
    assert found.partitions == 1 + 1 + 288 + 9
    assert found.consumer_rows > 300
    assert pipeline.lake.ledger.seq() == seq


def test_a_changed_a_missing_and_an_extra_row_are_named(tmp_path: Path) -> None:
    pipeline = lake_of(tmp_path, countries)
    rows: list[dict[str, Any]] = pipeline.lake.read("countries", TimeWindow(DAY, DAY + timedelta(days=1))).to_pylist()
    gone, changed, *others = rows
    wrong = [{**changed, "orders": changed["orders"] + 1}, *others, {"country": "XX", "orders": 1, "revenue": 1.0}]
    publish(pipeline, "countries", pa.Table.from_pylist(wrong))
    (found,) = verified(pipeline, "countries").differences
    assert (found.check, found.mend.way, found.is_known) == ("consumer", "make", False)
    assert "rows differ: 1 missing, 1 extra, 1 changed" in found.said
    assert found.ids[0].startswith(f"missing: country={gone['country']}, ")
    assert found.ids[1] == "extra: country=XX, orders=1, revenue=1.0"
    assert found.ids[2].startswith(
        f"changed: country={changed['country']}: orders is {changed['orders'] + 1}, not {changed['orders']}"
    )


def test_a_function_that_is_not_pure_is_found(tmp_path: Path) -> None:
    (found, *_) = verified(lake_of(tmp_path, impure), "impure").differences
    assert found.check == "consumer"
    assert found.ids[0].startswith("changed: call=") or found.ids[0].startswith("missing: call=")


def test_rows_in_another_order_and_sums_in_another_order_are_equal(tmp_path: Path) -> None:
    pipeline = lake_of(tmp_path, shuffled)
    next(COUNTER)
    assert verified(pipeline, "shuffled").differences == []
    next(COUNTER)
    assert verified(pipeline, "shuffled").differences == []


def test_a_function_that_raises_is_a_difference_and_the_others_are_compared(tmp_path: Path) -> None:
    pipeline = lake_of(tmp_path, fragile, countries)
    FALLS_OVER.append("no such thing")
    try:
        found = verified(pipeline, "fragile", "countries")
    finally:
        FALLS_OVER.clear()
    assert {d.table for d in found.differences} == {"fragile"}
    assert "the function raised ValueError: no such thing" in found.differences[0].said
    assert "`stream-assets refresh fragile`" in str(found.differences[0].mend)


def test_what_is_stale_is_counted_and_no_difference(tmp_path: Path) -> None:
    pipeline = lake_of(tmp_path, countries)
    day = TimeWindow(DAY, DAY + timedelta(days=1))
    rows = pipeline.lake.read("countries", day)
    publish(pipeline, "countries", rows.slice(1))
    pipeline.lake.ledger.reopened.add(
        "countries", pipeline.lake.ledger.coverage("countries").clip(day), "said", NOW, NOW
    )
    found = verified(pipeline, "countries")
    assert found.differences == []
    assert found.reasons == {"reopened, and made again by themselves once their inputs are there": 1}


def test_what_other_code_made_is_counted_and_no_difference(tmp_path: Path) -> None:
    lake_of(tmp_path, countries)
    source = SyntheticEvents(rate=0.02, late_share=0.0)

    @consumer(freshness="1 day", reads={"events": ["country"]})
    def other(events: pa.Table) -> pa.Table:
        return pa.table({"n": [events.num_rows]})

    project = Project((Stream("events", source),), lake=str(tmp_path / "lake"), start="2026-03-09")
    later = project.open([replace(other, name="countries")], SettableClock(NOW))
    found = verified(later, "countries")
    assert [d for d in found.differences if d.check == "consumer"] == []
    assert found.reasons == {"made by other code": 1}


def test_what_has_failed_is_counted_and_no_difference(tmp_path: Path) -> None:
    pipeline = lake_of(tmp_path, countries)
    day = TimeWindow(DAY, DAY + timedelta(days=1))
    publish(pipeline, "countries", pipeline.lake.read("countries", day).slice(1))
    pipeline.lake.ledger.work.fail("countries", day, "said", NOW, transient=False, code=countries.code, upto=None)
    found = verified(pipeline, "countries")
    assert [d for d in found.differences if d.check == "consumer"] == []
    assert found.reasons == {"failed when they were to be made again": 1}


@pytest.mark.parametrize("damage", ["gone", "pages"])
def test_an_input_that_cannot_be_read_is_said_once_and_no_function_is_blamed(tmp_path: Path, damage: str) -> None:
    pipeline = lake_of(tmp_path, counts, countries, lazy)
    (day,) = pipeline.lake.ledger.current("events_daily", EVERYTHING)
    path = pipeline.lake.layout.root / day.file
    whole = path.read_bytes()
    path.unlink()
    if damage == "pages":
        path.write_bytes(whole[:4] + bytes(len(whole) * 3 // 4) + whole[4 + len(whole) * 3 // 4 :])
    found = verified(pipeline, "counts", "countries", "lazy")
    said = [d for d in found.differences if d.check == "consumer"]
    assert {d.table for d in said} == {"counts", "countries", "lazy"}
    assert len(said) <= 4  # a row group further on may still be whole
    for difference in said:
        assert difference.said.startswith("not computed, because what it needs cannot be read: ")
        assert day.file in difference.said
        assert str(difference.mend) == "mend them first: `stream-assets verify events`"


def test_ids_that_cannot_be_compared_name_the_damaged_file(tmp_path: Path) -> None:
    pipeline = lake_of(tmp_path)
    (day,) = pipeline.lake.ledger.current("events_daily", EVERYTHING)
    path = pipeline.lake.layout.root / day.file
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(len(whole) * 3 // 4) + whole[4 + len(whole) * 3 // 4 :])
    found = verified(pipeline, "events_daily").differences
    (ids,) = [d for d in found if d.check == "identity"]
    assert ids.said.startswith(f"ids were not compared ({path} ")


def test_a_partition_of_the_open_day_is_computed_from_what_it_was_made_from(tmp_path: Path) -> None:
    pipeline = lake_of(tmp_path, replace(countries, freshness=timedelta(minutes=5)))
    clock = pipeline.clock
    assert isinstance(clock, SettableClock)
    clock.advance(timedelta(minutes=30))
    more = TimeWindow(NOW.replace(minute=45), NOW + timedelta(minutes=28))
    with pipeline.running("events", more) as running:
        assert not pipeline.fill("events", more, running).failed
    found = verified(pipeline, "countries")
    assert (found.partitions, found.differences) == (2, [])
