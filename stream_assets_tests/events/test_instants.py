"""Text and timestamps as microseconds since 1970 UTC, and what is wrong with those that are no instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.core.window import EPOCH
from stream_assets.events.instants import NO_TIME, NO_ZONE, NULL, UNREADABLE, read_instants

run_end_encode: Any = vars(pc)["run_end_encode"]

ZONES = st.builds(lambda m: timezone(timedelta(minutes=m)), st.integers(-1439, 1439))
NAIVE = datetime(1, 1, 3), datetime(9999, 12, 29)  # noqa: DTZ001
TIMES = st.datetimes(*NAIVE, timezones=ZONES)


def micros(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(microseconds=1)


@given(
    st.lists(TIMES, max_size=20),
    st.sampled_from(["T", " "]),
    st.sampled_from([pa.string(), pa.large_string()]),
)
def test_iso_text_with_an_offset_is_read_as_python_reads_it(times: list[datetime], sep: str, kind: Any) -> None:
    found, problems = read_instants(pa.array([t.isoformat(sep) for t in times], kind))
    assert problems.tolist() == [0] * len(times)
    assert found.tolist() == [micros(t) for t in times]


@given(st.lists(st.none() | TIMES, max_size=20), st.integers(0, 20))
def test_a_slice_is_read_like_a_copy(times: list[datetime | None], start: int) -> None:
    texts = [t and t.isoformat() for t in times]
    found, problems = read_instants(pa.array(texts, pa.string())[start:])
    copied, same = read_instants(pa.array(texts[start:], pa.string()))
    assert found.tolist() == copied.tolist()
    assert problems.tolist() == same.tolist() == [NULL if t is None else 0 for t in texts[start:]]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-03-01T00:05:00Z", "2026-03-01T00:05:00+00:00"),
        ("2026-03-01t00:05:00z", "2026-03-01T00:05:00+00:00"),
        ("2026-03-01 00:05:00+00", "2026-03-01T00:05:00+00:00"),
        ("2026-03-01 00:05:00 UTC", "2026-03-01T00:05:00+00:00"),
        ("2026-03-01 00:05:00.5 +0100", "2026-02-28T23:05:00.500000+00:00"),
        ("2026-03-01T00:05-07:30", "2026-03-01T07:35:00+00:00"),
        ("2026-03-01T00:05:00,123Z", "2026-03-01T00:05:00.123000+00:00"),
        ("2026-03-01T00:05:00.123456789Z", "2026-03-01T00:05:00.123456+00:00"),
        ("2024-02-29T23:59:59.999999Z", "2024-02-29T23:59:59.999999+00:00"),
        ("2000-02-29T00:00:00Z", "2000-02-29T00:00:00+00:00"),
        ("1969-12-31T23:59:59.9Z", "1969-12-31T23:59:59.900000+00:00"),
    ],
)
def test_forms_that_are_read(text: str, meant: str) -> None:
    found, problems = read_instants(pa.array([text]))
    assert problems[0] == 0
    assert int(found[0]) == micros(datetime.fromisoformat(meant))


@pytest.mark.parametrize("text", ["2026-03-01T00:05:00", "2026-03-01 00:05", "2026-03-01T00:05:00.25"])
def test_text_without_an_offset_has_no_zone(text: str) -> None:
    assert read_instants(pa.array([text]))[1].tolist() == [NO_ZONE]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-03-01",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-03-00T00:00:00Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T00:60:00Z",
        "2026-03-01T00:00:60Z",
        "2026-03-01T00:00:00.Z",
        "2026-03-01T00:00:00Zz",
        "2026-03-01T00:00:00Z ",
        " 2026-03-01T00:00:00Z",
        "2026-03-01T00:00:00+24:00",
        "2026-03-01T00:00:00+1",
        "2026-03-01T00:00:00+01:0",
        "2026-03-01T00:00:00+01-00",
        "2026-03-01T00:00:00 CET",
        "2026/03/01T00:00:00Z",
        "20260301T000000Z",
        "0000-03-01T00:00:00Z",
        "-026-03-01T00:00:00Z",
        "1772323200",
        "\uff12026-03-01T00:00:00Z",
        "2026-03-01T00:00:00." + "1" * 40 + "Z",
    ],
)
def test_text_that_is_no_instant_is_unreadable(text: str) -> None:
    # Neighbours show that no text is read beyond its end.
    found, problems = read_instants(pa.array(["2026-03-01T00:00:00Z", text, "2026-03-01T00:00:00Z"]))
    assert problems.tolist() == [0, UNREADABLE, 0]
    assert found[1] == 0


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading(text: str) -> None:
    assert read_instants(pa.array([text]))[1][0] in (0, NO_ZONE, UNREADABLE)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_of_every_unit_are_read(unit: Any) -> None:
    instant = datetime(2026, 3, 1, 0, 5, tzinfo=UTC)
    found, problems = read_instants(pa.array([instant, None], pa.timestamp(unit, "Asia/Seoul")))
    assert int(found[0]) == micros(instant)
    assert problems.tolist() == [0, NULL]


def test_nanoseconds_are_floored() -> None:
    found, _ = read_instants(pa.array([1_999, -1], pa.timestamp("ns", "UTC")))
    assert found.tolist() == [1, -1]


def test_timestamps_without_a_zone_or_out_of_all_bounds_are_no_instants() -> None:
    assert read_instants(pa.array([0], pa.timestamp("us")))[1].tolist() == [NO_ZONE]
    assert read_instants(pa.array([2**60], pa.timestamp("s", "UTC")))[1].tolist() == [UNREADABLE]


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.date32(), pa.bool_()], ids=str)
def test_other_types_are_no_instants(kind: Any) -> None:
    values = pa.array([0, None], pa.int32()).cast(kind)
    assert read_instants(values)[1].tolist() == [NO_TIME, NULL]


def test_encoded_text_is_read() -> None:
    text = pa.array(["2026-03-01T00:05:00Z", None, "2026-03-01T00:05:00Z"])
    for encoded in (text.dictionary_encode(), text.cast(pa.string_view()), run_end_encode(text)):
        found, problems = read_instants(encoded)
        assert problems.tolist() == [0, NULL, 0]
        assert found[0] == found[2] == micros(datetime(2026, 3, 1, 0, 5, tzinfo=UTC))
