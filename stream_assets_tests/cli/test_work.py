"""plan, run, materialize, refresh, retry, pause and resume."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from stream_assets_tests.cli.conftest import Shell

RAISES = """
from stream_assets import consumer

@consumer(freshness="5 min", grain="5 min")
def orders(events):
    raise ValueError("no such luck")
"""


def test_a_command_that_has_no_memory_left_says_what_to_do(small: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("stream_assets.pipeline.pipeline.Pipeline.plan", full)
    answer = small("plan")
    assert answer.code == 1
    assert (
        answer.err
        == "Error: memory ran out: nothing is half done. Give the process more memory, or ask for a shorter range\n"
    )


def test_plan_says_what_is_due_and_runs_nothing(shell: Shell) -> None:
    planned = shell.json("plan")
    assert [(w["automation"], w["tables"], w["partitions"]) for w in planned["work"]] == [
        ("every_5_min", ["events", "orders"], 175),
        ("heal", ["events_daily", "report"], 1),
    ]
    assert "175 windows not there yet" in planned["work"][0]["reason"]
    assert {a["automation"] for a in planned["automations"]} == {"every_5_min", "daily", "heal"}
    assert planned == shell.json("plan")
    assert shell.json("files", "events")["files"] == []


def test_plan_in_words_has_the_reasons_and_the_arithmetic(shell: Shell) -> None:
    said = shell("plan").out
    assert "every_5_min: events, orders, 2026-03-10T00:00+0000 to 2026-03-10T14:30+0000 (175 windows)" in said
    assert "because 175 windows not there yet" in said
    assert "Worst lag 5 min cadence + 30 s settling" in said


def test_run_does_all_that_is_due_and_says_what_each_consumer_got(small: Shell) -> None:
    done = small.json("run")
    assert done["failed"] == 0
    got = {c["consumer"]: (c["published"], c["rows"], c["is_kept"]) for c in done["consumers"]}
    assert got == {"orders": (9, 9, True), "report": (0, 0, True)}
    again = small("run")
    assert again.code == 0
    assert "Nothing was due." in again.out


def test_run_outside_a_terminal_prints_plain_lines_as_work_is_done(small: Shell) -> None:
    said = small("run").out
    assert "every_5_min  2026-03-10T00:00+0000 to 2026-03-10T00:40+0000" in said
    assert "    events: 9 published," in said
    assert "\x1b" not in said


def test_run_ends_with_1_where_something_failed_and_the_rest_is_done(filled: Shell) -> None:
    filled.declare("orders", RAISES)
    filled.clock.advance(timedelta(minutes=5))
    answer = filled("run", "--json")
    assert answer.code == 1
    failures = [f for w in answer.facts["work"] for r in w["reports"] for f in r["failures"]]
    assert {f["key"] for f in failures} >= {"2026-03-10T00:45+0000"}
    assert "ValueError: no such luck" in failures[0]["error"]
    events = [r["published"] for w in answer.facts["work"] for r in w["reports"] if r["table"] == "events"]
    assert sum(events) == 1


def test_failures_are_shown_by_status_and_forgotten_by_retry(filled: Shell) -> None:
    filled.declare("orders", RAISES)
    for _ in range(4):
        filled.clock.advance(timedelta(minutes=5))
        filled("run")
    orders = next(c for c in filled.json("status")["consumers"] if c["consumer"] == "orders")
    again = filled("run")
    assert (again.code, "paused after failures" in again.out, "no such luck" in again.out) == (1, True, True)
    assert any(f["is_paused"] and f["tries"] == 3 and "no such luck" in f["error"] for f in orders["failures"])
    assert re.search(r"orders 2026-03-10T00:00\+0000 to \S+ \(\d+ partitions\) failed 3 times", filled("status").out)
    assert len(filled.json("retry", "orders")["cleared"]) == len(orders["failures"])
    assert filled.json("retry")["cleared"] == []
    assert filled("run").code == 1


def test_materialize_makes_equal_content_again_without_publishing_it(filled: Shell) -> None:
    for table, key in (("events", "2026-03-10T00:10"), ("events_daily", "2026-03-09"), ("report", "2026-03-09")):
        done = filled.json("materialize", table, "--from", key)
        assert [(r["unchanged"], r["published"]) for w in done["work"] for r in w["reports"]] == [(1, 0)], table
    done = filled.json("materialize", "orders", "--from", "2026-03-10T00:00", "--to", "2026-03-10T00:30")
    assert done["work"][0]["reports"][0]["unchanged"] == 6


def test_materialize_of_a_partition_key_as_dagster_writes_it(filled: Shell) -> None:
    done = filled.json("materialize", "orders", "--from", "2026-03-10T00:05+0000")
    assert done["work"][0]["first_key"] == done["work"][0]["last_key"] == "2026-03-10T00:05+0000"


def test_materialize_publishes_equal_content_again_where_its_file_is_gone(filled: Shell) -> None:
    for table, key in (("events", "2026-03-10T00:10"), ("orders", "2026-03-09T00:10"), ("events_daily", "2026-03-09")):
        path = filled("files", table, "--from", key).out.splitlines()[0]
        (filled.folder / path).unlink()
        assert filled.json("materialize", table, "--from", key)["work"][0]["reports"][0]["published"] == 1
        assert filled("verify", table, "--from", "2026-03-09", "--to", "2026-03-09T00:30").code == 0


def test_refresh_rebuilds_what_other_code_made(filled: Shell) -> None:
    source = (filled.consumers / "report.py").read_text()
    source = source.replace("[events.num_rows]", "[events.num_rows + 1]")
    filled.declare("report", source)
    assert filled("run").code == 0
    report = next(c for c in filled.json("status")["consumers"] if c["consumer"] == "report")
    assert report["stale_code"] == 1
    assert "stale: code in 1 partition; stream-assets refresh report" in filled("status").out
    assert filled.json("refresh", "report")["work"][0]["reports"][0]["published"] == 1
    assert "nothing to refresh" in filled("refresh", "report").out
    assert filled.json("sql", "select events from report")["rows"] == [{"events": 84601}]


def test_refresh_of_a_range_makes_it_again(filled: Shell) -> None:
    done = filled.json("refresh", "orders", "--from", "2026-03-09T01:00", "--to", "2026-03-09T02:00")
    assert done["work"][0]["reports"][0]["unchanged"] == 12


def test_a_paused_consumer_demands_nothing_until_it_is_resumed(filled: Shell) -> None:
    assert filled.json("pause", "orders")["is_paused"]
    assert "was paused already" in filled("pause", "orders").out
    filled.clock.advance(timedelta(minutes=10))
    assert filled.json("plan")["work"] == []
    assert "paused; its promise" not in filled("status").err
    status = next(c for c in filled.json("status")["consumers"] if c["consumer"] == "orders")
    assert status["paused_at"] == "2026-03-10T00:47:00+00:00"
    assert status["is_kept"]
    filled("resume", "orders")
    assert [w["partitions"] for w in filled.json("plan")["work"]] == [2]


def test_a_consumer_can_be_paused_before_the_first_run(shell: Shell) -> None:
    shell("pause", "orders")
    assert [w["tables"] for w in shell.json("plan")["work"]] == [["events_daily", "report"]]
