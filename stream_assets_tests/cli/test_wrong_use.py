"""Bad input that a command line can meet: one clear sentence on stderr, an exit status, nothing half done."""

from __future__ import annotations

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
        pytest.param("materialize orders --from 2026-03-09T00:05:30", WRONG_USE, "2026-03-09T00:05:30Z is no border of 5 min partitions", id="half a minute"),
        pytest.param("materialize orders --from 2026-03-09T24:05", WRONG_USE, "'2026-03-09T24:05' is no instant", id="no such hour"),
        pytest.param("materialize orders --from 0001-01-02", WRONG_USE, "'0001-01-02' is before 1970 or after 9998, where no events can be", id="year 1"),
        pytest.param("materialize report --from 9999-12-31", WRONG_USE, "'9999-12-31' is before 1970 or after 9998", id="year 9999"),
        pytest.param("materialize orders --from 2026-03-09 --to 9998-01-01", WRONG_USE, "orders: the range ends at 9998-01-01T00:00Z, in the future: the last day that can be filled is 2026-03-10", id="up to eternity"),
        pytest.param("materialize report --from 2026-03-11", WRONG_USE, "report: the range ends at 2026-03-12T00:00Z, in the future", id="tomorrow"),
        pytest.param("materialize orders --from 2026-03-09 --to=", WRONG_USE, "'' is no instant", id="an empty end"),
        pytest.param("verify --from=", WRONG_USE, "'' is no instant", id="an empty start"),
        pytest.param("files events --from 2026-03-01 --to 2026-03-02", WRONG_USE, "the range 2026-03-01 to 2026-03-02 is outside of the lake, which has 2026-03-09", id="outside"),
        pytest.param("verify --from 1970-01-02 --to 1980-01-01", WRONG_USE, "is outside of the lake", id="long before"),
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
        pytest.param("prove nix", WRONG_USE, "there is no consumer 'nix'", id="prove"),
        pytest.param("prove report --from 2026-03-10 --to 2026-03-11", WRONG_USE, "has not closed yet", id="prove today"),
        pytest.param("verify nix", WRONG_USE, "there is no table 'nix'", id="verify"),
        pytest.param("sql selct", WRONG_USE, "the query is wrong: Parser Error: syntax error", id="sql"),
        pytest.param("sql ;", WRONG_USE, "the query is empty: write SQL", id="empty sql"),
        pytest.param("status --recent -1", WRONG_USE, "-1 is not in the range x>=0", id="less than nothing"),
        pytest.param("accept-gap events --from 2026-03-10", WRONG_USE, "Missing option '--by'", id="a gap accepted by nobody"),
        pytest.param("accept-gap events --from 2026-03-10 --by A --reason=", WRONG_USE, "the reason must be one line of 1 to 500 printable characters", id="a gap without a reason"),
        pytest.param("accept-gap nix --from 2026-03-10 --by A --reason b", WRONG_USE, "there is no table 'nix'", id="a gap of nothing"),
        pytest.param("reopen events --from 2026-03-10T00:03 --reason b", WRONG_USE, "is no border of 5 min partitions", id="reopen off the grid"),
        pytest.param("reopen report --from 2026-03-12 --reason b", WRONG_USE, "in the future", id="reopen the future"),
        pytest.param("reopen report --from 2026-03-09", WRONG_USE, "Missing option '--reason'", id="reopen without a reason"),
        pytest.param("ledger restore /no/such/file", WRONG_USE, "does not exist", id="no backup"),
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
        pytest.param([("'5 min'", "window", "events")], "consumer name 'window' cannot be read", id="a parameter's name"),
        pytest.param([("'5 min'", "EVENTS", "events")], "consumer name 'EVENTS' cannot be a folder and an asset", id="a name in capitals"),
        pytest.param([("'0 min'", "a", "events")], "freshness '0 min' must be more than zero", id="no freshness"),
        pytest.param([("'1 day', grain='5min'", "a", "events")], "grain '5min' is not one of '5 min' and 'day'", id="grain without a space"),
        pytest.param([("'1 day', lookback='7 dayz'", "a", "events")], "lookback '7 dayz' is not understood", id="lookback typed"),
        pytest.param([("'1 day', reads={'events': 'event_id'}", "a", "events")], "c0.py: consumer 'a': reads of 'events' is the text 'event_id': write a list, ['event_id']", id="reads as text"),
        pytest.param([("'1 day', reads={'evnets': ['event_id']}", "a", "events")], "reads= names 'evnets', which is no parameter", id="reads of nothing"),
        pytest.param([("'1 day', owners='me'", "a", "events")], "owners is the text 'me': write a list, ['me']", id="owners as text"),
        pytest.param([("'1 day', schema={'a': 'int'}", "a", "events")], "schema is a dict: give a pa.Schema", id="schema"),
        pytest.param([("'1 day'", "a", "*events")], "names nothing that could be read", id="stars"),
        pytest.param([("'1 day'", "a", "events: list")], "parameter 'events' is annotated 'list'; it can be pd.DataFrame", id="annotation"),
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


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        pytest.param("def typo(:\n", "typo.py, line 1: invalid syntax", id="syntax"),
        pytest.param("\nx = undefined\n", "typo.py, line 2: NameError: name 'undefined' is not defined", id="name"),
        pytest.param("import no_such_module\n", "typo.py, line 1: No module named 'no_such_module'", id="import"),
        pytest.param("import json\n\njson.loads('{')\n", "typo.py, line 3: JSONDecodeError", id="raised elsewhere"),
        pytest.param("from stream_assets import consumer\n@consumer\ndef typo(events): ...\n", "typo.py: consumer 'typo' states no freshness: write @consumer(freshness='1 hour')", id="no parentheses"),
        pytest.param("from stream_assets import consumer\n@consumer('1 day')\nasync def typo(events): ...\n", "consumer 'typo' is declared with async: write a plain function", id="async"),
    ],
)  # fmt: skip
def test_a_consumer_file_that_cannot_be_loaded_is_named_with_its_line(small: Shell, source: str, sentence: str) -> None:
    small.declare("typo", source)
    answer = small("plan")
    assert (answer.code, answer.out) == (WRONG_USE, "")
    assert sentence in answer.err
    assert answer.err.count("\n") == 1
    assert not small.lake.exists()


def test_a_lake_that_has_the_table_at_another_grain(filled: Shell) -> None:
    filled.declare("orders", ONE.format("'1 day'", "orders", "events"))
    answer = filled("run")
    assert answer.code == FAILED
    assert "table 'orders' has grain '5 min' in this lake and cannot become 'day'" in answer.err
    assert "Give the consumer another name, or restore its grain" in answer.err


def test_a_project_without_consumers_says_so(small: Shell) -> None:
    for file in small.consumers.iterdir():
        file.unlink()
    answer = small("run")
    assert answer.code == 0
    assert "no consumer is declared, so days of streams alone are kept" in answer.out


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
        pytest.param({"STREAM_ASSETS_END": "0001-01-01"}, WRONG_USE, "its end '0001-01-01' is before 1970", id="end of no events"),
        pytest.param({"STREAM_ASSETS_END": "soon"}, WRONG_USE, "its end 'soon' is no day", id="end"),
        pytest.param({"STREAM_ASSETS_END": "2026-03-01"}, WRONG_USE, "stream 'events' ends on 2026-03-01, and the lake", id="end before start"),
        pytest.param({"STREAM_ASSETS_START": "soon"}, WRONG_USE, "the lake's start (STREAM_ASSETS_START): 'soon' is no instant", id="start"),
        pytest.param({"STREAM_ASSETS_START": "2026-03-09T12:00"}, WRONG_USE, "(STREAM_ASSETS_START) is not a local day in UTC: write it like", id="start at noon"),
        pytest.param({"STREAM_ASSETS_LAKE": "s3://bucket/lake"}, WRONG_USE, "the lake 's3://bucket/lake' is a URL: a lake is a folder on a local disk", id="lake in the cloud"),
        pytest.param({"STREAM_ASSETS_LAKE": "~no_such_user/lake"}, FAILED, "~no_such_user/lake is no folder that can be found", id="lake of nobody"),
        pytest.param({"STREAM_ASSETS_LAKE": "/" + "x" * 300}, FAILED, "cannot be written (File name too long)", id="lake with a long name"),
        pytest.param({"STREAM_ASSETS_SOURCE": "file:///in?a/b?format=csv"}, WRONG_USE, "there is no option 'a/b?format': known are format, id, time, arrival, lateness, types, max_ratio, max_columns, timezone; a '?' in a path is written %3F", id="? in a path"),
        pytest.param({"STREAM_ASSETS_SOURCE": "file:///in#a?format=csv"}, WRONG_USE, "write '#' in a URL as %23", id="# in a path"),
        pytest.param({"STREAM_ASSETS_CONSUMERS": __file__}, WRONG_USE, "is a file: STREAM_ASSETS_CONSUMERS names the folder that it is in", id="a consumer file"),
        pytest.param({"STREAM_ASSETS_CONSUMERS": "..consumers"}, WRONG_USE, "the consumers in '..consumers' cannot be loaded", id="no module's name"),
    ],
)  # fmt: skip
def test_wrong_environment(done: Shell, env: dict[str, str], code: int, sentence: str) -> None:
    answer = done("plan", **env)
    assert (answer.code, answer.out) == (code, "")
    assert sentence in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("env", "code", "sentence"),
    [
        pytest.param({"STREAM_ASSETS_START": "2026-03-11"}, WRONG_USE, "the lake would start on 2026-03-11, which is in the future", id="future"),
        pytest.param({"STREAM_ASSETS_START": "1969-12-01"}, WRONG_USE, "'1969-12-01' is before 1970 or after 9998", id="long ago"),
        pytest.param({"STREAM_ASSETS_END": "2014-01-01"}, WRONG_USE, "the lake would start on 2026-03-10, and its streams end on 2014-01-01: set an earlier start", id="end before start"),
        pytest.param({"STREAM_ASSETS_TIMEZONE": "Asia/Gaza"}, WRONG_USE, "the clock of 'Asia/Gaza' repeats midnight", id="midnight twice"),
    ],
)  # fmt: skip
def test_a_new_lake_that_could_not_be_right_is_not_made(
    small: Shell, env: dict[str, str], code: int, sentence: str
) -> None:
    answer = small("run", **env)
    assert (answer.code, answer.out) == (code, "")
    assert sentence in answer.err
    assert answer.err.count("\n") == 1
    assert not small.lake.exists()


def test_with_json_the_error_is_a_document_too(done: Shell) -> None:
    answer = done("explain", "nix", "--json")
    assert answer.code == WRONG_USE
    assert answer.facts["kind"] == "DeclarationError"
    assert answer.facts["error"] in answer.err


def test_debug_shows_where_an_error_came_from(done: Shell) -> None:
    answer = done("explain", "nix", "--debug")
    assert answer.code == WRONG_USE
    assert "Traceback" in answer.err
