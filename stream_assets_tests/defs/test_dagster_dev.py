"""Dagster as people use it: a real `dagster dev` with three code locations, asked by GraphQL as its UI asks.

All backfills are launched together, since the daemon looks for them every thirty seconds; each test waits for its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_assets.core.clock import SystemClock
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import HEAL
from stream_assets.core.planning.decision import decide
from stream_assets.core.window import Calendar, TimeWindow
from stream_assets.pipeline import Pipeline
from stream_assets_tests.defs.browser import CHROMIUM, seen
from stream_assets_tests.defs.dagster_dev import DagsterDev
from stream_assets_tests.defs.dagster_ui import DagsterUI
from stream_assets_tests.defs.locations.declared import CONSUMERS, LAKES, ZONE, dashboard, project, report

pytestmark = [pytest.mark.ui, pytest.mark.slow]

WINDOWS_FROM = "2023-05-20"
SEALED = "2023-08-01"
LATENESS = timedelta(minutes=15)
FIVE = timedelta(minutes=5)


@dataclass
class Workshop:
    """The three locations, and the backfills that were launched in them."""

    dev: DagsterDev
    past: DagsterUI
    new_york: DagsterUI
    live: DagsterUI
    zone: str
    backfills: dict[str, tuple[DagsterUI, str]] = field(default_factory=dict)

    def launch(self, name: str, ui: DagsterUI, ranges: dict[str, tuple[str, str]]) -> None:
        self.backfills[name] = (ui, ui.backfill(ranges))

    def outcome(self, name: str) -> dict[str, Any]:
        ui, backfill = self.backfills[name]
        return ui.backfilled(backfill)

    def said(self, name: str) -> str:
        """What the failed runs of a backfill say."""
        ui, _ = self.backfills[name]
        failed = [r for r in self.outcome(name)["runs"] if r["status"] == "FAILURE"]
        return "\n".join(ui.failures(r["runId"]) for r in failed)

    def calendar(self) -> Calendar:
        return Calendar(self.zone)

    def settled(self) -> TimeWindow:
        """Today up to the last window that has settled."""
        now = SystemClock().now()
        calendar = self.calendar()
        day = calendar.day_around(now)
        return TimeWindow(day.start, day.start + (now - LATENESS - day.start) // FIVE * FIVE)

    def key(self, start: datetime) -> str:
        return self.calendar().key(TimeWindow(start, start + FIVE), "5 min")

    def today(self) -> str:
        return self.calendar().key(self.calendar().day_around(SystemClock().now()), "day")

    def pipeline(self) -> Pipeline:
        """The living lake from outside of Dagster."""
        return project("live", timezone=self.zone, lateness=LATENESS.total_seconds()).open(
            [dashboard, report], is_loading=False
        )


@pytest.fixture(scope="module")
def workshop(memory: Path) -> Iterator[Workshop]:
    # Etc/GMT+3 is three hours behind UTC: somewhere it is about noon.
    zone = f"Etc/GMT{SystemClock().now().hour - 12:+d}"
    folder = memory / "dagster-dev"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LAKES, str(folder / "lakes"))
        _seal_a_day_whole()
        modules = {n: f"stream_assets_tests.defs.locations.{n}" for n in ("past", "new_york", "live")}
        with DagsterDev(modules, folder / "home", {LAKES: str(folder / "lakes"), ZONE: zone}) as dev:
            made = Workshop(dev, *(DagsterUI(dev, n) for n in modules), zone)
            _launch_all(made)
            yield made


def _seal_a_day_whole() -> None:
    pipeline = project("past", start="2023-01-01", end="2024-03-15").open(CONSUMERS)
    day = pipeline.range("events_daily", SEALED)
    with pipeline.running("events_daily", day) as running:
        pipeline.fill("events_daily", day, running)
    assert not pipeline.lake.ledger.current("events", day)


def windows(day: str, first: str = "00:00", last: str = "23:55", offset: str = "+0000") -> tuple[str, str]:
    return f"{day}T{first}{offset}", f"{day}T{last}{offset}"


def _launch_all(w: Workshop) -> None:
    past, new_york = w.past, w.new_york
    settled = w.settled()
    today = (w.key(settled.start), w.key(settled.end - FIVE))
    w.launch("today", w.live, {"events": today, "dashboard": today})
    days = ("2023-03-01", "2023-03-02")
    w.launch("before the first window", past, {"events_daily": days, "report": days})
    days, first = ("2023-05-18", WINDOWS_FROM), windows(WINDOWS_FROM)
    w.launch("straddling it", past, {"events": first, "dashboard": first, "events_daily": days, "report": days})
    day = ("2023-07-01", "2023-07-01")
    w.launch("together", past, {"events": windows(day[0]), "events_daily": day, "report": day})
    # Not to the end of the day, since Dagster may run the windows first all the same.
    day = ("2023-07-10", "2023-07-10")
    w.launch("without the days", past, {"events": windows(day[0], "00:00", "11:55"), "report": day})
    hour = windows(SEALED, "00:00", "00:55")
    w.launch("of a sealed day", past, {"events": hour, "dashboard": hour})
    hour = windows("2023-09-01", "10:00", "10:55")
    w.launch("a torn window", past, {"events": hour, "dashboard": hour})
    hour = windows("2023-09-02", "10:00", "10:55")
    w.launch("a touchy consumer", past, {"events": hour, "touchy": hour})
    month = ("2023-10-01", "2023-10-31")
    w.launch("a month", past, {"events_daily": month, "report": month})
    for day, offsets in (("2023-03-12", ("-0500", "-0400")), ("2023-11-05", ("-0400", "-0500"))):
        span = (windows(day, offset=offsets[0])[0], windows(day, offset=offsets[1])[1])
        ranges = {"events": span, "dashboard": span, "events_daily": (day, day), "report": (day, day)}
        w.launch(f"clocks change on {day}", new_york, ranges)


# Clicks on the living lake, while nothing runs by itself.


def test_todays_days_are_never_sealed_by_a_click(workshop: Workshop) -> None:
    run = workshop.live.materialize(["events_daily"], workshop.today())
    assert workshop.live.finished(run)["status"] == "FAILURE"
    assert "the open day is never sealed; materialize `events`" in workshop.live.failures(run)


def test_a_window_that_has_not_settled_is_not_filled_by_a_click(workshop: Workshop) -> None:
    key = workshop.key(workshop.settled().end + FIVE)
    run = workshop.live.materialize(["events"], key)
    assert workshop.live.finished(run)["status"] == "FAILURE"
    assert "settles at" in workshop.live.failures(run)
    assert (key, key) in workshop.live.statuses("events").failed


def test_a_closed_day_whose_inputs_are_not_sealed_fails_and_names_the_selection(workshop: Workshop) -> None:
    run = workshop.past.materialize(["report"], "2023-06-15")
    assert workshop.past.finished(run)["status"] == "FAILURE"
    said = workshop.past.failures(run)
    assert "report 2023-06-15 needs events, which is not sealed" in said
    assert "materialize events, events_daily, report for that range together" in said


def test_a_key_typed_by_hand_is_not_taken_for_another(workshop: Workshop) -> None:
    run = workshop.past.materialize(["events"], "2023-06-15T00:02+0000")
    assert workshop.past.finished(run)["status"] == "FAILURE"
    assert "'2023-06-15T00:02+0000' is no partition key" in workshop.past.failures(run)


# Backfills.


def test_today_is_filled_up_to_the_last_settled_window(workshop: Workshop) -> None:
    done = workshop.outcome("today")
    assert done["status"] == "COMPLETED_SUCCESS", workshop.said("today")
    assert len(done["runs"]) == 1
    targeted, materialized, failed = done["counts"]["dashboard"]
    assert (targeted, failed) == (materialized, 0)
    assert targeted > 100


def test_a_day_before_the_first_window_is_read_whole(workshop: Workshop) -> None:
    done = workshop.outcome("before the first window")
    assert done["status"] == "COMPLETED_SUCCESS", workshop.said("before the first window")
    assert done["counts"] == {"events_daily": (2, 2, 0), "report": (2, 2, 0)}
    assert len(done["runs"]) == 1


def test_a_range_that_straddles_the_first_window_is_filled_on_both_sides(workshop: Workshop) -> None:
    done = workshop.outcome("straddling it")
    assert done["status"] == "COMPLETED_SUCCESS", workshop.said("straddling it")
    assert done["counts"] == {
        "events": (288, 288, 0), "dashboard": (288, 288, 0), "events_daily": (3, 3, 0), "report": (3, 3, 0),
    }  # fmt: skip
    facts = workshop.past.facts("events_daily", WINDOWS_FROM)
    assert facts["state"] == "published"
    assert facts["dagster/row_count"] == facts["rows_read"] - facts["duplicates"] > 0


def test_windows_days_and_their_consumer_are_filled_in_order(workshop: Workshop) -> None:
    done = workshop.outcome("together")
    assert done["status"] == "COMPLETED_SUCCESS", workshop.said("together")
    assert done["counts"] == {"events": (288, 288, 0), "events_daily": (1, 1, 0), "report": (1, 1, 0)}
    assert [r["status"] for r in done["runs"]] == ["SUCCESS", "SUCCESS"]


def test_without_the_days_between_the_consumer_fails_and_names_them(workshop: Workshop) -> None:
    done = workshop.outcome("without the days")
    assert done["status"] == "COMPLETED_FAILED"
    assert done["counts"] == {"events": (144, 144, 0), "report": (1, 0, 1)}
    assert "materialize events, events_daily, report for that range together" in workshop.said("without the days")


def test_windows_of_a_sealed_day_are_delivered_by_the_day(workshop: Workshop) -> None:
    done = workshop.outcome("of a sealed day")
    assert done["status"] == "COMPLETED_SUCCESS", workshop.said("of a sealed day")
    assert done["counts"] == {"events": (12, 12, 0), "dashboard": (12, 12, 0)}
    facts = workshop.past.facts("events", f"{SEALED}T00:30+0000")
    assert (facts["state"], facts["served_from"]) == ("delivered by the day", "day")
    assert "receipt" not in facts
    assert workshop.past.facts("dashboard", f"{SEALED}T00:30+0000")["state"] == "published"


def test_a_window_that_cannot_be_read_fails_alone(workshop: Workshop) -> None:
    done = workshop.outcome("a torn window")
    bad = "2023-09-01T10:20+0000"
    assert done["status"] == "COMPLETED_FAILED"
    assert done["counts"]["events"] == (12, 11, 1)
    assert done["counts"]["dashboard"] == (12, 0, 12)  # the next run's work
    said = workshop.said("a torn window")
    assert f"events: 1 of 12 partitions failed ({bad}); 11 are there." in said
    assert "page 7 of 2023-09-01T10:20Z is torn: mend it" in said
    statuses = workshop.past.statuses("events")
    assert (bad, bad) in statuses.failed
    assert any(first == "2023-09-01T10:25+0000" for first, _ in statuses.materialized)
    assert workshop.past.facts("events", "2023-09-01T10:15+0000")["state"] == "published"


def test_a_consumer_that_raises_at_one_window_keeps_the_others(workshop: Workshop) -> None:
    done = workshop.outcome("a touchy consumer")
    bad = "2023-09-02T10:20+0000"
    assert done["status"] == "COMPLETED_FAILED"
    assert done["counts"] == {"events": (12, 12, 0), "touchy": (12, 11, 1)}
    assert workshop.past.statuses("touchy").failed == [(bad, bad)]
    said = workshop.said("a touchy consumer")
    assert f"consumer 'touchy', partition {bad}: the function raised ValueError: not this one" in said


def test_a_month_is_one_run(workshop: Workshop) -> None:
    done = workshop.outcome("a month")
    assert done["status"] == "COMPLETED_SUCCESS", workshop.said("a month")
    assert done["counts"] == {"events_daily": (31, 31, 0), "report": (31, 31, 0)}
    assert len(done["runs"]) == 1


@pytest.mark.parametrize(("day", "count"), [("2023-03-12", 276), ("2023-11-05", 300)])
def test_both_days_on_which_clocks_change_are_whole(workshop: Workshop, day: str, count: int) -> None:
    name = f"clocks change on {day}"
    done = workshop.outcome(name)
    assert done["status"] == "COMPLETED_SUCCESS", workshop.said(name)
    assert done["counts"] == {
        "events": (count, count, 0), "dashboard": (count, count, 0), "events_daily": (1, 1, 0), "report": (1, 1, 0),
    }  # fmt: skip
    pipeline = project("new_york", timezone="America/New_York", start="2023-03-10", end="2023-11-20").open(CONSUMERS)
    span = pipeline.range("events_daily", day)
    (sealed,) = pipeline.lake.ledger.current("events_daily", span)
    assert len(sealed.receipt.windows) == count
    assert sealed.rows == sum(c.rows for c in pipeline.lake.ledger.current("events", span)) > 0


def test_every_partition_of_a_range_run_shows_its_facts(workshop: Workshop) -> None:
    workshop.outcome("together")
    facts = [workshop.past.facts("events", f"2023-07-01T{t}+0000") for t in ("03:00", "15:05")]
    for shown in facts:
        receipt = json.loads(shown["receipt"])
        assert receipt["rows"] == shown["dagster/row_count"] > 0
        assert Path(shown["path"]).exists()
        columns = [c["name"] for c in shown["dagster/column_schema"]["columns"]]
        assert columns[:3] == ["event_id", "event_time", "arrival_time"]
        assert len(shown["preview"]["records"]) == min(5, receipt["rows"])
        assert receipt["reason"].startswith("asked by a person, backfill ")
    assert facts[0]["path"] != facts[1]["path"]
    day = workshop.past.facts("events_daily", "2023-07-01")
    assert "windows" not in json.loads(day["receipt"])


def test_the_terminal_is_spared_debug_lines(workshop: Workshop) -> None:
    workshop.outcome("together")
    said = workshop.dev.said()
    assert " - DEBUG - " not in said
    assert "events: 288 published" in said


# Automations of the living lake. These tests build on each other, in this order.


def eventually(w: Workshop, look: Callable[[], Any], what: str) -> Any:
    return w.dev.wait_for(look, what, 120)


def runs_of(w: Workshop, automation: str) -> list[dict[str, Any]]:
    return w.live.runs({"dagster/sensor_name": automation})


@pytest.fixture(scope="module")
def automated(workshop: Workshop) -> Workshop:
    """The workshop, with the automations of the living lake turned on."""
    workshop.outcome("today")
    for automation in ("every_5_min", HEAL, "daily"):
        workshop.live.start(automation)
    return workshop


def test_automations_fill_an_empty_lake_and_say_why(automated: Workshop) -> None:
    w = automated
    days = eventually(w, lambda: runs_of(w, HEAL), "heal's first run")[-1]
    assert days["tables"] == ["events_daily", "report"]
    assert int(days["tags"]["dagster/priority"]) < 0
    assert days["tags"]["stream_assets/why"] == "2 days not there yet"
    assert days["assetCheckSelection"] == []
    assert w.live.finished(days["runId"])["status"] == "SUCCESS"
    assert any("IN_PROCESS" in line.upper().replace(" ", "_") for line in w.live.log(days["runId"]))
    for automation in ("every_5_min", HEAL):
        ticks = eventually(w, lambda name=automation: w.live.ticks(name), f"a tick of {automation}")
        assert all(t["said"].strip() and not t["error"] for t in ticks)
        assert all("nothing due" in t["said"] or "asks for" in t["said"] for t in ticks)


def test_heal_fills_the_history_of_a_new_consumer_after_the_days(automated: Workshop) -> None:
    w = automated

    def second() -> Any:
        return [r for r in runs_of(w, HEAL) if r["tables"] == ["dashboard"]]

    (run,) = eventually(w, second, "heal's second run")
    assert w.live.finished(run["runId"])["status"] == "SUCCESS"
    assert run["tags"]["dagster/asset_partition_range_end"].split("T")[1][:5] == "23:55"


def test_checks_are_recorded_without_a_run(automated: Workshop) -> None:
    w = automated

    def recorded() -> Any:
        found = w.live.checks("dashboard", "promise")
        return found if found and found[0]["metadata"]["lag_s"] < 3600 else None

    newest = eventually(w, recorded, "the promise's check")[0]
    assert {"lag_s", "limit_s", "complete_through", "arithmetic"} <= set(newest["metadata"])
    rows = w.live.checks("events", "rows_add_up")[0]
    assert rows["success"]
    assert rows["metadata"]["rows_read"] == rows["metadata"]["written"] + rows["metadata"]["duplicates"]


def test_an_automation_stopped_by_a_person_stops_its_cadence_and_nothing_else(automated: Workshop) -> None:
    w = automated

    def rests() -> bool:
        newest = [w.live.ticks(automation)[:1] for automation in ("every_5_min", HEAL)]
        asks_nothing = all(ticks and "nothing due" in ticks[0]["said"] for ticks in newest)
        return asks_nothing and all(r["endTime"] for r in w.live.runs()) and bool(runs_of(w, HEAL))

    eventually(w, rests, "all that is due to be there")
    pipeline = w.pipeline()
    w.past.start("every_5_min")
    w.past.stop("every_5_min")  # that of another location does not count
    w.live.stop("every_5_min")
    quiet = [r["runId"] for r in w.live.runs()]
    now = pipeline.clock.now()
    ledger = pipeline.lake.ledger
    yesterday = pipeline.calendar.day_around(w.settled().start - FIVE)
    early = now - timedelta(hours=2)
    with ledger.transaction():
        for start in (yesterday.start, w.settled().start):
            ledger.reopened.add(
                "dashboard", Intervals.of(TimeWindow(start, start + FIVE)), "the test says so", early, early
            )
        ledger.reopened.add("report", Intervals.of(yesterday), "the test says so", early, early)

    def healed() -> Any:
        return [r for r in w.live.runs() if r["runId"] not in quiet]

    (first, *_) = eventually(w, healed, "what heal does all the same")
    assert first["tables"] == ["report"]
    assert w.live.finished(first["runId"])["status"] == "SUCCESS"
    eventually(w, lambda: [t for t in w.live.ticks(HEAL)[:2] if "nothing due" in t["said"]], "heal to find nothing")
    assert {tuple(r["tables"]) for r in healed()} == {("report",)}
    assert w.past.runs({"dagster/sensor_name": "every_5_min"}) == []
    w.live.start("every_5_min")

    def resumed() -> Any:
        # A boundary that passed meanwhile is done along.
        waiting = [r for r in ledger.reopened.all().get("dashboard", ()) if r.reason == "the test says so"]
        asked = {r["tags"]["dagster/sensor_name"] for r in healed() if "dashboard" in r["tables"]}
        return not waiting and asked == {"every_5_min", HEAL}

    assert eventually(w, resumed, "both windows")


# What a person sees.

in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine to draw the pages")


def page_shows(w: Workshop, page: str, folder: Path, *texts: str) -> None:
    """Wait until a page shows all of these; where lines break, and what is set as code, makes no difference."""

    def is_drawn() -> bool:
        shown = squeezed(seen(f"http://127.0.0.1:{w.dev.port}{page}", folder))
        return all(squeezed(text) in shown for text in texts)

    eventually(w, is_drawn, f"{page} to show {texts}")


def squeezed(text: str) -> str:
    return re.sub(r"[\s`]+", "", text)


@in_a_browser
def test_the_page_of_a_consumer_shows_its_promise_and_what_made_its_newest_partition(
    workshop: Workshop, tmp_path: Path
) -> None:
    explained = decide(workshop.pipeline().declarations, dashboard).explanation
    assert explained.startswith("data at most 22 min old (5 + 17)")
    texts = ("Events of five minutes.", explained[1:], "complete_through", "preview", "receipt")
    page_shows(workshop, "/assets/live/dashboard", tmp_path, *texts)


@in_a_browser
def test_the_pages_of_the_automations_show_whom_they_serve_and_the_arithmetic(
    workshop: Workshop, tmp_path: Path
) -> None:
    declarations = workshop.pipeline().declarations
    page_shows(workshop, "/automation", tmp_path, "every_5_min", "daily", "heal")
    served = f"Serves 1 consumer: • {decide(declarations, dashboard)}"
    page_shows(workshop, "/locations/live/sensors/every_5_min", tmp_path, served)
    served = f"Serves 1 consumer: • {decide(declarations, report)}"
    page_shows(workshop, "/locations/live/schedules/daily", tmp_path, served)
    page_shows(workshop, "/locations/live/sensors/heal", tmp_path, "Does what is due outside a cadence")
