"""`rejected list` and `rejected release`, and what `status` and `explain` say of columns that change."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stream_assets_tests.cli.conftest import Shell, new_shell

NAIVE = '{"event_id": "b", "event_time": "2026-03-10 00:07", "amount": 3}'


@pytest.fixture
def shop(tmp_path: Path) -> Shell:
    """A lake of the files of a folder, 00:22 of its first day; one of four rows has a time without a zone."""
    landing = tmp_path / "landing"
    landing.mkdir()
    rows = [{"event_id": f"g{n}", "event_time": f"2026-03-10T00:0{n}:00Z", "amount": n} for n in (1, 6, 8)]
    (landing / "1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + NAIVE + "\n")
    now = datetime(2026, 3, 10, 0, 22, tzinfo=UTC)
    env = {"STREAM_ASSETS_START": "2026-03-10", "STREAM_ASSETS_SOURCE": f"file://{landing}"}
    shell = new_shell(tmp_path, now, **env)
    assert shell("run").code == 0
    return shell


def test_rejected_rows_are_listed_by_window_and_reason(shop: Shell) -> None:
    (stream,) = shop.json("rejected", "list", "--rows")["streams"]
    assert (stream["stream"], stream["rows"]) == ("events", 1)
    (window,) = stream["windows"]
    assert window["key"] == "2026-03-10T00:05+0000"
    assert window["reasons"] == {"event_time has no time zone": 1}
    assert [json.loads(raw["row"]) for raw in window["raw"]] == [json.loads(NAIVE)]
    assert shop.json("rejected", "list", "events", "--to", "2026-03-10T00:05")["streams"][0]["rows"] == 0
    said = shop("rejected", "list").out
    assert "1 row rejected" in said
    assert "stream-assets rejected release events" in said
    assert "stream-assets rejected" in shop("status").out


def test_released_rows_are_events_that_consumers_get(shop: Shell) -> None:
    (still,) = shop.json("rejected", "release")["streams"]
    assert (still["released"], still["left_reasons"]) == (0, {"event_time has no time zone": 1})
    shop.env["STREAM_ASSETS_SOURCE"] += "?timezone=UTC"
    (done,) = shop.json("rejected", "release", "events")["streams"]
    assert (done["released"], done["left"]) == (1, 0)
    assert done["published"] == [{"table": "events", "key": "2026-03-10T00:05+0000"}]
    assert "no rows are rejected" in shop("rejected", "release").out
    shop.clock.set(datetime(2026, 3, 10, 0, 27, 30, tzinfo=UTC))
    assert shop("run").code == 0
    assert shop("verify").code == 0
    assert shop.json("sql", "select sum(events) as n from orders")["rows"] == [{"n": 4}]


def test_wrong_use_is_told_in_one_sentence(shop: Shell) -> None:
    assert (answer := shop("rejected", "list", "nobody")).code == 2
    assert "there is no stream 'nobody'" in answer.err
    assert (answer := shop("run", STREAM_ASSETS_SOURCE="file:///x?timezone=Moon/Base")).code == 2
    assert "'Moon/Base' is not known" in answer.err
    assert (answer := shop("status", STREAM_ASSETS_DRIFT="thaw")).code == 2
    assert "write evolve, freeze, discard" in answer.err


def test_a_change_under_freeze_is_let_in_by_policy_and_retry(shop: Shell, tmp_path: Path) -> None:
    shop.env["STREAM_ASSETS_DRIFT"] = "freeze"
    late = '{"event_id": "n", "event_time": "2026-03-10T00:21:00Z", "amount": 1, "coupon": "x"}\n'
    (tmp_path / "landing" / "2.jsonl").write_text(late)
    shop.clock.set(datetime(2026, 3, 10, 0, 27, 30, tzinfo=UTC))
    assert shop("run").code == 1
    said = shop("status").out
    assert "column 'coupon' (string) is new" in said
    assert "drift freeze" in said
    assert "drift freeze" in shop("explain", "orders").out
    assert shop("retry").code == 0
    assert shop("run").code == 1
    shop.env["STREAM_ASSETS_DRIFT"] = "evolve"
    assert shop("retry").code == 0
    assert shop("run").code == 0


def test_what_is_discarded_is_counted_and_named(shop: Shell, tmp_path: Path) -> None:
    shop.env["STREAM_ASSETS_DRIFT"] = "discard"
    late = '{"event_id": "n", "event_time": "2026-03-10T00:21:00Z", "amount": 1, "coupon": "x"}\n'
    (tmp_path / "landing" / "2.jsonl").write_text(late)
    shop.clock.set(datetime(2026, 3, 10, 0, 27, 30, tzinfo=UTC))
    assert shop("run").code == 0
    (stream,) = shop.json("status")["streams"]
    assert (stream["drift"], stream["discarded_values"], stream["discarded_columns"]) == ("discard", 1, ["coupon"])
    assert "1 value of coupon discarded" in shop("status").out
