"""Raw rows as JSON say what the source said, whatever is in it and however many there are."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.events import raw

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                'a "name"\\': st.none() | st.text(),
                "number": st.none() | st.integers(-(2**63), 2**63 - 1),
                "ratio": st.none() | NUMBERS,
                "flag": st.none() | st.booleans(),
                "bytes": st.text(),
                "list": st.none() | st.lists(st.text() | st.none()),
            }
        )
    )
)
def test_every_value_comes_back(rows: list[dict[str, Any]]) -> None:
    kinds = (pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.binary(), pa.list_(pa.string()))
    names = ('a "name"\\', "number", "ratio", "flag", "bytes", "list")
    given_rows = [row | {"bytes": row["bytes"].encode()} for row in rows]
    batch = pa.RecordBatch.from_pylist(given_rows, schema=pa.schema(list(zip(names, kinds, strict=True))))
    assert [json.loads(text) for text in raw.as_json(batch).to_pylist()] == rows


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_what_is_no_number_in_json_is_text(kind: Any) -> None:
    floats = pa.array([1.5, float("nan"), float("-inf"), None], pa.float64()).cast(kind)
    found = raw.as_json(pa.RecordBatch.from_arrays([floats], ["x"])).to_pylist()
    assert [json.loads(text)["x"] for text in found] == [1.5, "nan", "-inf", None]


def test_columns_in_any_encoding_are_values() -> None:
    columns = {
        "coded": pa.array(["x", None, "x"]).dictionary_encode(),
        "view": pa.array(["x", None, "a longer text than a view holds"], pa.string_view()),
        "large": pa.array(["x", None, "y"], pa.large_string()),
        "null": pa.nulls(3),
    }
    found = raw.as_json(pa.RecordBatch.from_pydict(columns).slice(1)).to_pylist()
    assert [json.loads(text) for text in found] == [
        dict.fromkeys(columns),
        {"coded": "x", "view": "a longer text than a view holds", "large": "y", "null": None},
    ]


def test_rows_that_are_many_are_done_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = pa.RecordBatch.from_pydict({"id": list(range(1000)), "text": ["x"] * 1000})
    whole = raw.as_json(batch)
    monkeypatch.setattr(raw, "_BYTES_AT_ONCE", 1000)
    assert raw.as_json(batch).num_chunks > whole.num_chunks == 1
    assert raw.as_json(batch).to_pylist() == whole.to_pylist()
    assert raw.as_json(batch.slice(0, 0)).to_pylist() == []
