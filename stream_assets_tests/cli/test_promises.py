"""What `status` and `run` say of a promise: nothing is kept where nothing is, and kept is not whole."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from stream_assets_tests.cli.conftest import Shell
from stream_assets_tests.cli.test_work import RAISES


def standing(facts: dict[str, Any], name: str) -> dict[str, Any]:
    return next(c for c in facts["consumers"] if c["consumer"] == name)


def row(said: str, name: str) -> str:
    """The line of the table of consumers."""
    return next(line for line in said.splitlines() if line.startswith(f"{name}  "))


def break_source(shell: Shell) -> None:
    """Let the only file of the landing folder be no JSON, of which nobody knows to what time it belongs."""
    folder = shell.folder / "landing"
    folder.mkdir()
    (folder / "1.jsonl").write_text("broken\n")
    at = shell.clock.now().timestamp()
    os.utime(folder / "1.jsonl", (at, at))
    shell.env["STREAM_ASSETS_SOURCE"] = f"file://{folder}"


def test_a_promise_is_not_kept_where_every_day_has_failed(shell: Shell) -> None:
    break_source(shell)
    ran = shell("run", "--json")
    assert ran.code == 1
    for facts in (ran.facts, shell.json("status")):
        for name in ("orders", "report"):
            found = standing(facts, name)
            assert (found["is_kept"], found["is_empty"], found["is_awaited"]) == (False, True, False)
            assert (found["complete_through"], found["lag_seconds"]) == (None, None)
            assert found["standing"].endswith("nothing is there yet, broken")
    for command in ("run", "status"):
        assert "BROKEN, nothing is there yet" in row(shell(command).out, "report")
    assert "now data at most 30 hours old (24 + 6): nothing is there yet, broken" in shell("explain", "report").out


def test_work_in_which_something_failed_is_not_done(shell: Shell) -> None:
    break_source(shell)
    assert shell("run").code == 1
    works = {w["automation"]: (w["state"], w["error"]) for w in shell.json("status")["recent_work"]}
    assert works["heal"] == ("failed", "events_daily: 1 of 1 partition(s) failed")
    assert not [state for state, _ in works.values() if state == "done"]


def test_work_that_goes_on_after_a_failure_says_how_much_failed(filled: Shell) -> None:
    filled.declare("orders", RAISES)
    filled.clock.advance(timedelta(minutes=5))
    assert filled("run").code == 1
    work = filled.json("status")["recent_work"]
    failed = next(w for w in work if w["tables"] == ["events", "orders"])
    assert failed["state"] == "failed"
    assert failed["error"].startswith("orders: ")
    (stream,) = filled.json("status")["streams"]
    assert stream["windows"][-1]["end"] == "2026-03-10T00:50:00+00:00"


def test_a_finished_history_that_was_never_run_is_awaited_and_later_broken(shell: Shell) -> None:
    shell.env |= {"STREAM_ASSETS_START": "2026-03-01", "STREAM_ASSETS_END": "2026-03-05"}
    first_seen = shell.clock.now()
    for name, limit in (("orders", timedelta(minutes=7, seconds=30)), ("report", timedelta(hours=30))):
        found = standing(shell.json("status"), name)
        assert (found["is_kept"], found["is_awaited"], found["complete_through"]) == (False, True, None)
        shell.clock.set(first_seen + limit)
        assert "awaited, nothing is there yet" in row(shell("status").out, name)
        shell.clock.advance(timedelta(seconds=1))
        assert "BROKEN, nothing is there yet" in row(shell("status").out, name)
    done = shell.json("run")
    assert [(c["stands"], c["lag_seconds"]) for c in done["consumers"]] == [("kept", 0.0), ("kept", 0.0)]


def test_the_line_that_says_kept_says_how_many_holes_there_are(filled: Shell) -> None:
    assert standing(filled.json("status"), "report")["stands"] == "kept"
    filled.clock.advance(timedelta(days=3))
    for table in ("events_daily", "report"):
        assert filled("materialize", table, "--from", "2026-03-12").code == 0
    found = standing(filled.json("status"), "report")
    assert found["is_kept"]
    assert found["stands"] == "kept, 1 older hole"
    assert found["standing"].endswith(", 1 older hole")
    assert "kept, 1 older hole" in row(filled("status").out, "report")
