"""JSON has no dates: text stays the text that it is, whatever it looks like and whichever file was read before it."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_assets.core.window import TimeWindow
from stream_assets.sources.files import FileEvents

START = datetime(2026, 3, 29, tzinfo=UTC)
DAY = TimeWindow(START, START + timedelta(days=1))
NOW = START + timedelta(days=2)

times = st.sampled_from(["00:12:00Z", "00:13:00.5Z", "00:14:00+00:00", "00:15:00.25+00:00", "02:16:00+02:00"])
words = st.sampled_from(
    ["2000-01-01", "2026-03-29T00:00:00Z", "2026-03-29T00:00:00.5Z", "2026-03-29 00:00:00", "none", ""]
)
rows = st.fixed_dictionaries(
    {"event_time": times.map("2026-03-29T{}".format), "arrival_time": times.map("2026-03-29T{}".format)},
    optional={
        "birthday": words,
        "due": words,
        "nested": st.fixed_dictionaries({}, optional={"at": words, "by": words}),
    },
)


def put(folder: Path, files: list[list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    written: dict[str, dict[str, Any]] = {}
    for number, lines in enumerate(files):
        objects = [{"event_id": f"{number}-{n}", **line} for n, line in enumerate(lines)]
        (folder / f"{number}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in objects))
        written |= {line["event_id"]: line for line in objects}
    return written


def is_in(written: Any, read: Any) -> bool:
    """Whether everything that was written is read as it was; a column that is missing there is null."""
    if isinstance(written, dict):
        return isinstance(read, dict) and all(
            is_in(value, read[name]) for name, value in written.items() if value != {}
        )
    return written == read


@settings(max_examples=120)
@given(files=st.lists(st.lists(rows, min_size=1, max_size=3), min_size=1, max_size=3))
def test_every_value_is_read_as_it_was_written(files: list[list[dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = put(Path(folder), files)
        batches = FileEvents(folder).read(DAY, now=NOW)
        read = {row["event_id"]: row for batch in batches for row in batch.to_pylist()}
    assert read.keys() == written.keys()
    for id, line in written.items():
        assert is_in(line, read[id]), (line, read[id])


def test_a_column_that_a_later_file_brings_leaves_the_times_as_they_are(tmp_path: Path) -> None:
    put(
        tmp_path,
        [
            [
                {
                    "event_time": "2026-03-29T00:12:00Z",
                    "arrival_time": "2026-03-29T00:12:01.5Z",
                    "birthday": "2000-01-01",
                }
            ],
            [{"event_time": "2026-03-29T00:13:00Z", "arrival_time": "2026-03-29T00:13:01Z", "birthday": "2000-01-02"}],
        ],
    )
    read = [row for batch in FileEvents(str(tmp_path)).read(DAY, now=NOW) for row in batch.to_pylist()]
    assert [row["event_time"] for row in read] == ["2026-03-29T00:12:00Z", "2026-03-29T00:13:00Z"]
    assert [row["birthday"] for row in read] == ["2000-01-01", "2000-01-02"]
