"""Names from strangers: folders, columns, ids and keys. None leaves its place, is obeyed, or becomes SQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_assets.core.window import GRAINS, Calendar
from stream_assets.defs.facts import LONGEST_CELL, PREVIEW_COLUMNS, _content
from stream_assets.errors import LakeError, UsageError
from stream_assets.lake.layout import Layout
from stream_assets_tests.cli.conftest import Shell, new_shell

NOW = datetime(2026, 3, 10, 0, 12, tzinfo=UTC)
ODD = [
    "it's \"quoted\"", "day=2026-03-01", "window_start=x", "new\nline", "\x1b[31mred", "شارع 🚚", "a;b $(touch owned) `c`", "[1-2]*?{a,b}",
    "%2e%2e", "file:x", "--option", "back\\slash", "#frag?x=1",
]  # fmt: skip


def shop(folder: Path, *rows: dict[str, object], landing: str = "landing", lake: str = "lake") -> Shell:
    """A lake of two windows, filled from one file."""
    where = folder / landing
    where.mkdir(parents=True)
    (where / "1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    url = f"file://{quote(str(where))}?lateness=1min"
    return new_shell(
        folder, NOW, STREAM_ASSETS_SOURCE=url, STREAM_ASSETS_LAKE=str(folder / lake), STREAM_ASSETS_START="2026-03-10"
    )


def event(minute: int, **columns: object) -> dict[str, object]:
    at = NOW + timedelta(minutes=minute - 12)
    return {"event_id": f"e{minute}", "event_time": at.isoformat(), "amount": 1, **columns}


@pytest.mark.parametrize("name", ODD)
def test_a_lake_and_a_landing_folder_of_any_name_work(tmp_path: Path, name: str) -> None:
    shell = shop(tmp_path, event(1), event(6, amount=2), landing=f"in {name}", lake=name)
    assert shell("run").code == 0
    assert shell.json("sql", "select count(*) as n, sum(amount) as a from events")["rows"] == [{"n": 2, "a": 3}]
    starts = shell.json("sql", "select sum(events) as n, min(day) as d, min(window_start) as s from orders")["rows"]
    assert starts == [{"n": 2, "d": "2026-03-10", "s": "2026-03-10T00:00:00+00:00"}]
    verified = shell("verify")
    assert verified.code == 0, verified.out
    assert {path.name for path in tmp_path.iterdir()} == {"consumers", f"in {name}", name}


@pytest.mark.parametrize("name", ODD)
def test_names_of_files_are_no_paths_and_no_commands(tmp_path: Path, name: str) -> None:
    shell = shop(tmp_path, event(1))
    file = tmp_path / "landing" / f"{name}.jsonl"
    file.write_text(json.dumps(event(6)) + "\n")
    assert shell("run").code == 0
    assert shell.json("sql", "select count(*) as n from events")["rows"] == [{"n": 2}]
    file.write_text("no json\n")
    for answer in (shell("run"), shell("status"), shell("verify")):
        assert all(c.isprintable() or c == "\n" for c in answer.out + answer.err)
    assert {path.name for path in tmp_path.iterdir()} == {"consumers", "landing", "lake"}


COLUMNS = [
    'a"b',
    "a'b",
    "a b",
    "x; drop view events; --",
    "[31m",
    "../../up",
    "select",
    "filename",
    "stream_assets.file",
    "é",
    "🚚",
    "<b>",
    "%s",
    "{0}",
]


def test_columns_of_any_name_are_quoted_wherever_sql_is_made(tmp_path: Path) -> None:
    shell = shop(tmp_path, event(1, **{name: place for place, name in enumerate(COLUMNS)}), event(6))
    reads = ["event_id", *COLUMNS]
    shell.declare(
        "relation",
        "import duckdb, pyarrow as pa\nfrom stream_assets import consumer\n"
        f'@consumer(freshness="5 min", grain="5 min", reads={{"events": {reads!r}}})\n'
        'def relation(events: "duckdb.DuckDBPyRelation") -> "duckdb.DuckDBPyRelation":\n    return events\n',
    )
    ran = shell("run")
    assert ran.code == 0, ran.err
    for table in ("events", "relation"):
        (row,) = shell.json("sql", f"select * from {table} where event_id = 'e1'")["rows"]
        assert {name: row[name] for name in COLUMNS} == {name: place for place, name in enumerate(COLUMNS)}
    assert shell("verify").code == 0


def test_a_terminal_obeys_no_value_name_or_id(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\n\r\u202e"
    shell = shop(tmp_path, {**event(1, note=evil, **{f"c{evil}": "x" * 5000}), "event_id": f"e{evil}"})
    assert shell("run").code == 0
    said = shell("sql", "select * from events")
    assert all(c.isprintable() or c == "\n" for c in said.out)
    assert len(said.out.splitlines()) == 2
    assert r"\x1b]0;owned\x07\n\r\u202e" in said.out
    assert "characters left out" in said.out
    assert shell.json("sql", "select note from events")["rows"] == [{"note": evil}]


@pytest.mark.parametrize(
    "key",
    [
        "../../x",
        "/etc",
        "2026-03-10/../..",
        "2026-03-10T00:05\0",
        "'; drop table current; --",
        "\uff12\uff10\uff12\uff16-03-10",
    ],
)
def test_a_key_that_is_none_reaches_no_path_and_no_sql(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError, match="no partition key"):
        Calendar().parse_key(key, "day")
    layout = Layout(tmp_path, Calendar())
    day = Calendar().parse_key("2026-03-10", "day")
    for grain in GRAINS:
        with pytest.raises(LakeError, match="is no table name"):
            layout.partition(key, grain, day)


def test_what_a_stranger_writes_is_never_markdown_in_the_ui(tmp_path: Path) -> None:
    evil = "[click](javascript:alert(1)) <img src=x onerror=alert(1)> " + "x" * 10_000
    file = tmp_path / "part.parquet"
    pq.write_table(pa.table({evil: [evil], **{f"c{n}": [n] for n in range(100)}}), file)
    shown = _content(file, {})
    assert {type(value).__name__ for value in shown.values()} == {"TableMetadataValue", "TableSchema"}
    (record,) = shown["preview"].records
    assert len(record.data) == PREVIEW_COLUMNS
    assert all(len(str(text)) < 2 * LONGEST_CELL for pair in record.data.items() for text in pair)
