"""Files as people really have them, through the real command: one clear sentence, an exit status, and nothing lost."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_assets_tests.cli.conftest import Shell

START = datetime(2026, 3, 10, tzinfo=UTC)
FINE, FAILED = 0, 1
HEADER = "event_id,event_time,amount\n"


def time(minute: float) -> str:
    return (START + timedelta(minutes=minute)).isoformat()


def lines(first: int, end: int, **more: Any) -> str:
    return "".join(
        json.dumps({"event_id": f"e{m}", "event_time": time(m), "amount": 1.5, **more}) + "\n"
        for m in range(first, end)
    )


def rows(first: int, end: int) -> str:
    return "".join(f"e{m},{time(m)},1.5\n" for m in range(first, end))


def columns(first: int, end: int, *, times: Any = None, **more: Any) -> dict[str, Any]:
    instants = pa.array([START + timedelta(minutes=m) for m in range(first, end)], pa.timestamp("us", "UTC"))
    ids = [f"e{m}" for m in range(first, end)]
    return {"event_id": ids, "event_time": instants if times is None else times, "amount": [1.5] * len(ids)} | more


class Landing:
    """A lake of nine windows (00:00 to 00:45) over a folder of files."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.folder = shell.folder / "landing"
        self.folder.mkdir()

    def put(self, name: str, content: Any, *, minute: float = 43) -> Path:
        """Write a file that changed last at `minute`: text, bytes, or the columns of a Parquet file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, dict):
            pq.write_table(pa.table(content), path)
        else:
            raw = content.encode() if isinstance(content, str) else content
            path.write_bytes(gzip.compress(raw) if name.endswith(".gz") and isinstance(content, str) else raw)
        at = (START + timedelta(minutes=minute)).timestamp()
        os.utime(path, (at, at))
        return path

    def run(self, format: str = "jsonl", options: str = "") -> Any:
        self.shell.env["STREAM_ASSETS_SOURCE"] = f"file://{self.folder}?format={format}{options}"
        return self.shell("run")

    @property
    def ids(self) -> list[str]:
        done = self.shell("sql", "select event_id from events order by event_time", "--json")
        return [row["event_id"] for row in done.facts["rows"]]

    @property
    def failed(self) -> list[str]:
        """Minutes of the windows that have failed."""
        (stream,) = self.shell.json("status")["streams"]
        return [f["first_key"][14:16] for f in stream["failures"]]

    @property
    def rejected(self) -> dict[str, int]:
        (stream,) = self.shell.json("status")["streams"]
        return stream["rejected_reasons"]


@pytest.fixture
def landing(small: Shell) -> Landing:
    return Landing(small)


ALL = [f"e{m}" for m in range(40)]
CUT = gzip.compress(lines(0, 40).encode())[:-40]
EVERY = ["00", "05", "10", "15", "20", "25", "30", "35", "40"]


@pytest.mark.parametrize(
    ("format", "name", "content"),
    [
        pytest.param("jsonl", "1.jsonl", "\ufeff" + lines(0, 40), id="byte order mark"),
        pytest.param("jsonl", "1.jsonl", lines(0, 40).replace("\n", "\r\n"), id="line ends of Windows"),
        pytest.param("jsonl", "1.jsonl", lines(0, 40).strip(), id="no newline at the end"),
        pytest.param("jsonl", "1.jsonl.gz", lines(0, 40), id="gzip"),
        pytest.param("jsonl", "a #? b/ü\n1.JSON", lines(0, 40), id="names of any text"),
        pytest.param("jsonl", "1.jsonl/part-0.jsonl", lines(0, 40), id="a folder named like a file"),
        pytest.param("jsonl", "1.jsonl", lines(0, 40, user={"tags": [1, 2], "of": {"a": None}}), id="nested"),
        pytest.param("jsonl", "1.jsonl", lines(0, 39) + lines(39, 40, note="x" * (9 << 20)), id="a huge line"),
        pytest.param("csv", "1.csv", "\ufeff" + HEADER + rows(0, 40), id="csv: byte order mark"),
        pytest.param("csv", "1.csv", "\r\n" + (HEADER + rows(0, 40)).replace("\n", "\r\n"), id="csv: of Windows"),
        pytest.param(
            "csv",
            "1.csv",
            '"event_id","event_time",amount,"no\n""te"""\n' + rows(0, 40).replace("1.5", "1.5,x"),
            id="csv: quoted header",
        ),
        pytest.param(
            "csv",
            "1.csv.gz",
            HEADER[:-1] + ",note\n" + rows(0, 40).replace("1.5", '1.5,"a,\n""b"""'),
            id="csv: quoted newlines",
        ),
        pytest.param("parquet", "1.parquet", columns(0, 40), id="parquet"),
        pytest.param("parquet", "1.pq/a.parquet", columns(0, 40, tags=[[{"a": 1}]] * 40), id="parquet: nested"),
    ],
)
def test_what_looks_odd_and_is_right(landing: Landing, format: str, name: str, content: Any) -> None:
    landing.put(name, content)
    answer = landing.run(format)
    assert (answer.code, landing.ids) == (FINE, ALL)
    assert landing.shell("verify").code == FINE


@pytest.mark.parametrize(
    ("format", "files", "failed", "sentence"),
    [
        pytest.param("jsonl", {"1.jsonl": lines(0, 16) + '{"event_id": "e16",\n' + lines(17, 40)}, ["15"], "1.jsonl: line 17 is not JSON (Expecting property name enclosed in double quotes at character 20): mend or remove it", id="line 17"),
        pytest.param("jsonl", {"1.jsonl": lines(0, 12).encode() + b'{"event_id": "\xe4"}\n' + lines(13, 40).encode()}, ["10"], "1.jsonl: line 13 is not UTF-8: mend or remove it", id="not UTF-8"),
        pytest.param("jsonl", {"1.jsonl": lines(0, 12) + '{"event_id": "x", "event_id": "y"}\n' + lines(13, 40)}, ["10"], "line 13 is not JSON (the key 'event_id' is there twice)", id="a key twice"),
        pytest.param("jsonl", {"1.jsonl": lines(0, 12) + '{"event_id": ' + "[" * 30_000 + "]" * 30_000 + "}\n" + lines(13, 40)}, ["10"], "line 13 is nested more than 64 levels deep", id="nested too deep"),
        pytest.param("jsonl", {"1.json": "[" + lines(0, 2).strip().replace("\n", ",") + "]"}, EVERY, "1.json: line 1 is JSON, but no object: mend or remove it (a file holds one object a line)", id="one array"),
        pytest.param("jsonl", {"1.jsonl.gz": CUT, "2.jsonl": lines(0, 40)}, EVERY, "1.jsonl.gz is no whole gzip file (Compressed file ended before the end-of-stream marker was reached): write it again under a name that ends in .tmp", id="half a gzip"),
        pytest.param("jsonl", {"1.jsonl": lines(0, 40)[:-20]}, ["35", "40"], "the last line of", id="truncated"),
        pytest.param("jsonl", {"1.jsonl": lines(0, 10), "2.jsonl": lines(10, 15).replace("event_id", "id"), "3.jsonl": lines(20, 40)}, ["10"], "2.jsonl has no column 'event_id': name its id column with id=; there are 'event_time', 'id', 'amount'", id="no id column"),
        pytest.param("jsonl", {"1.jsonl": lines(0, 40), "2.jsonl": lines(12, 14, day="x")}, ["10"], "2.jsonl has a column 'day', a name that the lake's folders use: rename it in the source", id="a reserved name in the last file"),
        pytest.param("jsonl", {"1.jsonl": lines(0, 40), "2.jsonl": lines(12, 13).replace('"e12"', "12")}, ["10"], "2.jsonl: column 'event_id' is int64, and string so far. Give the column one type throughout", id="ids as numbers in one file"),
        pytest.param("jsonl", {"1.jsonl": lines(0, 12), "2.jsonl": lines(12, 20, amount="1.5") + lines(20, 40)}, EVERY[2:4], "2.jsonl: column 'amount' is string, and double so far. Give the column one type throughout", id="a type changes in a file"),
        pytest.param("csv", {"1.csv": HEADER + rows(0, 20), "2.csv": HEADER + f"a,{time(12)},n/a\n"}, ["10"], "2.csv: column 'amount' is string, and double so far. Give the column one type throughout the source (of CSV files, say which with types=)", id="csv: a type changes between files"),
        pytest.param("csv", {"1.csv": HEADER + rows(0, 12) + "e12,now,1,2\n" + rows(13, 40)}, ["10"], "1.csv: row 14 has 4 cells, the header 3: mend or remove it", id="csv: a cell too many"),
        pytest.param("csv", {"1.csv": HEADER + rows(0, 12) + f'e12,{time(12)},"oops\n' + rows(13, 40)}, EVERY[1:], "1.csv: a quote in line 14 is not closed, so the row is still being written: wait, or close it if nobody writes there any more", id="csv: a quote is not closed"),
        pytest.param("csv", {"1.csv": HEADER + rows(0, 40), "2.csv": (HEADER + rows(0, 9)).encode("utf-16")}, EVERY, "2.csv: line 1 is not UTF-8: write the file again in UTF-8", id="csv: UTF-16"),
        pytest.param("csv", {"1.csv": (HEADER + rows(0, 40)).replace(",", ";")}, EVERY, "1.csv has no column 'event_time': name its time column with time=; there are 'event_id;event_time;amount'", id="csv: semicolons"),
        pytest.param("csv", {"1.csv": "event_id,event_time,a,a\n"}, EVERY, "1.csv has the column 'a' twice: rename one of them", id="csv: a column twice"),
        pytest.param("csv", {"1.csv": "event_id,event_ti"}, EVERY, "the header of", id="csv: half a header"),
        pytest.param("parquet", {"1.parquet": b"PAR1" + b"x" * 100}, EVERY, "1.parquet is no whole Parquet file (Parquet magic bytes not found in footer", id="parquet: being written"),
        pytest.param("parquet", {"1.parquet": b""}, EVERY, "1.parquet is no whole Parquet file (Parquet file size is 0 bytes): write it again under a name that ends in .tmp", id="parquet: nothing in it"),
        pytest.param("parquet", {"1.parquet": columns(0, 40), "2.parquet": {"event_id": ["a"], "at": [1]}}, EVERY, "2.parquet has no column 'event_time': name its time column with time=; there are 'event_id', 'at'", id="parquet: no time column"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_stops_what_it_may_have_and_heals(
    landing: Landing, format: str, files: dict[str, Any], failed: list[str], sentence: str
) -> None:
    for name, content in files.items():
        landing.put(name, content)
    answer = landing.run(format)
    assert (answer.code, landing.failed) == (FAILED, failed)
    assert answer.out.count(sentence) == 1
    assert "Traceback" not in answer.out + answer.err
    assert list((landing.shell.lake / "_staging").glob("*/*")) == []
    (landing.folder / list(files)[-1]).unlink()
    for name in files:
        (landing.folder / name).unlink(missing_ok=True)
    content = {"jsonl": lines(0, 40), "csv": HEADER + rows(0, 40), "parquet": columns(0, 40)}[format]
    landing.put(f"new.{format}", content, minute=46)
    for _ in range(3):
        landing.shell.clock.advance(timedelta(minutes=5))
        landing.run(format)
    assert (landing.failed, landing.ids) == ([], ALL)
    assert landing.shell("verify").code == FINE


@pytest.mark.parametrize(
    ("format", "name", "content", "reasons"),
    [
        pytest.param("jsonl", "1.jsonl", '{"event_id": "x", "event_time": null}\n{"event_id": "y"}\n', {"event_time is null": 2}, id="null"),
        pytest.param("jsonl", "1.jsonl", '{"event_id": "x", "event_time": "2026-03-10T00:12:00"}\n', {"event_time has no time zone": 1}, id="naive"),
        pytest.param("jsonl", "1.jsonl", '{"event_id": "x", "event_time": "2026-03-12T00:12:00Z"}\n', {"event_time is more than a day in the future": 1}, id="future"),
        pytest.param("jsonl", "1.jsonl", '{"event_id": "x", "event_time": "0001-01-01T00:00:00Z"}\n', {"event_time is before 1970": 1}, id="year 1"),
        pytest.param("jsonl", "1.jsonl", '{"event_id": "x", "event_time": "yesterday"}\n', {"event_time cannot be read as an instant": 1}, id="text"),
        pytest.param("jsonl", "1.jsonl", '{"event_id": "x", "event_time": 1773101520}\n', {"event_time is int64, not an instant": 1}, id="epoch"),
        pytest.param("jsonl", "1.jsonl", lines(12, 13) + '{"event_id": "x", "event_time": 1773101520}\n', {"event_time cannot be read as an instant": 1}, id="an epoch among text"),
        pytest.param("jsonl", "1.jsonl", f'{{"event_id": null, "event_time": "{time(12)}"}}\n{{"event_id": "", "event_time": "{time(12)}"}}\n', {"event_id is null": 1, "event_id is empty": 1}, id="ids"),
        pytest.param("csv", "1.csv", HEADER + f',{time(12)},1.5\n"",{time(12)},1.5\nx,1773101520,1.5\n', {"event_id is null": 1, "event_id is empty": 1, "event_time cannot be read as an instant": 1}, id="csv"),
        pytest.param("parquet", "1.parquet", columns(12, 14, times=pa.array([1773101520, None], pa.timestamp("s"))), {"event_time has no time zone": 1, "event_time is null": 1}, id="parquet: naive"),
        pytest.param("parquet", "1.parquet", columns(12, 14, times=pa.array([-(2**62), 2**62], pa.timestamp("us", "UTC"))), {"event_time is before 1970": 1, "event_time is more than a day in the future": 1}, id="parquet: beyond all calendars"),
        pytest.param("parquet", "1.parquet", columns(12, 13, times=[1773101520]), {"event_time is int64, not an instant": 1}, id="parquet: epoch"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_events_stop_no_window_and_are_told_kept_and_counted(
    landing: Landing, format: str, name: str, content: Any, reasons: dict[str, int]
) -> None:
    landing.put(f"0.{format}", {"jsonl": lines(0, 40), "csv": HEADER + rows(0, 40), "parquet": columns(0, 40)}[format])
    landing.put(name, content)
    answer = landing.run(format)
    assert (answer.code, landing.ids[:40], landing.rejected) == (FINE, ALL, reasons)
    kept = pa.concat_tables([pq.read_table(p) for p in (landing.shell.lake / "_rejected/events").rglob("*.parquet")])
    assert kept.num_rows == sum(reasons.values())
    assert all("event_id" in json.loads(raw.as_py()) for raw in kept["raw"])
    for reason, count in reasons.items():
        assert f"{reason} ({count})" in answer.out
    assert f"kept in {landing.shell.lake}/_rejected/events" in answer.out
    assert landing.shell("verify").code == FINE


def test_rows_that_are_rejected_later_are_counted_too_and_move_no_consumer(landing: Landing) -> None:
    landing.put("1.jsonl", lines(0, 40))
    landing.run()
    landing.put("2.jsonl", f'{{"event_id": null, "event_time": "{time(12)}"}}\n', minute=46)
    for _ in range(2):
        landing.shell.clock.advance(timedelta(minutes=5))
        answer = landing.run()
    assert "1 row rejected: event_id is null (1)" in answer.out
    assert landing.rejected == {"event_id is null": 1}
    files = landing.shell.json("files", "orders")["files"]
    assert [f["revision"] for f in files] == [1] * 11
    assert landing.ids == ALL


def test_a_column_whose_type_changes_stops_the_windows_where_it_changes(landing: Landing) -> None:
    landing.put("1.jsonl", lines(0, 20))
    landing.put("2.jsonl", lines(20, 40, amount="one"))
    answer = landing.run()
    assert (answer.code, landing.ids, landing.failed) == (FAILED, ALL[:20], EVERY[4:8])


def test_a_day_of_two_types_fails_as_a_day_and_names_the_file(landing: Landing) -> None:
    landing.put("1.jsonl", lines(0, 700))
    landing.put("2.jsonl", lines(700, 1440, amount="one"))
    landing.shell.clock.set(START + timedelta(days=1, minutes=20))
    answer = landing.run()
    assert answer.code == FAILED
    assert "2026-03-10 failed: stream 'events', windows 2026-03-10T11:40+0000 to " in answer.out
    assert str(landing.folder / "2.jsonl") + ": column 'amount' is string, and " in answer.out
    assert landing.shell("verify").out.count("not compared, because the source cannot be read there") == 0


def test_an_empty_folder_is_no_error_and_is_told(landing: Landing) -> None:
    answer = landing.run()
    assert answer.code == FINE
    assert "orders: 9 published, 9 rows" in answer.out
    assert f"nothing has come yet, and windows are sealed as empty: are jsonl files in {landing.folder}" in answer.out
    assert "nothing has come yet" in landing.shell("status").out
    landing.put("1.jsonl", lines(0, 1))
    assert "nothing has come yet" not in landing.run().out


def test_a_folder_that_is_gone_after_it_had_events_is_an_outage_and_not_empty(landing: Landing) -> None:
    landing.put("1.jsonl", lines(0, 20))
    assert landing.run().code == FINE
    shutil.rmtree(landing.folder)
    landing.shell.clock.advance(timedelta(minutes=10))
    answer = landing.run()
    assert "is gone, and was there before" in answer.out + answer.err
    for said in (answer, landing.shell("status")):
        assert "nothing has come yet" not in said.out + said.err


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        pytest.param(lambda f: f.rmdir(), "there is no folder {}: create it, or point the source's path", id="missing"),
        pytest.param(lambda f: (f.rmdir(), f.write_text("")), "{} is a file: the source's path must be the folder", id="a file"),
        pytest.param(lambda f: (f / "1.csv").write_text("x"), "{} has files (1), none of which ends in .jsonl", id="other files"),
        pytest.param(lambda f: (f / "_lake.json").write_text("{}"), "{} is a lake, whose files are no new events", id="a lake"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_asked_is_said_by_every_command(
    landing: Landing, spoil: Callable[[Path], object], sentence: str
) -> None:
    spoil(landing.folder)
    said = sentence.format(landing.folder)
    answer = landing.run()
    assert answer.code == FAILED
    assert f"stream events: its source cannot be asked: {said}" in answer.out
    for command, code in (("plan", FAILED), ("status", FINE), ("verify", FAILED), ("explain orders", FINE)):
        answer = landing.shell(*command.split())
        assert (answer.code, said in answer.out) == (code, True), command
    answer = landing.shell("materialize", "events", "--from", "2026-03-10")
    assert (answer.code, said in answer.err) == (FAILED, True)
    assert not (landing.shell.lake / "events").exists()


def test_one_bad_file_is_one_sentence_however_many_windows_wait_for_it(landing: Landing) -> None:
    landing.put("1.parquet", b"PAR1", minute=43)
    answer = landing.run("parquet")
    said = "2026-03-10T00:00+0000 to 2026-03-10T00:40+0000 (9 partitions) failed"
    assert (answer.out.count(said), answer.out.count("no whole Parquet file")) == (1, 1)
    status = landing.shell("status").out
    assert status.count("no whole Parquet file") == 1
    assert "failed 1 time (tried again at" in status


def test_a_folder_that_is_gone_for_good_is_accepted_as_a_gap_where_its_owner_says_so(landing: Landing) -> None:
    landing.put("1.jsonl", lines(0, 40))
    landing.run()
    landing.folder.rename(landing.folder.with_name("elsewhere"))
    landing.shell.clock.advance(timedelta(minutes=10))
    assert landing.shell("run").code == FAILED
    gap = ("events", "--from", "2026-03-10T00:45", "--to", "2026-03-10T00:55", "--by", "Ada", "--reason", "sold")
    refused = landing.shell("accept-gap", *gap)
    assert (refused.code, "is gone, and was there before" in refused.err) == (FAILED, True)
    done = landing.shell("accept-gap", *gap, "--source-is-gone", "--json")
    assert (done.code, done.facts["report"]["published"]) == (FINE, 2)
    assert landing.ids == ALL
