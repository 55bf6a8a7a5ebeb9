"""Names from strangers: folders, columns, ids and keys. None leaves its place, is obeyed, or becomes SQL."""

from __future__ import annotations

import json
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

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
    return {"event_id": f"e{minute}", "event_time": (NOW + timedelta(minutes=minute - 12)).isoformat(), **columns}


@pytest.mark.parametrize("name", ODD)
def test_a_lake_and_a_landing_folder_of_any_name_work(tmp_path: Path, name: str) -> None:
    shell = shop(tmp_path, event(1, amount=1), event(6, amount=2), landing=f"in {name}", lake=name)
    assert shell("run").code == 0
    assert shell.json("sql", "select count(*) as n, sum(amount) as a from events")["rows"] == [{"n": 2, "a": 3}]
    starts = shell.json("sql", "select sum(events) as n, min(day) as d, min(window_start) as s from orders")["rows"]
    assert starts == [{"n": 2, "d": "2026-03-10", "s": "2026-03-10T00:00:00+00:00"}]
    verified = shell("verify")
    assert verified.code == 0, verified.out
    assert {path.name for path in tmp_path.iterdir()} == {"consumers", f"in {name}", name}
