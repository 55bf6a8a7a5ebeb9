"""Rows that were rejected become events once the source is declared as it should be."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_assets.core.window import TimeWindow
from stream_assets.errors import LakeUnavailable
from stream_assets.lake.publish import Publisher
from stream_assets.pipeline.ingest import Ingest
from stream_assets.pipeline.learning import Learning
from stream_assets.pipeline.release import _Release, release
from stream_assets.pipeline.verify import verify
from stream_assets.sources.files import FileEvents
from stream_assets_tests.lake.processes import ended, start
from stream_assets_tests.scenarios.buyers import dashboard

START = datetime(2026, 3, 11, tzinfo=UTC)
DAY = TimeWindow(START, START + timedelta(days=1))
NAIVE = "event_time has no time zone"
GOOD = [
    {"event_id": f"g{n}", "event_time": f"2026-03-11T00:{n:02}:00Z", "country": "DE", "amount": 1.5} for n in range(12)
]
BARE = [
    {"event_id": "b1", "event_time": "2026-03-11 00:03", "country": "KR", "amount": 2.0},
    {"event_id": "b2", "event_time": "2026-03-11 01:09", "country": "KR", "amount": 4.0},
    {"event_id": "b3", "event_time": "soon", "country": "KR", "amount": 8.0},
]


def jsonl(folder, rows):
    (folder / "1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def csv(folder, rows):
    lines = [",".join(rows[0]), *(",".join(str(v) for v in row.values()) for row in rows)]
    (folder / "1.csv").write_text("\n".join(lines) + "\n")


def parquet(folder, rows):
    pq.write_table(pa.Table.from_pylist(rows), folder / "1.parquet")


@pytest.fixture(params=[jsonl, csv, parquet], ids=lambda f: f.__name__)
def story(request, world, tmp_path):
    """A world that has sealed an hour in which three rows were rejected; the clocks of the Azores are an hour behind UTC."""
    folder = tmp_path / "landing"
    folder.mkdir()
    request.param(folder, [*GOOD, *BARE])
    source = FileEvents(str(folder), format=request.param.__name__)
    w = world(dashboard, now="2026-03-11 02:22", start="2026-03-11", sources={"events": source})
    w.landing = folder
    w.run()
    return w


whatever_the_format = pytest.mark.parametrize("story", [jsonl], ids=["jsonl"], indirect=True)


def declared(w, **fields):
    """Declare the source otherwise, as after a change of the project."""
    streams = tuple(replace(s, source=replace(s.source, **fields)) for s in w.project.streams)
    w.project = replace(w.project, streams=streams)
    return w.define(*w.pipeline.declarations.consumers)


def released(w, start=START, end=DAY.end):
    return release(w.pipeline, w.pipeline.declarations.stream("events"), TimeWindow(start, end))


def ids(w):
    rows = w.pipeline.lake.read("events", TimeWindow(START - timedelta(days=1), DAY.end))
    return {r["event_id"]: r["event_time"] for r in rows.to_pylist()}


def counts(w):
    receipts = [*w.receipts("events").values(), *w.receipts("events_daily").values()]
    assert all(r.rows_read == r.rows + r.duplicates + r.rejected for r in receipts)
    return sum(r.rejected for r in w.receipts("events").values())


def is_clean(w):
    span = TimeWindow(START - timedelta(days=1), w.now - timedelta(minutes=7))
    found = verify(w.pipeline.site, list(w.pipeline.declarations.tables), span, is_deep=True)
    return [d for d in found.differences if not d.is_known] == []


def test_they_land_in_their_windows_and_the_others_stay(story):
    w = story
    assert counts(w) == 3
    assert released(w).rows == 0
    declared(w, timezone="Atlantic/Azores")
    done = released(w)
    assert done.rows == 2
    assert done.left == {"event_time cannot be read as an instant": 1}
    assert ids(w)["b1"] == datetime(2026, 3, 11, 1, 3, tzinfo=UTC)
    assert ids(w)["b2"] == datetime(2026, 3, 11, 2, 9, tzinfo=UTC)
    assert counts(w) == 1
    assert is_clean(w)
    assert w.receipts("events")["2026-03-11T02:05+0000"].reason == "rejected rows were released"
    before = w.revisions("events") | w.revisions("events_daily")
    assert released(w).rows == 0
    assert w.revisions("events") | w.revisions("events_daily") == before
    w.at("2026-03-11 02:37")
    w.run()
    keys = [row for row in w.table("dashboard") if ("country", "KR") in row]
    assert len(keys) == 2


def test_what_was_released_is_never_lost_by_a_later_look_at_the_source(story):
    w = declared(story, timezone="Atlantic/Azores")
    released(w)
    there = ids(w)
    declared(w, timezone="")
    again = w.by_hand("events", "2026-03-11T00:00", "2026-03-11T02:15").outcomes
    assert [o.error for o in again if not o.is_good] == []
    assert ids(w) == there
    assert is_clean(w)
    # And with all of the source.
    declared(w, timezone="Atlantic/Azores")
    w.by_hand("events", "2026-03-11T00:00", "2026-03-11T02:15")
    assert ids(w) == there
    counts(w)


def test_also_where_the_source_has_nothing_any_more(story):
    w = story
    for path in w.landing.iterdir():
        path.rename(path.with_name("_" + path.name))
    declared(w, timezone="Atlantic/Azores")
    assert released(w).rows == 2
    assert ids(w).keys() == {*(f"g{n}" for n in range(12)), "b1", "b2"}
    assert counts(w) == 1


def test_on_a_closed_day_the_day_and_its_window_are_published_together(story):
    w = story
    w.at("2026-03-12 00:22")
    w.run()
    declared(w, timezone="Atlantic/Azores")
    published = {(o.table, o.span.start) for o in released(w).outcomes if o.state == "published"}
    assert ("events_daily", START) in published
    day = w.receipts("events_daily")["2026-03-11"]
    assert (day.rows, day.rejected, day.rows_read) == (14, 1, 15)
    assert counts(w) == 1
    assert is_clean(w)


def test_a_window_that_is_not_sealed_gets_them_when_it_is(story):
    w = declared(story, timezone="America/New_York")
    assert released(w).rows == 2
    assert ids(w).keys() == {f"g{n}" for n in range(12)}
    w.at("2026-03-11 05:22")
    w.run()
    assert ids(w)["b1"] == datetime(2026, 3, 11, 4, 3, tzinfo=UTC)
    assert ids(w)["b2"] == datetime(2026, 3, 11, 5, 9, tzinfo=UTC)
    assert counts(w) == 1
    assert is_clean(w)


def test_values_come_back_as_they_were(world, tmp_path):
    folder = tmp_path / "landing"
    folder.mkdir()
    day = date(2026, 1, 2)
    values = {
        "price": Decimal("12345678901234567890.12"),
        "big": 2**60 + 1,
        "seen": datetime(2026, 3, 11, 0, 1, 2, 3, tzinfo=UTC),
        "born": day,
        "bytes": b"\xff\x00",
        "text": 'a "quote" \\ \x00 \u0645\u0631\u062d\u0628\u0627 \U0001f600',
        "tags": ["x", None],
        "basket": {"n": 1, "price": Decimal("1.50"), "when": [day]},
        "ratio": float("inf"),
    }
    schema = pa.schema(
        [
            ("event_id", pa.int64()), ("event_time", pa.string()), ("price", pa.decimal128(38, 2)), ("big", pa.int64()),
            ("seen", pa.timestamp("us", "UTC")), ("born", pa.date32()), ("bytes", pa.binary()), ("text", pa.string()),
            ("tags", pa.list_(pa.string())), ("ratio", pa.float64()),
            ("basket", pa.struct([("n", pa.int64()), ("price", pa.decimal128(9, 2)), ("when", pa.list_(pa.date32()))])),
        ]
    )  # fmt: skip
    rows = [
        {"event_id": 1, "event_time": "2026-03-11T00:01:00Z", **values},
        {"event_id": 2, "event_time": "2026-03-11 00:02", **values},
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "1.parquet")
    w = world(now="2026-03-11 00:12", start="2026-03-11", sources={"events": FileEvents(str(folder), format="parquet")})
    (outcome,) = w.by_hand("events", "2026-03-11T00:00").outcomes
    assert outcome.is_good, outcome.error
    declared(w, timezone="UTC")
    done = released(w)
    assert done.rows == 1, done.left
    first, second = w.pipeline.lake.read("events", DAY).drop_columns(["event_id", "event_time"]).to_pylist()
    assert first == second == values


@pytest.mark.parametrize(("place", "step"), [(Learning, "keep_rejected"), (Ingest, "_unchanged")])
def test_a_slower_writer_takes_no_rejected_rows_away_that_a_faster_one_has_kept_since(
    world, tmp_path, monkeypatch, place, step
):
    folder = tmp_path / "landing"
    folder.mkdir()
    jsonl(folder, [*GOOD, BARE[0]])
    w = world(now="2026-03-11 00:22", start="2026-03-11", sources={"events": FileEvents(str(folder))})
    if place is Ingest:
        w.by_hand("events", "2026-03-11T00:00")
    original, faster = getattr(place, step), [True]

    def late(*args):
        if faster:
            faster.clear()
            jsonl(folder, [*GOOD, BARE[0], {**BARE[0], "event_id": "b4"}])
            w.clock.advance(timedelta(seconds=1))
            w.by_hand("events", "2026-03-11T00:00")
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(place, step, late)
        w.by_hand("events", "2026-03-11T00:00")
    assert not faster
    kept = w.pipeline.lake.beside.read("events", TimeWindow(START, START + timedelta(minutes=5)))
    assert kept.num_rows == w.receipts("events")["2026-03-11T00:00+0000"].rejected == 2


def test_a_row_outside_of_the_days_that_the_lake_keeps_stays_rejected(world, tmp_path):
    folder = tmp_path / "landing"
    folder.mkdir()
    jsonl(folder, [*GOOD, {"event_id": "old", "event_time": "2020-01-01 00:00"}])
    w = world(now="2026-03-11 00:22", start="2026-03-11", sources={"events": FileEvents(str(folder))})
    w.by_hand("events", "2026-03-11T00:00", "2026-03-11T00:15")
    rejected = counts(w)
    declared(w, timezone="UTC")
    done = released(w)
    assert (done.rows, sum(done.left.values())) == (0, rejected)


# Released under a wrong declaration.


def korean(w):
    """What the dashboard, half an hour later, says of the events that were released."""
    w.clock.advance(timedelta(minutes=30))
    w.run()
    return [dict(row)["event_id_count"] for row in w.table("dashboard") if ("country", "KR") in row]


def at(*times):
    return [datetime(2026, 3, 11, hour, minute, tzinfo=UTC) for hour, minute in times]


def test_what_was_released_under_a_wrong_zone_is_moved_by_the_right_one(story):
    w = declared(story, timezone="Atlantic/Azores")
    released(w)
    w.run()
    assert [ids(w)["b1"], ids(w)["b2"]] == at((1, 3), (2, 9))
    declared(w, timezone="UTC")
    done = released(w)
    assert (done.rows, done.moved) == (0, 2)
    assert sorted(ids(w)) == sorted([*(row["event_id"] for row in GOOD), "b1", "b2"])
    assert [ids(w)["b1"], ids(w)["b2"]] == at((0, 3), (1, 9))
    assert is_clean(w)
    assert counts(w) == 1
    assert korean(w) == [1, 1]
    assert is_clean(w)
    before = w.revisions("events")
    assert released(w).moved == 0
    assert w.revisions("events") == before


@whatever_the_format
@pytest.mark.parametrize("zone", ["Atlantic/Azores", "UTC", ""], ids=["as before", "the right one", "none"])
def test_also_where_the_source_was_read_in_between(story, zone):
    w = declared(story, timezone="Atlantic/Azores")
    released(w)
    declared(w, timezone=zone)
    again = w.by_hand("events", "2026-03-11T00:00", "2026-03-11T02:15").outcomes
    assert [o.error for o in again if not o.is_good] == []
    declared(w, timezone="UTC")
    released(w)
    assert [ids(w)["b1"], ids(w)["b2"]] == at((0, 3), (1, 9))
    w.run()
    assert len(ids(w)) == w.pipeline.lake.read("events", DAY).num_rows == 14
    assert is_clean(w)
    w.by_hand("events", "2026-03-11T00:00", "2026-03-11T02:15")
    assert counts(w) == 1
    assert is_clean(w)


@whatever_the_format
def test_also_out_of_a_closed_day_and_back(story):
    w = story
    w.at("2026-03-12 00:22")
    w.run()
    declared(w, timezone="Pacific/Kiritimati")  # by this one they lie before the first day
    assert released(w).rows == 0
    declared(w, timezone="Etc/GMT+11")
    assert released(w).rows == 2
    assert [ids(w)["b1"], ids(w)["b2"]] == at((11, 3), (12, 9))
    declared(w, timezone="UTC")
    assert released(w).moved == 2
    day = w.receipts("events_daily")["2026-03-11"]
    assert (day.rows, day.rejected, day.rows_read) == (14, 1, 15)
    assert [ids(w)["b1"], ids(w)["b2"]] == at((0, 3), (1, 9))
    assert is_clean(w)
    declared(w, timezone="Etc/GMT+11")
    assert released(w).moved == 2
    assert [ids(w)["b1"], ids(w)["b2"]] == at((11, 3), (12, 9))
    w.run()
    assert is_clean(w)


def test_from_one_day_to_another_with_the_day_that_is_open(world, tmp_path):
    folder = tmp_path / "landing"
    folder.mkdir()
    jsonl(folder, [*GOOD, {"event_id": "b", "event_time": "2026-03-11 23:30", "country": "KR", "amount": 2.0}])
    w = world(dashboard, now="2026-03-12 02:22", start="2026-03-11", sources={"events": FileEvents(str(folder))})
    w.run()
    declared(w, timezone="Atlantic/Azores")
    released(w)
    everything = TimeWindow(START, w.now)
    assert w.receipts("events")["2026-03-12T00:30+0000"].rows == 1
    declared(w, timezone="UTC")
    # Whatever range is asked for: an event that is moved is looked for everywhere.
    assert released(w, START, START + timedelta(minutes=5)).moved == 1
    assert w.receipts("events")["2026-03-12T00:30+0000"].rows == 0
    assert w.receipts("events_daily")["2026-03-11"].rows == 13
    rows = w.pipeline.lake.read("events", everything)
    assert rows.column("event_id").to_pylist().count("b") == 1
    assert korean(w) == [1]
    assert is_clean(w)


@whatever_the_format
def test_out_of_a_window_that_is_not_sealed_yet(story):
    w = declared(story, timezone="America/New_York")
    assert released(w).rows == 2
    declared(w, timezone="UTC")
    assert released(w).moved == 2
    assert [ids(w)["b1"], ids(w)["b2"]] == at((0, 3), (1, 9))
    w.at("2026-03-11 05:22")
    w.run()
    assert w.pipeline.lake.read("events", DAY).num_rows == 14
    assert is_clean(w)


@whatever_the_format
def test_what_conforms_no_longer_stays_where_it_was(story):
    w = declared(story, timezone="Atlantic/Azores")
    released(w)
    there = ids(w)
    declared(w, timezone="")
    assert (released(w).rows, released(w).moved) == (0, 0)
    assert ids(w) == there


def test_under_another_id(world, tmp_path):
    folder = tmp_path / "landing"
    folder.mkdir()
    rows = [{"click": f"c{n}", "order": f"o{n}", "event_time": "2026-03-11 00:03"} for n in range(2)]
    jsonl(folder, [{"click": "c", "order": "o", "event_time": "2026-03-11T00:03:00Z"}, *rows])
    w = world(now="2026-03-11 00:22", start="2026-03-11", sources={"events": FileEvents(str(folder), id="click")})
    w.by_hand("events", "2026-03-11T00:00", "2026-03-11T00:10")
    declared(w, timezone="UTC", id="order")
    assert released(w).rows == 2
    assert ids(w).keys() == {"c", "o0", "o1"}
    declared(w, timezone="UTC", id="click")
    assert released(w).moved == 2
    assert ids(w).keys() == {"c", "c0", "c1"}
    assert counts(w) == 0


# Beside others.


@whatever_the_format
def test_a_window_that_is_being_sealed_gets_what_is_released_meanwhile(story):
    w = declared(story, timezone="America/New_York")
    w.at("2026-03-11 05:22")
    with w.before_commit("events", lambda: released(w)):
        w.run()
    assert [ids(w)["b1"], ids(w)["b2"]] == at((4, 3), (5, 9))
    assert w.pipeline.lake.read("events", DAY).num_rows == 14


@whatever_the_format
def test_a_window_that_is_being_read_again_keeps_nothing_that_is_moved_meanwhile(story):
    w = declared(story, timezone="Atlantic/Azores")
    released(w)
    declared(w, timezone="")
    late = {**GOOD[0], "event_id": "late", "event_time": "2026-03-11T01:01:00Z"}
    {"jsonl": jsonl, "csv": csv, "parquet": parquet}[w.project.streams[0].source.format](
        w.landing, [*GOOD, late, *BARE]
    )

    def moved():
        declared(w, timezone="UTC")
        assert released(w).moved == 2

    with w.before_commit("events", moved):
        w.by_hand("events", "2026-03-11T01:00", "2026-03-11T01:05")
    assert w.pipeline.lake.read("events", DAY).num_rows == len(ids(w)) == 15
    assert [ids(w)["b1"], ids(w)["b2"]] == at((0, 3), (1, 9))


@whatever_the_format
@pytest.mark.parametrize("step", ["_write", "_publish", "_settle"])
@pytest.mark.parametrize("zone", ["Atlantic/Azores", ""], ids=["of events", "of rows"])
def test_two_processes_release_at_once(story, monkeypatch, zone, step):
    w = declared(story, timezone=zone)
    released(w)
    declared(w, timezone="UTC")
    both = multiprocessing.get_context("fork").Barrier(2)
    original = getattr(_Release, step)

    def meeting():
        waits = [True]

        def at_once(*args):
            if waits:
                waits.clear()
                both.wait(60)
            return original(*args)

        monkeypatch.setattr(_Release, step, at_once)
        released(w)

    assert [ended(child) for child in [start(meeting), start(meeting)]] == [0, 0]
    assert [ids(w)["b1"], ids(w)["b2"]] == at((0, 3), (1, 9))
    assert w.pipeline.lake.read("events", DAY).num_rows == 14
    assert counts(w) == 1
    assert is_clean(w)
    before = w.revisions("events")
    assert (released(w).rows, released(w).moved) == (0, 0)
    assert w.revisions("events") == before
    w.by_hand("events", "2026-03-11T00:00", "2026-03-11T02:15")
    assert len(ids(w)) == w.pipeline.lake.read("events", DAY).num_rows == 14


def test_each_day_stands_alone(world, tmp_path, monkeypatch):
    folder = tmp_path / "landing"
    folder.mkdir()
    bare = [{**BARE[0], "event_id": f"b{day}", "event_time": f"2026-03-{day} 00:03"} for day in (11, 12, 13)]
    jsonl(folder, [*GOOD, *bare])
    w = world(dashboard, now="2026-03-14 00:22", start="2026-03-11", sources={"events": FileEvents(str(folder))})
    w.run()
    declared(w, timezone="UTC")
    commit, spans = Publisher.commit, []

    def fails(publisher, *others):
        spans.append(publisher.spans("events_daily"))
        if len(spans) == 2:
            raise LakeUnavailable("the disk is full")
        return commit(publisher, *others)

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "commit", fails)
        with pytest.raises(LakeUnavailable):
            released(w, end=w.now)
    assert [len(list(span)) for span in spans] == [1, 1]
    everything = TimeWindow(START, w.now)
    assert w.pipeline.lake.read("events", everything).num_rows == 13
    released(w, end=w.now)
    assert w.pipeline.lake.read("events", everything).num_rows == 15
    assert is_clean(w)
    assert list(w.pipeline.lake.beside.windows("events", everything)) == []
