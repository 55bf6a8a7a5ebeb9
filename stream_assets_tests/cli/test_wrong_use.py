"""Bad input that a command line can meet: one clear sentence on stderr, an exit status, nothing half done."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_assets_tests.cli.conftest import Shell

WRONG_USE, FAILED = 2, 1


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        pytest.param("materialize nix --from 2026-03-09", WRONG_USE, "there is no table 'nix'; there are: events, events_daily, orders", id="table"),
        pytest.param("materialize orders --from 2026-03-09 --to 2026-03-08", WRONG_USE, "the range ends (2026-03-08) before it begins (2026-03-09)", id="end before start"),
        pytest.param("materialize orders --from 2026-03-09T00:03", WRONG_USE, "2026-03-09T00:03:00Z is no border of 5 min partitions of 'orders'", id="off the grid"),
        pytest.param("materialize report --from 2026-03-09T00:05", WRONG_USE, "is no border of day partitions of 'report'", id="a window of days"),
        pytest.param("materialize orders --from 2026-03-01", WRONG_USE, "its first partition is 2026-03-09T00:00+0000", id="before the first day"),
        pytest.param("materialize orders --from soon", WRONG_USE, "'soon' is no instant: write 2026-03-01, 2026-03-01T00:05", id="typed key"),
        pytest.param("materialize orders --from 2026-02-30", WRONG_USE, "'2026-02-30' is no instant", id="no such day"),
        pytest.param("materialize events_daily --from 2026-03-10", WRONG_USE, "the open day is never sealed; materialize `events` for it", id="open day"),
        pytest.param("materialize events --from 2026-03-10T00:45", WRONG_USE, "settles at 2026-03-10T00:50:30Z, not before", id="unsettled"),
        pytest.param("materialize orders", WRONG_USE, "Missing option '--from'", id="no range"),
        pytest.param("refresh nix", WRONG_USE, "there is no consumer 'nix'; there are: orders, report", id="consumer"),
        pytest.param("pause events", WRONG_USE, "there is no consumer 'events'", id="a stream is no consumer"),
        pytest.param("explain nix", WRONG_USE, "there is no consumer 'nix'", id="explain"),
        pytest.param("retry nix", WRONG_USE, "there is no table 'nix'", id="retry"),
        pytest.param("files nix", WRONG_USE, "there is no table 'nix'", id="files"),
        pytest.param("files orders --from 2026-03-10 --to 2026-03-09", WRONG_USE, "before it begins", id="files range"),
        pytest.param("verify orders --from 2026-03-09T00:01", WRONG_USE, "is not on the 5-minute grid", id="verify range"),
        pytest.param("verify nix", WRONG_USE, "there is no table 'nix'", id="verify"),
        pytest.param("sql selct", WRONG_USE, "the query is wrong: Parser Error: syntax error", id="sql"),
        pytest.param("nix", WRONG_USE, "No such command 'nix'", id="command"),
    ],
)  # fmt: skip
def test_wrong_arguments(done: Shell, args: str, code: int, sentence: str) -> None:
    answer = done(*args.split())
    assert (answer.code, answer.out) == (code, "")
    assert sentence in answer.err
    assert "Traceback" not in answer.err


ONE = "from stream_assets import consumer\n@consumer({})\ndef {}({}):\n    return events\n"


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        pytest.param([("freshness='5 minits'", "a", "events")], "consumer 'a': freshness '5 minits' is not understood", id="freshness"),
        pytest.param([("'5 min', '1 hour'", "a", "events")], "consumer 'a': grain '1 hour' is not one of '5 min' and 'day'", id="grain"),
        pytest.param([("'1 day'", "a", "events"), ("'5 min', '5 min'", "b", "a")], "consumer 'b' at 5-minute grain cannot read 'a' at day grain", id="grains"),
        pytest.param([("'5 min', '5 min', lookback='2 days'", "a", "events")], "lookback 2 days at 5-minute grain: at most 1 day", id="lookback"),
        pytest.param([("'5 min'", "a", "evnets")], "consumer 'a' has a parameter 'evnets' that names no stream and no consumer", id="parameter"),
        pytest.param([("'5 min'", "a", "b"), ("'5 min'", "b", "a")], "consumers read each other in a circle", id="cycle"),
        pytest.param([("'5 min'", "events_daily", "events")], "the name 'events_daily' is taken by another consumer or stream", id="a stream's name"),
        pytest.param([("'5 min'", "Wrong", "events")], "consumer name 'Wrong' cannot be a folder and an asset", id="no safe path"),
    ],
)  # fmt: skip
def test_wrong_declarations(small: Shell, declared: list[tuple[str, str, str]], sentence: str) -> None:
    for index, (options, name, inputs) in enumerate(declared):
        small.declare(f"c{index}", ONE.format(options, name, inputs))
    answer = small("plan")
    assert answer.code == WRONG_USE
    assert sentence in answer.err
    assert answer.err.count("\n") == 1
    assert not small.lake.exists()


def test_two_consumers_of_one_name(small: Shell) -> None:
    for file in ("a", "b"):
        small.declare(file, ONE.format("'5 min'", "twice", "events"))
    answer = small("plan")
    assert (answer.code, "the name 'twice' is taken by another consumer" in answer.err) == (WRONG_USE, True)


@pytest.mark.parametrize(
    ("env", "code", "sentence"),
    [
        pytest.param({"STREAM_ASSETS_TIMEZONE": "Europe/Berlin"}, FAILED, "has days in UTC, not in Europe/Berlin: set STREAM_ASSETS_TIMEZONE=UTC", id="other zone"),
        pytest.param({"STREAM_ASSETS_START": "2026-03-01"}, FAILED, "starts on 2026-03-09, not on 2026-03-01: set STREAM_ASSETS_START=2026-03-09", id="other start"),
        pytest.param({"STREAM_ASSETS_TIMEZONE": "America/Havana"}, WRONG_USE, "the clock of 'America/Havana' repeats midnight", id="midnight twice"),
        pytest.param({"STREAM_ASSETS_TIMEZONE": "Mars"}, WRONG_USE, "unknown time zone 'Mars'", id="no zone"),
        pytest.param({"STREAM_ASSETS_SOURCE": "ftp://host/x"}, WRONG_USE, "scheme 'ftp' is no source", id="scheme"),
        pytest.param({"STREAM_ASSETS_SOURCE": "synthetic:?rat=1"}, WRONG_USE, "synthetic: there is no option 'rat'", id="option"),
        pytest.param({"STREAM_ASSETS_CONSUMERS": "/no/such/folder"}, WRONG_USE, "the folder of consumers '/no/such/folder' does not exist", id="consumers"),
        pytest.param({"STREAM_ASSETS_CONSUMERS": "no_such_module"}, WRONG_USE, "the consumers in 'no_such_module' cannot be loaded", id="module"),
        pytest.param({"STREAM_ASSETS_LAKE": "/proc/lake"}, FAILED, "/proc/lake", id="lake not writable"),
        pytest.param({"STREAM_ASSETS_LAKE": "/etc/hostname/lake"}, FAILED, "/etc/hostname/lake", id="lake below a file"),
        pytest.param({"STREAM_ASSETS_END": "soon"}, WRONG_USE, "its end 'soon' is no day", id="end"),
    ],
)  # fmt: skip
def test_wrong_environment(done: Shell, env: dict[str, str], code: int, sentence: str) -> None:
    answer = done("plan", **env)
    assert (answer.code, answer.out) == (code, "")
    assert sentence in answer.err
    assert answer.err.count("\n") == 1


def test_a_broken_consumer_file_is_named_with_its_line(small: Shell) -> None:
    small.declare("typo", "from stream_assets import consumer\n\ndef typo(:\n")
    answer = small("plan")
    assert (answer.code, "typo.py, line 3" in answer.err) == (WRONG_USE, True)


def test_a_missing_source_folder_is_named(small: Shell, tmp_path: Path) -> None:
    answer = small("run", STREAM_ASSETS_SOURCE=f"file://{tmp_path}/landing")
    assert answer.code == FAILED
    assert str(tmp_path / "landing") in answer.err + answer.out
    assert "Traceback" not in answer.err


def test_with_json_the_error_is_a_document_too(done: Shell) -> None:
    answer = done("explain", "nix", "--json")
    assert answer.code == WRONG_USE
    assert answer.facts["kind"] == "DeclarationError"
    assert answer.facts["error"] in answer.err


def test_debug_shows_where_an_error_came_from(done: Shell) -> None:
    answer = done("explain", "nix", "--debug")
    assert answer.code == WRONG_USE
    assert "Traceback" in answer.err
