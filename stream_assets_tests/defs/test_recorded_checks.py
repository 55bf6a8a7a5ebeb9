"""The checks that `heal` records: on a change, when Dagster has heard of it, and every five minutes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg

from stream_assets.testing import SettableClock
from stream_assets_tests.defs.conftest import Tick
from stream_assets_tests.defs.test_automations import Hosted, fill, orders, report


def values(evaluation: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in evaluation.metadata.items()}


def events(tick: Tick) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    return {(e.asset_key.to_user_string(), e.check_name): e for e in tick.events}


def test_heal_records_the_checks_with_numbers(hosted: Hosted) -> None:
    host = hosted(orders, report)
    fill(host)
    found = events(host.tick("heal"))
    assert set(found) == {
        ("orders", "promise"), ("orders", "holes"), ("report", "promise"), ("report", "holes"), ("events", "rows_add_up"),
    }  # fmt: skip
    promise = found["orders", "promise"]
    assert promise.passed
    said = values(promise)
    assert (said["lag_s"], said["limit_s"]) == (120.0, 450.0)
    assert said["complete_through"] == "2026-03-10T00:35:00+00:00"
    assert "data at most 7.5 min old" in said["arithmetic"]
    assert (found["orders", "holes"].description, values(found["orders", "holes"])["missing_s"]) == (
        "nothing missing",
        0,
    )
    assert " rows read = " in (found["events", "rows_add_up"].description or "")
    rows = values(found["events", "rows_add_up"])
    assert rows["partitions"] == 7
    assert rows["rows_read"] == rows["written"] + rows["duplicates"] + rows["rejected"] > 0


def test_a_new_project_is_not_red_before_its_first_run_could_have_come(hosted: Hosted, clock: SettableClock) -> None:
    host = hosted(orders, start="2026-03-08")
    new = host.tick("heal")
    for name in ("promise", "holes"):
        found = events(new)["orders", name]
        assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    clock.advance(timedelta(minutes=7, seconds=31))
    late = events(host.tick("heal", new.cursor))["orders", "promise"]
    assert (late.passed, late.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert (late.description or "").endswith("nothing is there yet, broken")
    assert set(values(late)) == {"limit_s", "arithmetic"}


def test_holes_are_named_by_the_keys_that_the_ui_shows(hosted: Hosted) -> None:
    found = events(hosted(orders, start="2026-03-08", zone="Europe/Berlin").tick("heal"))
    holes = found["orders", "holes"]
    assert not holes.passed
    assert holes.description == "missing 2 d: 2026-03-08T00:00+0100 to 2026-03-09T23:55+0100"


def test_checks_are_evaluated_on_a_change_again_when_dagster_has_heard_of_it_and_every_five_minutes(
    hosted: Hosted, clock: SettableClock
) -> None:
    host = hosted(orders)
    fill(host)
    beats: list[tuple[int, int, bool]] = []
    cursor: str | None = None
    start = clock.now()
    for seconds in [0, 10, 30, 40, 50, 210, 220, 300, 310, 340, 350, 460, 470]:
        clock.set(start + timedelta(seconds=seconds))
        if seconds == 210:  # 00:40:30: one window more
            for request in host.tick("every_5_min").requests:
                assert host.do(request)
        result = host.tick("heal", cursor)
        cursor = result.cursor
        found = events(result)
        kept = found[("orders", "promise")].passed if ("orders", "promise") in found else True
        beats.append((seconds, len(found), kept))
    assert beats == [
        (0, 3, True),  # the first look: everything
        (10, 0, True),
        (30, 3, True),  # what Dagster may have heard of meanwhile
        (40, 0, True),
        (50, 0, True),
        (210, 2, True),  # complete through 00:40
        (220, 0, True),
        (300, 3, True),  # Dagster may have heard of that too
        (310, 0, True),
        (340, 0, True),
        (350, 0, True),
        (460, 0, True),
        (470, 0, True),
    ]


def test_a_broken_promise_is_recorded_at_the_tick_that_sees_it(hosted: Hosted, clock: SettableClock) -> None:
    host = hosted(orders)
    fill(host)
    cursor = host.tick("heal").cursor
    clock.advance(timedelta(minutes=5, seconds=29))  # lag 7 min 29 s of 7 min 30 s
    result = host.tick("heal", cursor)
    assert events(result)["orders", "promise"].passed
    clock.advance(timedelta(seconds=2))
    broken = events(host.tick("heal", result.cursor))
    assert [(key, e.passed) for key, e in broken.items()] == [(("orders", "promise"), False)]
    assert "broken by 1 s" in (broken["orders", "promise"].description or "")


def test_a_promise_that_cannot_be_kept_says_so(hosted: Hosted) -> None:
    host = hosted(replace(orders, freshness=timedelta(seconds=1)))
    fill(host)
    promise = events(host.tick("heal"))["orders", "promise"]
    assert not promise.passed
    assert "; but by its lane's arithmetic it cannot be kept" in (promise.description or "")
