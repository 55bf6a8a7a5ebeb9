"""How long the ledger keeps single records: by the age of events, and at most twice as long by the clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from stream_assets.core.planning import LedgerState, Rule
from stream_assets.core.planning.retention import removals
from stream_assets.core.window import TimeWindow
from stream_assets_tests.core.simulator import DAY, DEFAULT, World, at

NOW = "2026-12-01T00:06"


def folded(newest: str | None, known: str) -> TimeWindow | None:
    world = World(*DEFAULT, now=NOW, days=1)
    events = {"events": at(newest)} if newest else {}
    told: LedgerState = replace(world.state(), newest=events, history_from=at(known))
    found = [w for w in removals(Rule(world.declarations, told, world.calendar, world.now)) if w.removes == "history"]
    return found[0].span if found else None


@pytest.mark.parametrize(
    ("newest", "known", "expected"),
    [
        pytest.param("2026-12-01", "2026-08-25", ("2026-08-25", "2026-09-02"), id="90 days before the newest events"),
        pytest.param("2026-12-01", "2026-09-02", None, id="nothing twice"),
        pytest.param("2026-08-01", "2026-05-20", ("2026-05-20", "2026-06-04"), id="idle: 180 days before the clock"),
        pytest.param("2026-08-01", "2026-06-04", None, id="idle, and not earlier"),
        pytest.param(None, "2026-06-01", ("2026-06-01", "2026-06-04"), id="no events at all"),
        pytest.param("2027-06-01", "2026-08-25", ("2026-08-25", "2026-09-02"), id="events of the future"),
        pytest.param("2026-12-01", "2025-01-01", ("2025-01-01", "2025-02-01"), id="a month at once"),
        pytest.param("2026-12-01", "2027-10-01", ("2026-09-01", "2026-09-02"), id="a border ahead of the clock comes back"),
    ],
)  # fmt: skip
def test_what_is_folded(newest: str | None, known: str, expected: tuple[str, str] | None) -> None:
    assert folded(newest, known) == (TimeWindow(*map(at, expected)) if expected else None)


def test_a_clock_that_runs_ahead_by_three_months_folds_nothing_early() -> None:
    world = World(*DEFAULT, now="2026-03-10T00:06", days=1)
    told = replace(world.state(), newest={"events": world.now}, history_from=world.now - 90 * DAY)
    ahead = world.now + timedelta(days=90)
    assert [w for w in removals(Rule(world.declarations, told, world.calendar, ahead)) if w.removes == "history"] == []
