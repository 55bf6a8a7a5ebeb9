"""A receipt comes back from a file's footer as it went in."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Latency, Receipt, WindowFact
from stream_assets.core.window import EPOCH, GRID, TimeWindow
from stream_assets.errors import LakeError
from stream_assets_tests.core.simulator import at, span

DAY = span("2026-03-10", "2026-03-11")
counts = st.integers(0, 10**9)
texts = st.text(max_size=8)
digests = st.builds(Digest, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
instants = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
windows = st.integers(-1000, 10**7).map(lambda n: EPOCH + n * GRID)
seconds = st.floats(0, 1e6, allow_nan=False)


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    start = draw(windows)
    span = TimeWindow(start, start + draw(st.integers(1, 300)) * GRID)
    inside = st.integers(0, 300).map(lambda n: start + n * GRID)
    covered = Intervals.union_of(TimeWindow(a, a + GRID) for a in draw(st.lists(inside, max_size=5))) & Intervals.of(
        span
    )
    return Receipt(
        draw(texts), span, draw(st.integers(1, 99)), draw(counts), draw(digests), covered, draw(instants),
        duplicates=draw(counts), rejected=draw(counts), rows_read=draw(counts),
        windows=tuple(draw(st.lists(st.builds(WindowFact, windows, counts, digests, counts, counts), max_size=4))),
        min_event_time=draw(st.none() | instants), max_event_time=draw(st.none() | instants),
        latency=draw(st.none() | st.builds(Latency, seconds, seconds, seconds)),
        inputs=draw(st.dictionaries(texts, digests.map(str), max_size=3)), inputs_seq=draw(counts),
        code=draw(texts), reason=draw(texts), run_id=draw(texts), columns=draw(texts),
    )  # fmt: skip


@given(receipts())
def test_json_round_trips_on_one_line(receipt: Receipt) -> None:
    text = receipt.to_json()
    assert "\n" not in text
    assert Receipt.from_json(text) == Receipt.from_json(text.encode()) == receipt


@given(receipts())
def test_what_is_missing_and_what_is_covered_make_up_the_partition(receipt: Receipt) -> None:
    assert receipt.missing | receipt.covered == Intervals.of(receipt.span)
    assert not receipt.missing & receipt.covered
    assert receipt.is_sealed == (receipt.covered == Intervals.of(receipt.span))
    assert receipt.is_sealed == (receipt.complete_through == receipt.span.end)


@given(receipts())
def test_facts_for_people_are_json_without_the_windows(receipt: Receipt) -> None:
    facts = json.loads(json.dumps(receipt.facts()))
    assert "windows" not in facts
    assert facts["complete_through"] == receipt.complete_through.isoformat()
    assert facts["rows"] == receipt.rows


def receipt_of(*covered: TimeWindow) -> Receipt:
    return Receipt("today", DAY, 1, 0, Digest(), Intervals.of(*covered), at("2026-03-10T14:32"))


def test_a_hole_holds_complete_through_back_however_much_newer_data_there_is() -> None:
    receipt = receipt_of(span("2026-03-10", "2026-03-10T09:00"), span("2026-03-10T09:05", "2026-03-10T14:30"))
    assert receipt.complete_through == at("2026-03-10T09:00")
    assert receipt.missing.spans == (
        span("2026-03-10T09:00", "2026-03-10T09:05"),
        span("2026-03-10T14:30", "2026-03-11"),
    )
    assert not receipt.is_sealed


def test_an_empty_partition_that_is_covered_is_sealed_with_zero_rows() -> None:
    receipt = receipt_of(DAY)
    assert (receipt.is_sealed, receipt.rows, receipt.complete_through) == (True, 0, DAY.end)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"format": 1}',
        '{"format": 1, "span": [1, 2]}',
        '{"format": 1, "span": ["x", "y"]}',
    ],
)
def test_what_is_no_receipt_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(LakeError, match="run `stream-assets verify`"):
        Receipt.from_json(text)


def test_a_receipt_of_another_format_is_refused() -> None:
    raw: dict[str, Any] = {**json.loads(receipt_of(DAY).to_json()), "format": 2}
    with pytest.raises(LakeError, match="another release"):
        Receipt.from_json(json.dumps(raw))
    with pytest.raises(LakeError, match="verify"):
        Receipt.from_json(json.dumps({**raw, "format": 1, "surprise": 1}))


def test_a_window_fact_names_its_window() -> None:
    assert WindowFact(DAY.start, 3, Digest()).window.duration == timedelta(minutes=5)
