"""Columns that come, go and change their types while a stream lives."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from stream_assets import consumer
from stream_assets.core.window import TimeWindow
from stream_assets.events.columns import Columns
from stream_assets.pipeline.project import Project, Stream
from stream_assets.pipeline.prove import LANES, prove
from stream_assets.pipeline.verify import verify
from stream_assets.sources.files import FileEvents
from stream_assets_tests.scenarios.buyers import report

START = datetime(2026, 3, 11, tzinfo=UTC)


class Landing:
    """A folder of JSON lines: a file a window, one event a minute with the given columns."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def write(self, at, *columns):
        hour, minute = map(int, at.split(":"))
        start = START + timedelta(hours=hour, minutes=minute)
        rows = [
            {"event_id": f"{at}-{n}", "event_time": (start + timedelta(minutes=n)).isoformat(), **row}
            for n, row in enumerate(columns)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (self.folder / f"{at.replace(':', '')}.jsonl").write_text(lines)


@pytest.fixture
def landing(tmp_path):
    return Landing(tmp_path / "landing")


@pytest.fixture
def living(world, landing):
    """A world over the folder in which the first window has amounts that are integers."""

    def live(drift="evolve", *consumers):
        landing.write("00:00", {"amount": 1}, {"amount": 2})
        source = FileEvents(str(landing.folder))
        w = world(*consumers, now="2026-03-11 00:08", start="2026-03-11", sources={"events": source}, drift=drift)
        w.by_hand("events", "2026-03-11T00:00")
        return w

    return live


def filled(w, until):
    """Fill all windows since the first; the errors by the minute of their window."""
    w.at(f"2026-03-11 {until}")
    settled = (w.now - timedelta(minutes=2)).strftime("%H:%M")
    outcomes = w.by_hand("events", "2026-03-11T00:00", f"2026-03-11T{settled}").outcomes
    return {f"{o.span.start:%H:%M}": o.error for o in outcomes if o.error}


def rows(w):
    table = w.pipeline.lake.read("events", TimeWindow(START, START + timedelta(days=1)))
    return {r.pop("event_id"): {k: v for k, v in r.items() if k != "event_time"} for r in table.to_pylist()}


def known(w):
    return dict(w.pipeline.site.columns("events", TimeWindow(START, START)).kinds)


def is_clean(w):
    return verify(w.pipeline.site, ["events"], TimeWindow(START, w.now - timedelta(minutes=7))).is_good


def test_new_columns_and_wider_types_are_let_in(living, landing):
    w = living()
    landing.write("00:05", {"amount": 1.5, "coupon": "x"}, {"basket": {"n": 1}})
    landing.write("00:10", {"basket": {"n": 2.5, "gift": True}})
    assert filled(w, "00:17") == {}
    assert rows(w)["00:00-1"]["amount"] == 2.0
    assert rows(w)["00:10-0"]["basket"] == {"n": 2.5, "gift": True}
    assert known(w)["amount"] == pa.float64()
    assert known(w)["basket"] == pa.struct([("n", pa.float64()), ("gift", pa.bool_())])
    assert is_clean(w)


@pytest.mark.parametrize(
    ("first", "then", "was"),
    [
        (1, "two", "string, and int64"),
        (1.5, "2.5", "string, and double"),
        ("1", 2, "int64, and string"),
        ({"a": 1}, "a", "string, and struct<a: int64>"),
        ([1], ["x"], "list<item: string>, and list<item: int64>"),
        (True, 1, "int64, and bool"),
        (2**53 + 1, 1.5, "double, and int64"),
        (1.5, 2**53 + 1, "int64, and double"),
    ],
)
def test_what_could_lose_a_value_is_refused_at_the_door_and_the_others_go_on(living, landing, first, then, was):
    w = living()
    landing.write("00:05", {"x": first})
    landing.write("00:10", {"x": then})
    landing.write("00:15", {"x": first})
    failed = filled(w, "00:12") | filled(w, "00:22")
    assert failed.keys() == {"00:10"}
    for part in ("'x'", f"is {was} so far", "window 2026-03-11T00:10+0000", "0010.jsonl", "stream-assets retry events"):
        assert part in failed["00:10"]
    assert rows(w)["00:15-0"]["x"] == first
    if 2**53 + 1 in (first, then):
        assert "beyond 2**53" in failed["00:10"]
    if then == 2**53 + 1:
        assert str(then) in failed["00:10"]


def test_a_wrong_type_that_came_first_is_forgotten_once_it_is_mended(living, landing):
    w = living()
    landing.write("00:05", {"x": "oops"})
    assert filled(w, "00:12") == {}
    landing.write("00:10", {"x": 1})
    landing.write("00:05", {"x": 1})
    assert filled(w, "00:17").keys() == {"00:05", "00:10"}
    w.pipeline.forget_columns("events")
    assert filled(w, "00:17") == {}
    assert known(w)["x"] == pa.int64()
    assert is_clean(w)


def test_a_conflict_over_columns_is_tried_again_with_those_of_the_faster_writer(living, landing):
    w = living()
    landing.write("00:05", {"x": 1})
    landing.write("00:10", {"x": "text"})
    w.at("2026-03-11 00:17")
    with w.before_commit("events", lambda: w.by_hand("events", "2026-03-11T00:10")):
        (outcome,) = w.by_hand("events", "2026-03-11T00:05").outcomes
    # Not that others were faster three times: the second try has seen what is wrong with the source.
    assert "'x'" in outcome.error
    assert "another writer" not in outcome.error
    landing.write("00:05", {"x": "more text"})
    assert w.by_hand("events", "2026-03-11T00:05").count("published") == 1


def test_a_column_without_a_value_says_nothing_of_its_type(living, landing, tmp_path):
    w = living("freeze")
    landing.write("00:05", {"amount": None, "coupon": None})
    landing.write("00:10", {})
    assert filled(w, "00:17") == {}
    assert known(w) == {"event_id": pa.string(), "event_time": pa.timestamp("us", "UTC"), "amount": pa.int64()}
    assert rows(w)["00:05-0"] == {"amount": None}


@pytest.mark.parametrize(
    ("columns", "said"),
    [({"coupon": "x"}, "column 'coupon' (string) is new"), ({"amount": 1.5}, "column 'amount' is double, and int64")],
)
def test_frozen_columns_are_opened_by_a_change_of_policy(living, landing, columns, said):
    w = living("freeze")
    landing.write("00:05", columns)
    failed = filled(w, "00:12")
    assert failed.keys() == {"00:05"}
    assert said in failed["00:05"]
    assert "frozen" in failed["00:05"]
    assert "STREAM_ASSETS_DRIFT_EVENTS" in failed["00:05"]
    w.project = replace(w.project, streams=tuple(replace(s, drift="evolve") for s in w.project.streams))
    w.define()
    w.retry("events")
    assert filled(w, "00:12") == {}
    assert rows(w)["00:05-0"] | columns == rows(w)["00:05-0"]


def test_discarded_columns_are_left_out_and_their_values_counted(living, landing):
    w = living("discard", report)
    landing.write("00:05", {"amount": 1.5, "coupon": "x", "note": "y"}, {"coupon": "z"})
    assert filled(w, "00:12") == {}
    assert rows(w)["00:05-0"] == {"amount": 1.5}
    assert w.receipts("events")["2026-03-11T00:05+0000"].discarded == 3
    assert set(w.pipeline.site.columns("events", TimeWindow(START, START)).discarded) == {"coupon", "note"}
    w.at("2026-03-12 00:10")
    w.run()
    day = w.receipts("events_daily")["2026-03-11"]
    assert (day.discarded, day.windows[1].discarded) == (3, 3)
    landing.write("00:05", {"amount": "x"})
    failed = w.by_hand("events", "2026-03-11T00:05").outcomes
    assert [o.error for o in failed if o.error]


def test_what_a_window_holds_does_not_depend_on_what_was_read_with_it(world, landing):
    landing.write("00:00", {"amount": 1, "basket": [1]}, {"amount": 2})
    landing.write("00:05", {"amount": 1.5, "coupon": "x", "basket": [2.5]})
    options = {"now": "2026-03-11 00:13", "start": "2026-03-11", "sources": {"events": FileEvents(str(landing.folder))}}
    together, apart = world(**options), world(**options)
    together.by_hand("events", "2026-03-11T00:00", "2026-03-11T00:10")
    for start in ("2026-03-11T00:05", "2026-03-11T00:00"):
        apart.by_hand("events", start)
    digests = [{k: r.digest for k, r in w.receipts("events").items()} for w in (together, apart)]
    assert digests[0] == digests[1]
    assert rows(together) == rows(apart)
    assert known(together) == known(apart)


def test_columns_are_learnt_anew_from_the_files(living, landing):
    w = living()
    landing.write(
        "00:05", {"amount": 2**60, "basket": {"n": 1}, "tags": ["a"], "nothing": None, "a.b": 1, "c.d": {"e": 1}}
    )
    filled(w, "00:12")
    before = w.pipeline.site.columns("events", TimeWindow(START, START))
    assert before.large == {"amount"}
    assert before.kinds.keys() >= {"basket", "tags", "a.b", "c.d"}
    w.pipeline.forget_columns("events")
    assert w.pipeline.site.columns("events", TimeWindow(START, START)) == before
    assert Columns.from_text(before.to_text()) == before


def test_the_environment_states_the_policy():
    project = Project((Stream("events", FileEvents("x")), Stream("clicks", FileEvents("y"), drift="freeze")))
    env = {"STREAM_ASSETS_DRIFT": "discard", "STREAM_ASSETS_DRIFT_CLICKS": "evolve"}
    assert [s.drift for s in project.with_environment(env).streams] == ["discard", "evolve"]
    assert [s.drift for s in project.with_environment({}).streams] == ["evolve", "freeze"]
    with pytest.raises(Exception, match="'thaw' is not known: write evolve, freeze, discard"):
        project.with_environment({"STREAM_ASSETS_DRIFT": "thaw"}).declarations([])


@consumer(freshness="1 day", lookback="1 day", reads={"events": ["event_id", "coupon"]})
def coupons(events: pa.Table) -> pa.Table:
    """Counts what a column has that came and went."""
    return pa.table({"events": [events.num_rows], "coupons": [events.num_rows - events["coupon"].null_count]})


@pytest.mark.parametrize("days_at_once", [1, 4])
def test_a_column_that_went_is_null_for_those_who_read_it_however_the_days_were_filled(world, tmp_path, days_at_once):
    """The first of four days alone has it."""
    folder = tmp_path / "landing"
    folder.mkdir()
    for day in range(10, 14):
        row = {
            "event_id": f"e{day}",
            "event_time": f"2026-03-{day}T12:00:00Z",
            **({"coupon": "x"} if day == 10 else {}),
        }
        (folder / f"{day}.jsonl").write_text(json.dumps(row) + "\n")
    w = world(coupons, now="2026-03-14 00:47", start="2026-03-10", sources={"events": FileEvents(str(folder))})
    for day in range(10, 14, days_at_once):
        w.by_hand("events_daily", f"2026-03-{day}", f"2026-03-{day + days_at_once}")
    w.run()
    made = {row["day"]: (row["events"], row["coupons"]) for row in map(dict, w.table("coupons"))}
    assert made == {"2026-03-10": (1, 1), "2026-03-11": (2, 1), "2026-03-12": (2, 0), "2026-03-13": (2, 0)}
    days = w.pipeline.range("coupons", "2026-03-12", "2026-03-14")
    assert prove(w.pipeline.site, coupons, days, lanes=LANES[:1] * 2).is_equal
