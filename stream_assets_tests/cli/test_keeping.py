"""compact, retain and history: what is not kept goes, and what was done stays told."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from stream_assets.core.planning import Work
from stream_assets.core.window import Calendar
from stream_assets.lake.ledger import Ledger
from stream_assets_tests.cli.conftest import Shell

TEN = Calendar().day(date(2026, 3, 10))


def files(shell: Shell, table: str) -> int:
    return len(list((shell.lake / table).rglob("*.parquet")))


def test_compact_seals_days_and_nothing_else_and_removes_the_files_of_their_windows(filled: Shell) -> None:
    filled.clock.advance(timedelta(days=1))
    done = filled.json("compact")
    assert [(w["tables"], w["first_key"], w["last_key"]) for w in done["work"]] == [
        (["events_daily"], "2026-03-10", "2026-03-10")
    ]
    assert (files(filled, "events"), files(filled, "report")) == (9, 1)
    filled.clock.advance(timedelta(days=7))
    planned = filled.json("plan")["work"]
    assert [(w["tables"], w["removes"]) for w in planned if w["removes"]] == [(["events"], "windows")]
    done = filled.json("compact")
    removed = [r for w in done["work"] if w["removes"] for r in w["reports"]]
    assert [(r["table"], r["removed"], r["failed"]) for r in removed] == [("events", 9, 0)]
    assert (files(filled, "events"), files(filled, "report")) == (0, 1)
    assert "no file of a window has to go" in filled("compact").out


WINDOWS = "events, 2026-03-10T00:00+0000 to 2026-03-10T23:55+0000: files of windows whose day is sealed are kept 7 days"


@pytest.mark.parametrize("command", ["compact", "retain"])
def test_what_has_to_go_and_waits_is_said_with_what_it_waits_for(filled: Shell, command: str) -> None:
    filled.clock.advance(timedelta(days=1))
    filled("run")
    filled.clock.advance(timedelta(days=7))
    hold(filled, "report")
    answer = filled(command)
    assert answer.code == 0
    assert f"Waits: {WINDOWS}; work in flight fills or reads it" in answer.out
    assert "has to go" not in answer.out
    (waits,) = filled.json(command)["waiting"]
    assert (waits["tables"], waits["removes"]) == (["events"], "windows")
    filled.clock.advance(timedelta(minutes=10))
    now, work = filled.clock.now(), Ledger(filled.lake / "_ledger.sqlite").work
    work.fail("_events", TEN, "no such disk", now, transient=True)
    again = f"tried again at {now + timedelta(seconds=30):%H:%M:%S}Z, since it failed: no such disk"
    assert f"Waits: {WINDOWS}; {again}" in filled(command).out
    filled.clock.advance(timedelta(minutes=1))
    assert "events: 9 removed" in filled(command).out
    assert "has to go" in filled(command).out


def test_compact_says_that_a_closed_day_is_not_sealed_where_it_cannot_be(filled: Shell) -> None:
    filled.clock.advance(timedelta(days=1))
    hold(filled, "events_daily")
    assert (
        "1 closed day is not sealed (`stream-assets status` says why), and no file of a window has to go."
        in filled("compact").out
    )


def hold(shell: Shell, table: str) -> None:
    """Let somebody be about to make the 10th of `table`, for five minutes."""
    work = Work("heal", "day", TEN, (table,), is_catch_up=False, reason="because")
    Ledger(shell.lake / "_ledger.sqlite").work.request(work, shell.clock.now())


def test_retain_removes_what_is_not_kept_and_says_so(filled: Shell) -> None:
    assert "Nothing has to go." in filled("retain").out
    filled.clock.advance(timedelta(days=1))
    filled("run")
    filled.clock.advance(timedelta(days=1))
    filled("run")
    answer = filled("retain", STREAM_ASSETS_KEEP="2 days")
    assert answer.code == 0
    assert "events_daily: 1 removed" in answer.out
    assert sorted(p.name for p in (filled.lake / "events_daily").iterdir()) == ["day=2026-03-10", "day=2026-03-11"]
    assert sorted(p.name for p in (filled.lake / "report").iterdir())[0] == "day=2026-03-09"
    assert filled("verify", STREAM_ASSETS_KEEP="2 days").code == 0
    refused = filled("materialize", "events_daily", "--from", "2026-03-09", "--to", "2026-03-10")
    assert refused.code == 2
    assert "not kept any more" in refused.err


def test_history_says_by_day_what_was_done_and_what_it_cost(filled: Shell) -> None:
    facts = filled.json("history")
    tables = {t["table"]: t for t in facts["tables"]}
    assert {t["day"] for t in facts["tables"]} == {"2026-03-10"}
    assert (tables["events"]["first"], tables["events"]["again"]) == (9, 0)
    assert sum(w["runs"] for w in facts["work"]) > 0
    assert "events_daily" in filled("history").out
    filled.clock.advance(timedelta(days=30))
    assert "Nothing was done." in filled("history").out
