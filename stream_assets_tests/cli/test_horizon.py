"""`stream-assets horizon`: what it says, what it removes, what it refuses, and whom it asks before."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stream_assets.lake.ledger import Ledger
from stream_assets.testing import SettableClock
from stream_assets_tests.cli.conftest import Shell, new_shell

WRONG_USE, FAILED = 2, 1
NOW = datetime(2026, 3, 10, 0, 47, tzinfo=UTC)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of three sealed days that nobody needs windows of."""
    folder = tmp_path_factory.mktemp("sealed")
    shell = new_shell(folder, NOW, STREAM_ASSETS_START="2026-03-07", STREAM_ASSETS_SOURCE="synthetic:?rate=0.01")
    (shell.consumers / "orders.py").unlink()
    assert shell("run").code == 0
    return folder


@pytest.fixture
def old(sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """That lake, for one test; no Dagster instance is near."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    shutil.copytree(sealed, tmp_path, dirs_exist_ok=True)
    shell = Shell(tmp_path, SettableClock(NOW))
    shell.env = {
        "STREAM_ASSETS_SOURCE": "synthetic:?rate=0.01",
        "STREAM_ASSETS_LAKE": str(shell.lake),
        "STREAM_ASSETS_CONSUMERS": str(shell.consumers),
    }
    assert shell("split").code == 0
    return shell


def test_it_says_how_many_keys_there_are_and_what_would_go(old: Shell) -> None:
    facts = old.json("horizon", "--to", "2026-03-09")
    assert {k: v for k, v in facts.items() if k != "move"} == {
        "timezone": "UTC",
        "windows_from": "2026-03-07T00:00:00+00:00",
        "first_key": "2026-03-07T00:00+0000",
        "keys": 3 * 288 + 9,
        "tables": ["events"],
        "many_keys": 90_000,
        "many_keys_on": "2027-01-13",
        "most_keys": 100_000,
        "most_keys_on": "2027-02-17",
        "advanced": False,
        "instance": None,
    }
    assert facts["move"] == {
        "day": "2026-03-09", "first_key": "2026-03-09T00:00+0000", "removed_keys": 576, "keys": 297, "refused": None,
    }  # fmt: skip
    said = old("horizon", "--to", "2026-03-09").out
    assert "5-minute keys begin at 2026-03-07T00:00+0000: 873 keys an asset (events)." in said
    assert "They reach 90,000 on 2027-01-13, 100,000 on 2027-02-17" in said
    assert "--advance --to 2026-03-09 would remove 576 keys of each, and leave 297. It cannot be taken back." in said
    assert "Files stay: older events are read from days" in said


def test_alone_it_would_keep_the_newest_300_days(old: Shell) -> None:
    assert "Nothing would go by --advance --to 2026-03-07." in old("horizon").out
    old.clock.set(datetime(2027, 1, 14, 0, 47, tzinfo=UTC))
    facts = old.json("horizon")
    assert facts["keys"] > 90_000
    assert facts["move"]["day"] == "2026-03-20"
    assert "events_daily 2026-03-10 (and 9 more) is not sealed" in facts["move"]["refused"]
    assert "--advance --to 2026-03-20 would be refused: events_daily" in old("horizon").out
    assert "stream-assets horizon" in old("doctor").out


def test_advancing_removes_keys_and_no_file_and_again_nothing(old: Shell) -> None:
    before = old.json("sql", "select count(*) as n from events")
    files = sorted(old.lake.rglob("*.parquet"))
    answer = old("horizon", "--advance", "--to", "2026-03-09", "--without-dagster")
    assert (answer.code, answer.err) == (0, "")
    assert "5-minute keys begin at 2026-03-09T00:00+0000: 297 keys an asset (events)." in answer.out
    assert "576 keys of each are removed." in answer.out
    assert "reload the code location in Dagster's UI" in answer.out
    assert "No Dagster instance was asked" in answer.out
    assert old.json("status")["windows_from"] == "2026-03-09T00:00:00+00:00"
    assert old.json("plan")["work"] == []
    assert old.json("sql", "select count(*) as n from events") == before
    assert sorted(old.lake.rglob("*.parquet")) == files
    again = old.json("horizon", "--advance", "--to", "2026-03-09", "--without-dagster")
    assert (again["advanced"], again["move"]["removed_keys"], again["keys"]) == (False, 0, 297)
    for command in ("verify", "explain report", "files events", "doctor", "ledger check"):
        assert old(*command.split()).code == 0, command
    said = old("materialize", "events", "--from", "2026-03-08").err
    assert "events 2026-03-08T00:00+0000: its first partition is 2026-03-09T00:00+0000" in said
    assert "Older events are in days alone (`stream-assets horizon`)" in said
    assert old("materialize", "events_daily", "--from", "2026-03-08").code == 0


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        pytest.param("--to 2026-02-30", "'2026-02-30' is no instant: write 2026-03-01", id="not on the calendar"),
        pytest.param("--to 2026-03-08T12:00", "is no local midnight in UTC: name a day, like 2026-03-07", id="noon"),
        pytest.param("--to 2026-03-06", "5-minute keys begin on 2026-03-07, and never earlier again", id="earlier"),
        pytest.param("--to 2026-03-10", "the live span begins on 2026-03-09", id="the live span"),
        pytest.param("--to 2026-03-09", "there is no Dagster instance in .dagster_home", id="nobody to ask"),
        pytest.param("--to 2026-03-09 --instance-from nix", "there is no Dagster instance in nix that could say", id="none there"),
    ],
)  # fmt: skip
def test_what_it_refuses(old: Shell, args: str, sentence: str) -> None:
    answer = old("horizon", "--advance", *args.split())
    assert (answer.code, answer.out) == (WRONG_USE, "")
    assert sentence in answer.err
    assert old.json("status")["windows_from"] == "2026-03-07T00:00:00+00:00"


def test_the_instance_is_asked_by_the_face_that_knows_dagster(old: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    answers = [(0, json.dumps(["backfill abc (requested) fills events", "another"])), (1, ""), (0, "[]")]

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        code, out = answers[len(asked)]
        asked.append(command)
        return subprocess.CompletedProcess(command, code, out)

    monkeypatch.setattr(subprocess, "run", run)
    Ledger(old.lake / "_ledger.sqlite").register("theirs", "5 min", None)
    home = old.folder / "home"
    home.mkdir()
    call = ("horizon", "--advance", "--to", "2026-03-09")
    busy = old(*call, DAGSTER_HOME=str(home))
    assert busy.code == WRONG_USE
    assert "backfill abc (requested) fills events (and 1 more), before 2026-03-09: wait until it is done" in busy.err
    broken = old(*call, "--instance-from", str(home))
    assert broken.code == FAILED
    assert f"the Dagster instance in {home} could not be asked, and nothing was changed" in broken.err
    assert old.json("status")["windows_from"] == "2026-03-07T00:00:00+00:00"
    done = old(*call, "--json", DAGSTER_HOME=str(home)).facts
    assert (done["advanced"], done["instance"]) == (True, str(home))
    assert (
        asked
        == [
            [
                sys.executable,
                "-m",
                "stream_assets.defs.targets",
                str(home),
                "UTC",
                "2026-03-09T00:00:00+00:00",
                "events",
                "theirs",
            ]
        ]
        * 3
    )


def test_keys_of_a_finished_history_end_with_it(old: Shell) -> None:
    old.env["STREAM_ASSETS_END"] = "2026-03-09"
    facts = old.json("horizon")
    assert (facts["keys"], facts["many_keys_on"], facts["most_keys_on"]) == (2 * 288, None, None)
    assert "90,000" not in old("horizon").out
