"""One row an id: the latest arrival, and of equal arrivals always the same one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.core.window import EPOCH
from stream_assets.events import dedup
from stream_assets.events.dedup import deduplicate
from stream_assets.events.hashing import EventHashes, digest, hash_events, hash_rows
from stream_assets.events.schema import INSTANT

ROW = st.tuples(st.sampled_from("abcdef"), st.integers(0, 4), st.none() | st.integers(0, 3), st.integers(0, 2))


def events(rows: list[Any], *, arrivals: bool = True, ids: Any = None) -> pa.Table:
    table = pa.table(
        {
            "event_id": pa.array([row[0] for row in rows], ids or pa.string()),
            "event_time": pa.array([row[1] for row in rows], pa.int64()).view(INSTANT),
            "arrival_time": pa.array([row[2] for row in rows], pa.int64()).view(INSTANT),
            "value": pa.array([row[3] for row in rows], pa.int64()),
        }
    )
    return table if arrivals else table.drop_columns(["arrival_time"])


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]


def test_the_latest_arrival_wins_and_null_is_the_oldest() -> None:
    kept = deduplicate(events([("a", 1, None, 0), ("a", 1, 5, 1), ("a", 1, 4, 2), ("b", 0, None, 3)]))
    assert kept.duplicates == 2
    assert kept.table.column("event_id").to_pylist() == ["b", "a"]
    assert kept.table.column("value").to_pylist() == [3, 1]


@given(st.lists(ROW, max_size=20), st.randoms(), st.booleans())
def test_the_order_in_which_rows_come_makes_no_difference(rows: list[Any], random: Any, arrivals: bool) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)
    first, second = (
        deduplicate(events(rows, arrivals=arrivals)),
        deduplicate(events(shuffled, arrivals=arrivals)),
    )
    assert first.table.equals(second.table)
    assert first.digest == second.digest
    assert first.duplicates == second.duplicates


@given(st.lists(ROW, max_size=20))
def test_one_row_an_id_stays_with_the_greatest_arrival(rows: list[Any]) -> None:
    kept = deduplicate(events(rows))
    ids: list[Any] = kept.table.column("event_id").to_pylist()
    assert sorted(ids) == sorted({row[0] for row in rows})
    assert kept.table.num_rows + kept.duplicates == len(rows)
    latest: dict[str, int] = {}
    for row in rows:
        latest[row[0]] = max(latest.get(row[0], -1), -1 if row[2] is None else row[2])
    for row in kept.table.to_pylist():
        assert row["arrival_time"] == (
            EPOCH + timedelta(microseconds=latest[row["event_id"]]) if latest[row["event_id"]] >= 0 else None
        )


@given(st.lists(ROW, max_size=20))
def test_what_stays_is_sorted_hashed_and_stays_again(rows: list[Any]) -> None:
    kept = deduplicate(events(rows))
    times: list[Any] = kept.table.column("event_time").to_pylist()
    assert times == sorted(times)
    low, high = hash_rows(kept.table)
    assert (low.tolist(), high.tolist()) == (kept.low.tolist(), kept.high.tolist())
    assert kept.digest == digest(kept.table)
    again = deduplicate(kept.table)
    assert again.duplicates == 0
    assert again.table.equals(kept.table)


def test_rows_that_are_equal_in_everything_leave_one() -> None:
    kept = deduplicate(events([("a", 1, 2, 3)] * 5))
    assert kept.duplicates == 4
    assert kept.table.num_rows == 1


def test_two_versions_of_one_event_may_have_different_times() -> None:
    kept = deduplicate(events([("a", 4, 1, 0), ("b", 2, 1, 0), ("a", 1, 2, 1)]))
    assert [(row[0], row[3]) for row in rows_of(kept.table)] == [("a", 1), ("b", 0)]


@given(st.lists(ROW, max_size=20))
def test_unequal_ids_with_one_hash_all_stay(rows: list[Any]) -> None:
    table = events(rows)
    expected = deduplicate(table)

    def colliding(table: pa.Table) -> EventHashes:
        hashes = hash_events(table)
        return EventHashes(hashes.low, hashes.high, np.zeros_like(hashes.ids))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dedup, "hash_events", colliding)
        found = deduplicate(table)
    assert sorted(map(str, rows_of(found.table))) == sorted(map(str, rows_of(expected.table)))
    assert found.duplicates == expected.duplicates


IDS: list[Any] = [
    pa.int8(),
    pa.uint64(),
    pa.float64(),
    pa.decimal128(12, 1),
    pa.time32("ms"),
    pa.date32(),
    pa.bool_(),
]


@pytest.mark.parametrize("kind", IDS, ids=str)
def test_ids_may_be_of_any_plain_type(kind: Any) -> None:
    ids = pa.array([0, 1, 1, 0]).cast(kind if pa.types.is_uint64(kind) else pa.int32()).cast(kind)
    table = events([("", n, n, n) for n in range(4)]).set_column(0, "event_id", ids)
    assert deduplicate(table).table.column("value").to_pylist() == [2, 3]


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.binary(), pa.binary(1), pa.dictionary(pa.int8(), pa.string())], ids=str
)
def test_ids_may_be_bytes_or_encoded(kind: Any) -> None:
    ids = (
        pa.array([b"a", b"b", b"b", b"a"]).cast(kind)
        if not pa.types.is_dictionary(kind)
        else pa.array(list("abba")).cast(kind)
    )
    table = events([("", n, n, n) for n in range(4)]).set_column(0, "event_id", ids)
    assert deduplicate(table).table.column("value").to_pylist() == [2, 3]


def test_no_rows_are_no_rows() -> None:
    kept = deduplicate(events([]))
    assert kept.table.num_rows == kept.duplicates == len(kept.low) == 0


def test_many_events_at_one_instant_sort_by_their_ids() -> None:
    rows = [(f"id-{n}", 7, None, n) for n in range(500)]
    kept = deduplicate(events(rows))
    ids = hash_events(kept.table).ids
    assert (ids[1:] > ids[:-1]).all()
