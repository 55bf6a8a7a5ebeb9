"""status, explain, files, sql and verify: what they tell, as JSON and in words."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from stream_assets.pipeline.prove import Lane
from stream_assets_tests.cli.conftest import Shell


def test_status_says_how_every_consumer_and_stream_stands(filled: Shell) -> None:
    facts = filled.json("status")
    orders, report = facts["consumers"]
    assert (orders["complete_through"], orders["lag_seconds"]) == ("2026-03-10T00:45:00+00:00", 120)
    assert report["complete_through"] == "2026-03-10T00:00:00+00:00"
    (stream,) = facts["streams"]
    assert stream["watermark"] == "2026-03-10T00:46:30+00:00"
    assert stream["days"] == [{"start": "2026-03-09T00:00:00+00:00", "end": "2026-03-10T00:00:00+00:00"}]
    assert stream["rejected_rows"] == 0
    assert {w["state"] for w in facts["recent_work"]} == {"done"}
    assert all(w["cpu_seconds"] > 0 for w in facts["recent_work"])


def test_status_in_words_names_a_broken_promise_and_holes(filled: Shell) -> None:
    filled.clock.advance(timedelta(hours=1))
    said = filled("status").out
    assert "BROKEN" in said
    assert "complete through" in said


def test_explain_says_lane_arithmetic_boundaries_and_readers(filled: Shell) -> None:
    filled.declare(
        "totals",
        "from stream_assets import consumer\n"
        "@consumer(freshness='15 min')\ndef totals(orders):\n    return orders[['events']].sum().to_frame().T\n",
    )
    facts = filled.json("explain", "orders")
    assert (facts["lane"], facts["automation"], facts["grain"]) == ("micro-batch", "every_5_min", "5 min")
    assert facts["reads"] == [
        {
            "name": "events",
            "table": "events",
            "is_stream": True,
            "drift": "evolve",
            "columns": ["event_id", "amount"],
            "arrives_as": "arrow",
        }
    ]
    assert [(b["automation"], b["next"], b["next_looked_for_at"]) for b in facts["boundaries"]] == [
        ("every_5_min", "2026-03-10T00:50:00+00:00", "2026-03-10T00:50:30+00:00"),
        ("every_15_min", "2026-03-10T01:00:00+00:00", "2026-03-10T01:00:30+00:00"),
    ]
    assert [r["consumer"] for r in facts["readers"]] == ["totals"]
    assert "Worst lag 5 min cadence" in filled("explain", "orders").out


def test_lateness_says_how_late_events_come_and_what_an_allowance_leaves(done: Shell) -> None:
    (stream,) = done.json("lateness", "events")["streams"]
    assert (stream["events"], stream["known"]) == (87_300, 87_300)
    assert (stream["start"], stream["end"]) == ("2026-03-09T00:00:00+00:00", "2026-03-10T00:45:00+00:00")
    assert 0 < stream["p50_seconds"] <= stream["p99_seconds"] <= stream["p999_seconds"] <= stream["max_seconds"]
    assert [a["allowed_seconds"] for a in stream["allowances"]] == [0, 60, 300, 3600]
    (row,) = done.json(
        "sql",
        "select count(*) filter (arrival_time > time_bucket(interval '5 min', event_time) + interval '5 min') late from events",
    )["rows"]
    assert stream["allowances"][0]["left"] == row["late"] > 0
    assert stream["allowed"] == {"seconds": 30, "rule": None, "why": None}
    said = done("lateness").out
    assert "events: 30 s are allowed" in said
    assert "1 min" in said
    answer = done("lateness", "nowhere")
    assert (answer.code, "there is no stream 'nowhere'" in answer.err) == (2, True)


def test_status_and_explain_say_which_lateness_was_learned_and_why(filled: Shell) -> None:
    url = "synthetic:?rate=1&lateness=auto(p=0.99,max=1h)"
    (stream,) = filled("status", "--json", STREAM_ASSETS_SOURCE=url).facts["streams"]
    assert stream["lateness"]["rule"] == "auto(p=0.99,max=1 hour)"
    assert stream["settling_seconds"] == stream["lateness"]["seconds"] < 60
    assert "events came later than that" in stream["lateness"]["why"]
    assert stream["lateness"]["why"] in stream["source"]
    assert stream["late_events"] == "the source names the windows that they touch"
    said = filled("explain", "orders", STREAM_ASSETS_SOURCE=url).out
    assert f"Lateness of events is auto(p=0.99,max=1 hour): {stream['lateness']['seconds']:g} s" in said


def test_files_of_a_stream_hold_each_event_once(done: Shell) -> None:
    paths = [Path(line) for line in done("files", "events").out.splitlines()]
    assert all(path.is_file() for path in paths)
    assert [path.parts[-2] for path in paths][:2] == ["day=2026-03-09", "window_start=20260310T0000Z"]
    assert len(paths) == 1 + 9
    assert len(done("files", "orders", "--from", "2026-03-10").out.splitlines()) == 9
    facts = done.json("files", "events", "--from", "2026-03-09T12:00", "--to", "2026-03-09T13:00")
    assert [f["wanted"] for f in facts["files"]] == [
        [{"start": "2026-03-09T12:00:00+00:00", "end": "2026-03-09T13:00:00+00:00"}]
    ]


def test_sql_sees_each_event_once_and_the_partitions_of_consumers(done: Shell) -> None:
    (row,) = done.json("sql", "select count(*) n, count(distinct event_id) ids, max(day) as last from events")["rows"]
    assert row["n"] == row["ids"] == 84_600 + 2_700
    assert row["last"] == "2026-03-10"
    (row,) = done.json("sql", "select count(*) n, sum(events) events, min(window_start) first from orders")["rows"]
    assert row == {"n": 297, "events": 87_300, "first": "2026-03-09T00:00:00+00:00"}
    (row,) = done.json(
        "sql",
        "select e.n, r.events from report r join (select day, count(*) n from events_daily group by all) e using (day)",
    )["rows"]
    assert row == {"n": 84_600, "events": 84_600}


def test_sql_as_csv_and_as_a_table(done: Shell) -> None:
    query = "select day, events from report"
    answer = done("sql", query, "--format", "csv")
    assert list(csv.DictReader(io.StringIO(answer.out))) == [{"day": "2026-03-09", "events": "84600"}]
    assert done("sql", query).out == "day         events\n2026-03-09  84,600\n"
    assert done("sql", query, "--format", "json").facts["row_count"] == 1


def test_sql_in_a_lake_below_folders_that_look_like_keys(filled: Shell) -> None:
    moved = filled.folder / "env=test" / "lake"
    moved.parent.mkdir()
    filled.lake.rename(moved)
    answer = filled("sql", "select * from report", "--json", STREAM_ASSETS_LAKE=str(moved))
    assert [c["name"] for c in answer.facts["columns"]] == ["events", "day"]


def test_sql_of_a_table_without_partitions(shell: Shell) -> None:
    assert shell.json("sql", "select count(*) n from events")["rows"] == [{"n": 0}]
    for query, table in (("select * from report", "report"), ("select country from events", "events")):
        answer = shell("sql", query)
        assert (answer.code, f"{table} has no partition yet" in answer.err) == (1, True)
    assert "the query is wrong" in shell("sql", "select event_id, count(*) from events").err


def test_two_consumers_of_which_one_is_named_like_days_of_the_other(small: Shell) -> None:
    source = (small.consumers / "orders.py").read_text()
    small.declare(
        "orders_daily", source.replace("def orders(", "def orders_daily(").replace('grain="5 min"', 'grain="day"')
    )
    assert small("run").code == 0
    assert [Path(line).parts[-4] for line in small("files", "orders").out.split()] == ["orders"] * 9


def test_verify_agrees_after_a_run_and_names_what_is_lost(filled: Shell) -> None:
    facts = filled.json("verify")
    assert (facts["is_good"], facts["windows"], facts["rows"], facts["source_queries"]) == (True, 297, 87_300, 2)
    path = Path(filled("files", "orders").out.splitlines()[3])
    path.unlink()
    answer = filled("verify", "orders")
    assert answer.code == 1
    assert "is not there" in answer.out
    mend = "verify orders --from 2026-03-09T00:15+0000 --to 2026-03-09T00:20+0000 --mend"
    assert f"mend: stream-assets {mend}" in answer.out
    mended = filled(*mend.split(), "--json")
    assert (mended.code, mended.facts["is_good"], mended.facts["differences"]) == (0, True, [])
    assert [d["check"] for d in mended.facts["before"]] == ["receipt"]
    assert [(m["table"], m["is_done"]) for m in mended.facts["mended"]] == [("orders", True)]
    path.unlink(missing_ok=True)
    (path.parent / "copy.parquet").write_bytes(b"")
    answer = filled("verify", "orders", "--mend")
    assert answer.code == 1
    assert "out of the lake" in answer.out
    (path.parent / "copy.parquet").unlink()
    assert filled("verify", "orders", "--deep").code == 0


@pytest.mark.parametrize(("table", "number"), [("orders", 3), ("events", 0), ("events_daily", 0)])
def test_a_file_that_is_lost_is_named_by_sql_and_files_with_what_to_do(filled: Shell, table: str, number: int) -> None:
    path = Path(filled("files", table).out.splitlines()[number])
    path.unlink()
    answer = filled("sql", f"select count(*) from {table}")
    assert (answer.code, answer.out) == (1, "")
    assert f"{path.relative_to(filled.lake)} is not there" in answer.err
    assert f"un `stream-assets verify {table}" in answer.err
    answer = filled("files", table)
    assert answer.code == 1
    assert answer.out.splitlines()[number] == str(path)
    assert answer.err == f"{path} is not there: run `stream-assets verify {table}`\n"
    answer = filled("files", table, "--json")
    assert (answer.code, answer.facts["lost"]) == (1, [str(path)])


def test_a_damaged_file_is_named_by_sql_with_what_to_do(filled: Shell) -> None:
    path = Path(filled("files", "events_daily").out.splitlines()[0])
    path.write_bytes(b"rubbish that is longer than a footer")
    answer = filled("sql", "select count(*) from events")
    assert (answer.code, answer.out) == (1, "")
    assert path.name in answer.err
    assert answer.err.endswith("run `stream-assets verify`\n")


@pytest.fixture
def few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The micro-batch lane looks twice a day."""
    lanes = (Lane("batch", timedelta(days=1)), Lane("micro-batch", timedelta(hours=12)))
    monkeypatch.setattr("stream_assets.pipeline.prove.LANES", lanes)


@pytest.mark.usefixtures("few_looks")
def test_prove_says_what_each_lane_did_and_that_they_are_equal(shell: Shell) -> None:
    shell.env["STREAM_ASSETS_SOURCE"] = "synthetic:?rate=0.002&late_share=0.2"
    assert shell("run").code == 0
    facts = shell.json("prove", "report", "--from", "2026-03-09", "--to", "2026-03-10")
    assert (facts["consumer"], facts["is_equal"], facts["differences"]) == ("report", True, [])
    batch, micro = facts["lanes"]
    assert (batch["name"], micro["name"]) == ("batch", "micro-batch")
    assert batch["partitions"] == micro["partitions"] == batch["rows"] == micro["rows"] == 1
    assert micro["runs"] > batch["runs"]
    assert facts["events"] > 100


@pytest.mark.usefixtures("few_looks")
def test_prove_names_what_a_function_that_is_not_pure_made(shell: Shell) -> None:
    shell.env["STREAM_ASSETS_SOURCE"] = "synthetic:?rate=0"
    source = (shell.consumers / "report.py").read_text()
    shell.declare("report", source.replace("[events.num_rows], pa.int64()", "[__import__('time').time_ns()]"))
    assert shell("run").code == 0
    answer = shell("prove", "report")
    assert answer.code == 1, answer.err
    assert "rows differ: 1 missing, 1 extra" in answer.out or "rows differ: 1 changed" in answer.out
    assert "Not equal: 1 difference. Is the function pure?" in answer.out


@pytest.mark.usefixtures("few_looks")
def test_prove_says_that_what_no_lane_could_make_is_not_proved(shell: Shell) -> None:
    shell.env["STREAM_ASSETS_SOURCE"] = "synthetic:?rate=0"
    source = (shell.consumers / "report.py").read_text()
    shell.declare("report", source.replace("[events.num_rows], pa.int64()", "[1 // 0]"))
    assert shell("run").code == 1
    answer = shell("prove", "report")
    assert answer.code == 1, answer.err
    assert "the function raised ZeroDivisionError" in answer.out
    assert "Not proved, since what is said above could not be made" in answer.out
    assert "pure" not in answer.out


def test_adopt_is_handed_to_the_face_that_knows_dagster(monkeypatch, shell: Shell) -> None:
    calls: list[list[str]] = []

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(subprocess, "run", run)
    assert shell("adopt", "--json", "orders", "--from", "2026-03-09").code == 1
    assert calls == [[sys.executable, "-m", "stream_assets.defs.adopt", "--json", "orders", "--from", "2026-03-09"]]
