"""`verify` finds every kind of difference, names it, and the command that it gives mends it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from stream_assets import consumer
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.lake.publish import Publisher
from stream_assets.pipeline.project import Project, Stream
from stream_assets.pipeline.verify import Difference, verify
from stream_assets.sources.files import FileEvents
from stream_assets.testing import SettableClock
from stream_assets.testing.partitions import stage

if TYPE_CHECKING:
    from stream_assets.pipeline import Pipeline

YESTERDAY = datetime(2026, 3, 9, tzinfo=UTC)
TODAY = YESTERDAY + timedelta(days=1)
NOW = TODAY + timedelta(minutes=47)
EVERYTHING = TimeWindow(YESTERDAY, TODAY + timedelta(days=1))


@consumer(freshness="1 day", reads={"events": ["event_id"]})
def report(events: pa.Table) -> pa.Table:
    return pa.table({"events": pa.array([events.num_rows], pa.int64())})


def line(number: int, time: datetime, amount: int = 1) -> str:
    return json.dumps({"event_id": f"{time:%d}e{number:05}", "event_time": time.isoformat(), "amount": amount}) + "\n"


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """Events every minute, one file a day."""
    folder = tmp_path / "landing"
    folder.mkdir()
    for start, count in ((YESTERDAY, 1440), (TODAY, 40)):
        events = (line(n, start + timedelta(minutes=n)) for n in range(count))
        (folder / f"{start:%Y%m%d}.jsonl").write_text("".join(events))
        os.utime(folder / f"{start:%Y%m%d}.jsonl", (start.timestamp(), start.timestamp()))
    return folder


@pytest.fixture
def pipeline(tmp_path: Path, landing: Path) -> Pipeline:
    """The closed day sealed and read by a consumer, the open day's first eight windows made by hand."""
    source = FileEvents(str(landing), arrival=None)
    project = Project((Stream("events", source),), lake=str(tmp_path / "lake"), start="2026-03-09")
    made = project.open([report], SettableClock(NOW))
    assert all(not r.failed for _, reports in made.run() for r in reports)
    fill(made, "events", TimeWindow(TODAY, TODAY + 8 * GRID))
    fill(made, "events", TimeWindow(YESTERDAY, YESTERDAY + 2 * GRID))
    return made


def fill(pipeline: Pipeline, table: str, span: TimeWindow) -> None:
    with pipeline.running(table, span) as running:
        assert not pipeline.fill(table, span, running).failed


def differences(pipeline: Pipeline, *tables: str) -> list[Difference]:
    return verify(pipeline.site, tables or tuple(pipeline.declarations.tables), EVERYTHING).differences


def mend(pipeline: Pipeline, difference: Difference) -> None:
    """Do what the command says that a difference names, and nothing else."""
    words = str(difference.mend).split()
    span = pipeline.range(words[2], words[4], words[6])
    assert words[1] == {"make": "materialize"}.get(difference.mend.way, "verify"), words
    with pipeline.running(words[2], span, is_mending=words[-1] == "--mend") as running:
        assert not pipeline.fill(words[2], span, running).failed


def file_of(pipeline: Pipeline, table: str, span: TimeWindow = EVERYTHING) -> Path:
    return pipeline.lake.layout.root / pipeline.lake.ledger.current(table, span)[0].file


def change_source(landing: Path, day: str, old: str, new: str) -> None:
    """Change a file unseen: size and modification time stay."""
    path = landing / f"{day}.jsonl"
    known = path.stat()
    text = path.read_text()
    assert (text.count(old), len(old)) == (1, len(new))
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))


def test_everything_agrees_after_a_run_in_one_query_a_day(pipeline: Pipeline) -> None:
    found = verify(pipeline.site, tuple(pipeline.declarations.tables), EVERYTHING)
    assert found.differences == []
    assert (found.windows, found.rows, found.queries) == (288 + 8, 1440 + 40, 2)
    assert found.files == 8 + 1 + 1


def test_an_event_that_changed_unseen_is_named_and_mended(pipeline: Pipeline, landing: Path) -> None:
    for start, table in ((YESTERDAY, "events_daily"), (TODAY, "events")):
        seven = start + timedelta(minutes=7)
        change_source(landing, f"{start:%Y%m%d}", line(7, seven), line(7, seven, 2))
        (found,) = differences(pipeline, table)
        assert (found.check, found.table, found.is_known) == ("source", table, False)
        assert found.ids == (f"{start:%d}e00007 differs",)
        assert found.said == "5 events in the source, 5 in the lake: 1 changed"
        mend(pipeline, found)
        assert differences(pipeline, table) == []


def test_a_day_that_the_source_cannot_give_is_said_and_the_others_are_compared(
    pipeline: Pipeline, landing: Path
) -> None:
    with (landing / "20260310.jsonl").open("a") as stream:
        stream.write("nonsense\n")
    found = verify(pipeline.site, ("events", "events_daily"), EVERYTHING)
    (unread,) = found.differences
    assert (unread.check, unread.table, unread.span.start) == ("source", "events", TODAY)
    assert "not compared, because the source cannot be read there" in unread.said
    assert "line 41 is not JSON" in unread.said
    assert (found.windows, found.rows, found.is_good) == (288, 1440, False)


def test_a_source_that_cannot_be_asked_is_a_difference(pipeline: Pipeline, landing: Path) -> None:
    (landing / "_lake.json").write_text("{}")
    found = differences(pipeline, "events")
    assert "its source cannot be asked: " in found[0].said
    assert str(found[0].mend) == "mend the source, and verify again"


def test_windows_on_both_sides_of_a_hole_are_compared_once(tmp_path: Path, landing: Path) -> None:
    project = Project((Stream("events", FileEvents(str(landing))),), lake=str(tmp_path / "lake"), start="2026-03-10")
    made = project.open([report], SettableClock(NOW))
    for number in (0, 2):
        fill(made, "events", TimeWindow(TODAY + number * GRID, TODAY + (number + 1) * GRID))
    found = verify(made.site, ("events",), EVERYTHING)
    assert (found.windows, found.rows, found.queries) == (2, 10, 1)


def test_an_event_that_was_exchanged_for_another_is_named_on_both_sides(pipeline: Pipeline, landing: Path) -> None:
    change_source(landing, "20260310", "e00012", "x00012")
    (found,) = differences(pipeline, "events")
    assert set(found.ids) == {"10x00012 only in the source", "10e00012 only in the lake"}
    assert found.span == TimeWindow(TODAY + 2 * GRID, TODAY + 3 * GRID)


def test_a_late_event_that_waits_to_be_healed_is_known_and_no_difference(pipeline: Pipeline, landing: Path) -> None:
    (landing / "late.jsonl").write_text(line(99, TODAY + timedelta(minutes=3)))
    found = verify(pipeline.site, ("events",), EVERYTHING)
    (waiting,) = found.differences
    assert (waiting.is_known, waiting.ids) == (True, ("10e00099 only in the source",))
    # Nobody wants windows here, so the event is taken in with its day.
    assert str(waiting.mend).startswith("stream-assets run, from 2026-03-11 00:")
    assert waiting.said == "6 events in the source, 5 in the lake: 1 missing"
    assert found.is_good


def test_a_known_difference_says_from_when_on_a_run_takes_it_in(tmp_path: Path, landing: Path) -> None:
    source = FileEvents(str(landing), arrival=None)
    project = Project((Stream("events", source),), lake=str(tmp_path / "lake"), start="2026-03-09")
    clock = SettableClock(NOW)
    pipeline = project.open([replace(report, freshness=timedelta(minutes=15))], clock)
    list(pipeline.run())
    (landing / "late.jsonl").write_text(line(9998, YESTERDAY + GRID) + line(9999, TODAY + timedelta(minutes=3)))
    pipeline.observe()
    list(pipeline.run())  # a closed day is healed at once the first time, and then waits an hour
    (landing / "later.jsonl").write_text(line(9997, YESTERDAY + GRID))
    known = [d for d in differences(pipeline, "events_daily", "events") if d.check == "source"]
    assert {d.is_known for d in known} == {True}
    starts = [datetime.fromisoformat(str(d.mend).split("from ")[1].removesuffix(" on")) for d in known]
    assert sorted(s > clock.now() for s in starts) == [True, True]
    for start in sorted(starts):
        clock.set(start - timedelta(seconds=1))
        list(pipeline.run())
        assert len(differences(pipeline, "events_daily", "events")) == len([s for s in starts if s >= start])
        clock.set(start)
        list(pipeline.run())
        assert len(differences(pipeline, "events_daily", "events")) == len([s for s in starts if s > start])


@pytest.mark.parametrize("table", ["events", "events_daily", "report"])
def test_a_file_that_is_gone_is_made_again(pipeline: Pipeline, table: str) -> None:
    file_of(pipeline, table, TimeWindow(TODAY, TODAY + GRID) if table == "events" else EVERYTHING).unlink()
    found = differences(pipeline, table)
    assert "is not there" in next(d for d in found if d.check == "receipt").said
    mend(pipeline, found[-1])
    assert differences(pipeline, table) == []


@pytest.mark.parametrize("table", ["events", "events_daily", "report"])
def test_a_file_that_was_cut_off_is_made_again(pipeline: Pipeline, table: str) -> None:
    path = file_of(pipeline, table, TimeWindow(TODAY, TODAY + GRID) if table == "events" else EVERYTHING)
    path.write_bytes(path.read_bytes()[:-20])
    found = differences(pipeline, table)
    assert {d.check for d in found} <= {"receipt", "file", "identity"}
    mend(pipeline, found[-1])
    assert differences(pipeline, table) == []


@pytest.mark.parametrize("table", ["events", "report"])
def test_rows_that_are_not_those_of_the_receipt_are_found(pipeline: Pipeline, table: str) -> None:
    from stream_assets.lake.parquet import write_part

    (current, *_) = pipeline.lake.ledger.current(table, TimeWindow(TODAY - GRID, TODAY + GRID))
    rows = pipeline.lake.rows_of(current, pipeline.lake.schema_of([current]))
    write_part(pipeline.lake.layout.root / current.file, rows.schema, [rows, rows], lambda: current.receipt)
    (found,) = differences(pipeline, table)
    mend(pipeline, found)
    assert differences(pipeline, table) == []


def test_a_file_that_nobody_published_is_named(pipeline: Pipeline) -> None:
    stranger = file_of(pipeline, "report").with_name("copy.parquet")
    stranger.write_bytes(b"")
    (found,) = differences(pipeline, "report")
    assert (found.check, str(found.mend)) == ("layout", f"move {stranger} out of the lake")


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ("events_daily", "x.parquet"),
        ("events_daily", "day=2026-03-09 (copy)"),
        ("events_daily", "day=2026-03-09.bak"),
        ("events_daily", "day=2026-3-9"),
        ("events_daily", "day=2027-01-01/X.PARQUET"),
        ("events_daily", "day=2020-01-01/part-r1-00000000.parquet"),
        ("events_daily", "day=2026-03-09/again"),
        ("events_daily", "day=2026-03-09/.hidden.parquet"),
        ("report", "old"),
        ("events", "day=2026-03-10/x.parquet"),
        ("events", "day=2026-03-10/window_start=20260310T0000Z (copy)"),
        ("events", "day=2026-03-10/window_start=20260310T0001Z"),
        ("events", "day=2026-03-10/window_start=20260309T2355Z"),
        ("events", "day=2026-03-10/window_start=20260310T1200Z/x.parquet"),
        ("events", "day=2026-03-10.bak"),
    ],
)
def test_what_a_globbing_reader_would_count_and_the_ledger_does_not_name_is_a_difference(
    pipeline: Pipeline, table: str, place: str
) -> None:
    stray = pipeline.lake.layout.table(table) / place
    file = stray if stray.suffix.lower() == ".parquet" else stray / "deep" / "part-r1-00000000.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(file_of(pipeline, table).read_bytes())
    found = verify(pipeline.site, [table], EVERYTHING)
    assert [(d.check, str(d.mend)) for d in found.differences] == [("layout", f"move {stray} out of the lake")]
    assert found.differences[0].said.startswith(f"{table}/{place}")
    assert not found.is_good
    shutil.move(stray, pipeline.lake.layout.root.parent)
    assert differences(pipeline, table) == []


def test_a_copied_folder_is_one_difference_with_the_count_of_its_files(pipeline: Pipeline) -> None:
    folder = pipeline.lake.layout.table("events") / "day=2026-03-10"
    shutil.copytree(folder, folder.with_name("day=2026-03-10 (copy)"))
    (found,) = differences(pipeline, "events")
    assert found.said.startswith("events/day=2026-03-10 (copy) (8 files) is not in the ledger")


def test_a_link_to_a_folder_of_the_table_is_a_difference_and_a_circle_ends(pipeline: Pipeline) -> None:
    folder = pipeline.lake.layout.table("events")
    (folder / "day=2026-03-10" / "circle").symlink_to(folder)
    (found,) = differences(pipeline, "events")
    assert str(found.mend) == f"move {folder / 'day=2026-03-10' / 'circle'} out of the lake"


def test_a_partition_that_lies_behind_a_link_is_in_its_place(pipeline: Pipeline, tmp_path: Path) -> None:
    folder = file_of(pipeline, "events_daily").parent
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert differences(pipeline, "events_daily") == []


def test_hidden_files_that_no_reader_takes_are_no_difference(pipeline: Pipeline) -> None:
    for name in (".DS_Store", "_SUCCESS"):
        (pipeline.lake.layout.table("events_daily") / name).touch()
    assert differences(pipeline, "events_daily") == []


def test_a_range_names_what_lies_inside_it_or_where_nothing_can_lie(pipeline: Pipeline) -> None:
    events = pipeline.lake.layout.table("events")
    inside, outside, nowhere = (
        events / "day=2026-03-10" / name / "x.parquet"
        for name in ("window_start=20260310T0000Z", "window_start=20260310T0005Z", "window_start=copy")
    )
    another = events / "day=2026-03-09" / "x.parquet"
    for stray in (inside, outside, nowhere, another):
        stray.parent.mkdir(exist_ok=True)
        stray.touch()
    found = verify(pipeline.site, ["events"], TimeWindow(TODAY, TODAY + GRID)).differences
    assert {str(d.mend) for d in found} == {f"move {s} out of the lake" for s in (inside, nowhere.parent)}


def test_a_table_that_nobody_declares_any_more_is_checked_against_the_ledger(pipeline: Pipeline) -> None:
    project = Project(
        (Stream("events", pipeline.site.sources["events"]),), lake=str(pipeline.lake.layout.root), start="2026-03-09"
    )
    later = project.open([], pipeline.clock)
    assert differences(later, "report") == []
    file_of(later, "report").unlink()
    (found,) = differences(later, "report")
    assert "nobody declares 'report' any more" in str(found.mend)


def test_coverage_that_no_receipt_backs_is_found(pipeline: Pipeline) -> None:
    hole = TimeWindow(TODAY + 20 * GRID, TODAY + 21 * GRID)
    pipeline.lake.ledger.cover("events", [hole], Intervals.of(hole))
    (found,) = [d for d in differences(pipeline, "events") if d.check == "coverage"]
    assert found.span == hole


def test_a_day_that_is_read_whole_takes_the_files_of_its_windows_along(tmp_path: Path, landing: Path) -> None:
    project = Project(
        (Stream("events", FileEvents(str(landing), arrival=None)),), lake=str(tmp_path / "lake"), start="2026-03-09"
    )
    clock = SettableClock(YESTERDAY + timedelta(minutes=47))
    pipeline = project.open([report], clock)
    fill(pipeline, "events", TimeWindow(YESTERDAY, YESTERDAY + 2 * GRID))
    seven = YESTERDAY + timedelta(minutes=7)
    change_source(landing, "20260309", line(7, seven), line(7, seven, 2))
    clock.set(NOW)
    assert all(not r.failed for _, reports in pipeline.run() for r in reports)
    copies = pipeline.lake.ledger.current("events", TimeWindow(YESTERDAY, YESTERDAY + 2 * GRID))
    assert [c.revision for c in copies] == [1, 2]
    assert differences(pipeline, "events_daily") == []


def test_a_copy_of_a_window_that_differs_from_its_day_is_mended(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = TimeWindow(YESTERDAY + GRID, YESTERDAY + 2 * GRID)
    rows = pipeline.lake.read("events", window)
    with monkeypatch.context() as patch, pipeline.lake.publisher() as publisher:
        patch.setattr(Publisher, "_refuse_torn_day", lambda publisher, receipt: None)
        stage(pipeline.lake, publisher, "events", window, [rows.slice(0, rows.num_rows - 1)])
        publisher.commit()
    (found,) = differences(pipeline, "events_daily")
    assert (found.check, found.table, found.span) == ("day", "events", window)
    mend(pipeline, found)
    assert differences(pipeline, "events_daily") == []


def test_what_is_wanted_and_not_there_is_a_hole_after_a_quarter_of_an_hour(pipeline: Pipeline) -> None:
    clock = pipeline.clock
    assert isinstance(clock, SettableClock)
    clock.set(TODAY + timedelta(days=1, minutes=15))
    assert [d for d in differences(pipeline, "events_daily", "report") if d.check == "hole"] == []
    clock.advance(timedelta(minutes=30))
    found = [d for d in differences(pipeline, "events_daily", "report") if d.check == "hole"]
    assert [(d.table, str(d.mend)) for d in found] == [
        ("events_daily", "stream-assets run"),
        ("report", "stream-assets run"),
    ]
    assert found[0].span == TimeWindow(TODAY, TODAY + timedelta(days=1))
    with pipeline.running("events_daily", found[0].span):
        left = [d.table for d in differences(pipeline, "events_daily", "report") if d.check == "hole"]
    assert left == ["report"]


def test_events_of_one_id_in_two_windows_are_named_with_both_within_a_day_and_to_the_day_before(
    pipeline: Pipeline, landing: Path
) -> None:
    again = YESTERDAY + timedelta(hours=5)
    (landing / "again.jsonl").write_text(line(1, again).replace(f"{again:%d}e00001", "09e00001"))
    fill(pipeline, "events_daily", TimeWindow(YESTERDAY, TODAY))
    (landing / "today.jsonl").write_text(line(2, TODAY).replace("10e00002", "09e00002"))
    fill(pipeline, "events", TimeWindow(TODAY, TODAY + GRID))
    days, windows = (d for d in differences(pipeline, "events_daily", "events") if d.check == "identity")
    assert days.ids == ("09e00001 in 2026-03-09T00:00Z and 2026-03-09T05:00Z",)
    assert windows.ids == ("09e00002 in 2026-03-09T00:00Z and 2026-03-10T00:00Z",)
    assert days.said == windows.said == "one id is in more than one window"
    assert days.mend.way == "by hand"


def test_ids_that_could_not_be_compared_are_said_beside_whatever_else_differs(
    pipeline: Pipeline, landing: Path
) -> None:
    seven = TODAY + timedelta(minutes=7)
    change_source(landing, "20260310", line(7, seven), line(7, seven, 2))
    path = file_of(pipeline, "events", TimeWindow(TODAY, TODAY + GRID))
    path.write_bytes(path.read_bytes()[:-20])
    found = differences(pipeline, "events")
    assert {"source", "file", "identity"} <= {d.check for d in found}
    (ids,) = (d for d in found if d.check == "identity")
    assert "ids were not compared" in ids.said
    assert str(ids.mend) == "mend what cannot be read, and verify again"


def test_deep_compares_ids_over_days_that_are_far_apart(tmp_path: Path) -> None:
    folder = tmp_path / "far"
    folder.mkdir()
    times = [YESTERDAY + timedelta(days=n, hours=n) for n in range(4)]
    text = "".join(json.dumps({"event_id": n % 3, "event_time": t.isoformat()}) + "\n" for n, t in enumerate(times))
    (folder / "all.jsonl").write_text(text)
    source = FileEvents(str(folder), arrival=None)
    project = Project((Stream("events", source),), lake=str(tmp_path / "far-lake"), start="2026-03-09")
    made = project.open([], SettableClock(NOW + timedelta(days=5)))
    list(made.run())
    span = TimeWindow(YESTERDAY, YESTERDAY + timedelta(days=5))
    assert verify(made.site, ("events", "events_daily"), span).differences == []
    (found,) = verify(made.site, ("events", "events_daily"), span, is_deep=True).differences
    assert (found.check, found.ids) == ("identity", ("0 in 2026-03-09T00:00Z and 2026-03-12T03:00Z",))


def test_deep_reads_the_copies_of_a_days_windows(tmp_path: Path, landing: Path) -> None:
    from stream_assets.lake.parquet import write_part

    source = FileEvents(str(landing), arrival=None)
    clock = SettableClock(YESTERDAY + timedelta(minutes=47))
    project = Project((Stream("events", source),), lake=str(tmp_path / "lake"), start="2026-03-09")
    pipeline = project.open([], clock)
    fill(pipeline, "events", TimeWindow(YESTERDAY, YESTERDAY + 2 * GRID))
    clock.set(NOW)
    list(pipeline.run())
    (copy, *_) = pipeline.lake.ledger.current("events", TimeWindow(YESTERDAY, YESTERDAY + GRID))
    rows = pipeline.lake.rows_of(copy, pipeline.lake.schema_of([copy]))
    write_part(pipeline.lake.layout.root / copy.file, rows.schema, [rows.slice(1)], lambda: copy.receipt)
    assert differences(pipeline, "events") == []
    (found,) = verify(pipeline.site, ["events"], EVERYTHING, is_deep=True).differences
    assert (found.check, found.span, found.mend.way) == ("receipt", copy.span, "remake")
    mend(pipeline, found)
    assert verify(pipeline.site, ["events"], EVERYTHING, is_deep=True).differences == []


def test_deep_reads_the_ledgers_file(pipeline: Pipeline) -> None:
    assert pipeline.lake.ledger.database.damage(is_deep=True) == []
    ledger = pipeline.lake.layout.ledger
    pipeline.lake.ledger.database.change("create index damaged on publication (reason)")
    pipeline.lake.ledger.database.change("pragma writable_schema = on")
    pipeline.lake.ledger.database.change("delete from sqlite_master where name = 'damaged'")
    pipeline.lake.ledger.database.rows("pragma wal_checkpoint(truncate)")
    pipeline.lake.ledger.database.close()
    assert ledger.exists()
    found = verify(pipeline.site, [], EVERYTHING, is_deep=True)
    assert [d.check for d in found.differences][:1] == ["ledger"]
    assert "stream-assets ledger rebuild" in str(found.differences[0].mend)
    assert not found.is_good
