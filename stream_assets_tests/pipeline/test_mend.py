"""`verify --mend` does what the differences name, accepts no loss, and leaves to people what only they can do."""

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
from stream_assets.lake.parquet import write_part
from stream_assets.pipeline.project import Project, Stream
from stream_assets.pipeline.verify import Mended, mend, verify
from stream_assets.sources.files import FileEvents
from stream_assets.testing import SettableClock

if TYPE_CHECKING:
    from stream_assets.lake.ledger import Current
    from stream_assets.pipeline import Pipeline

DAY = datetime(2026, 3, 9, tzinfo=UTC)
TODAY = DAY + timedelta(days=1)
NOW = TODAY + timedelta(minutes=47)
EVERYTHING = TimeWindow(DAY, TODAY + timedelta(days=1))
FIRST = TimeWindow(TODAY, TODAY + GRID)


@consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id"]})
def counts(events: pa.Table) -> pa.Table:
    return pa.table({"events": pa.array([events.num_rows], pa.int64())})


@consumer(freshness="1 day", reads={"events": ["event_id"]})
def report(events: pa.Table) -> pa.Table:
    return pa.table({"events": pa.array([events.num_rows], pa.int64())})


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """An event every ten minutes, one file a day."""
    folder = tmp_path / "landing"
    folder.mkdir()
    for start, count in ((DAY, 144), (TODAY, 4)):
        times = (start + timedelta(minutes=10 * n) for n in range(count))
        text = "".join(json.dumps({"event_id": f"{t:%dT%H%M}", "event_time": t.isoformat()}) + "\n" for t in times)
        (folder / f"{start:%Y%m%d}.jsonl").write_text(text)
    return folder


@pytest.fixture
def pipeline(tmp_path: Path, landing: Path) -> Pipeline:
    source = FileEvents(str(landing), arrival=None)
    project = Project((Stream("events", source),), lake=str(tmp_path / "lake"), start="2026-03-09")
    made = project.open([counts, report], SettableClock(NOW))
    assert all(not r.failed for _, reports in made.run() for r in reports)
    return made


def current(pipeline: Pipeline, table: str, span: TimeWindow = EVERYTHING) -> Current:
    return pipeline.lake.ledger.current(table, span)[0]


def path(pipeline: Pipeline, table: str, span: TimeWindow = EVERYTHING) -> Path:
    return pipeline.lake.layout.root / current(pipeline, table, span).file


def double_rows(pipeline: Pipeline, table: str, span: TimeWindow = EVERYTHING) -> None:
    """Put every row into a file twice, under the receipt that it had."""
    known = current(pipeline, table, span)
    rows = pipeline.lake.rows_of(known, pipeline.lake.schema_of([known]))
    write_part(pipeline.lake.layout.root / known.file, rows.schema, [rows, rows], lambda: known.receipt)


def mended(pipeline: Pipeline) -> list[Mended]:
    tables = tuple(pipeline.declarations.tables)
    before = verify(pipeline.site, tables, EVERYTHING, is_deep=True)
    assert not before.is_good
    return mend(pipeline, before.differences)


def assert_clean(pipeline: Pipeline) -> None:
    """Nothing differs once the next boundary of the open day has taken along what was mended."""
    assert isinstance(pipeline.clock, SettableClock)
    list(pipeline.run())
    pipeline.clock.advance(timedelta(minutes=5))
    list(pipeline.run())
    tables = tuple(pipeline.declarations.tables)
    found = verify(pipeline.site, tables, EVERYTHING, is_deep=True)
    assert found.differences == []
    assert found.reasons == {}


@pytest.mark.parametrize("damage", ["gone", "cut off", "rows doubled", "exchanged for rubbish"])
def test_damaged_files_are_made_again(pipeline: Pipeline, damage: str) -> None:
    for table in ("events_daily", "events", "counts", "report"):
        span = FIRST if table == "events" else EVERYTHING
        file = path(pipeline, table, span)
        if damage == "gone":
            file.unlink()
        elif damage == "cut off":
            file.write_bytes(file.read_bytes()[:-20])
        elif damage == "rows doubled":
            double_rows(pipeline, table, span)
        else:
            file.write_bytes(b"rubbish")
    assert all(m.is_done for m in mended(pipeline))
    assert current(pipeline, "events_daily").revision == 2
    assert current(pipeline, "events", FIRST).revision == 2
    assert_clean(pipeline)


def test_everything_that_can_happen_at_once_is_mended(pipeline: Pipeline, landing: Path) -> None:
    lake, ledger = pipeline.lake, pipeline.lake.ledger
    hole = TimeWindow(TODAY + 2 * GRID, TODAY + 3 * GRID)
    ledger.cover("counts", [hole], Intervals())
    ahead = TimeWindow(TODAY + 20 * GRID, TODAY + 21 * GRID)
    ledger.cover("events", [ahead], Intervals.of(ahead))
    left = path(pipeline, "counts", FIRST)
    (left.parent / "part-r0-00000000.parquet").write_bytes(left.read_bytes())
    double_rows(pipeline, "events_daily")
    file = landing / "20260310.jsonl"
    known = file.stat()
    file.write_text(file.read_text().replace('"10T0010"', '"10TXXXX"'))
    os.utime(file, ns=(known.st_atime_ns, known.st_mtime_ns))
    done = mended(pipeline)
    assert {m.table for m in done if "counted again" in m.said} == {"events", "counts"}
    # The exchanged event is a loss for whoever had it, and stays until somebody allows it.
    refused, *again = [m for m in done if not m.is_done]
    assert "no longer gives 1 of 1 events that the lake has (such as 10T0010)" in refused.said
    assert [m.said for m in again] == []
    with pipeline.running("events", refused.span, accepts_loss=True) as running:
        assert not pipeline.fill("events", refused.span, running).failed
    assert [d for d in lake.layout.root.rglob("part-r0-*") if "_staging" not in d.parts] == []
    assert_clean(pipeline)


def test_a_damaged_day_of_an_expired_source_stays_as_it_is(pipeline: Pipeline, landing: Path) -> None:
    double_rows(pipeline, "events_daily")
    (landing / "20260309.jsonl").unlink()
    before = path(pipeline, "events_daily").read_bytes()
    (refused,) = [m for m in mended(pipeline) if m.table == "events_daily" and not m.is_done]
    assert "the source no longer gives 1 of 1 events" in refused.said
    assert "`stream-assets materialize events_daily --from 2026-03-09 --accept-loss`" in refused.said
    assert path(pipeline, "events_daily").read_bytes() == before


@pytest.mark.slow
def test_a_file_that_is_gone_is_not_replaced_by_less_than_its_receipt_says(pipeline: Pipeline, landing: Path) -> None:
    path(pipeline, "events_daily").unlink()
    (landing / "20260309.jsonl").write_text("")
    said = [m.said for m in mended(pipeline) if m.table == "events_daily"]
    assert any("no longer gives 1 of 1 events" in s and "the file that had them is gone or damaged" in s for s in said)
    assert current(pipeline, "events_daily").revision == 1


def test_a_newer_file_beside_the_known_one_is_adopted(pipeline: Pipeline) -> None:
    known = current(pipeline, "counts", FIRST)
    newer = replace(known.receipt, revision=2)
    rows = pipeline.lake.rows_of(known, pipeline.lake.schema_of([known]))
    folder = path(pipeline, "counts", FIRST).parent
    write_part(folder / pipeline.lake.layout.part(2, newer.digest), rows.schema, [rows], lambda: newer)
    assert any("adopted" in m.said for m in mended(pipeline))
    assert [f.name for f in folder.iterdir()] == [Path(current(pipeline, "counts", FIRST).file).name]
    assert current(pipeline, "counts", FIRST).revision == 3
    assert_clean(pipeline)


def test_a_copy_that_pretends_to_be_newer_is_for_people_from_the_first_advice_on(pipeline: Pipeline) -> None:
    real = path(pipeline, "events_daily")
    copy = real.with_name(real.name.replace("part-r1-", "part-r9-"))
    shutil.copy(real, copy)
    for _ in range(2):
        found = verify(pipeline.site, ["events_daily"], EVERYTHING)
        assert [str(d.mend) for d in found.differences] == [f"move {copy} out of the lake"]
        assert mend(pipeline, found.differences) == []
    copy.unlink()
    assert_clean(pipeline)


def test_a_strangers_file_is_only_named(pipeline: Pipeline) -> None:
    stranger = path(pipeline, "report").with_name("copy.parquet")
    stranger.write_bytes(b"")
    misplaced = path(pipeline, "counts", FIRST).parent.with_name(path(pipeline, "counts", FIRST).name)
    misplaced.write_bytes(path(pipeline, "counts", FIRST).read_bytes())
    assert mended(pipeline) == []
    assert stranger.exists()
    assert misplaced.exists()


def test_what_is_missing_is_filled_and_what_is_paused_is_tried_again(pipeline: Pipeline) -> None:
    day = TimeWindow(DAY, TODAY)
    pipeline.lake.ledger.cover("report", [day], Intervals())
    pipeline.lake.ledger.database.change("delete from current where tbl = 'report'")
    for _ in range(3):
        pipeline.lake.ledger.work.fail("report", day, "said", NOW, transient=False, code=report.code, upto=None)
    assert list(pipeline.run()) == []
    assert any(m.table == "report" and m.is_done for m in mended(pipeline))
    assert_clean(pipeline)
