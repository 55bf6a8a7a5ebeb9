"""Accepting a gap, as the tests of gaps do."""

from __future__ import annotations

from stream_assets.core.receipt import Accepted
from stream_assets.core.window import TimeWindow
from stream_assets.pipeline.gaps import accept_gap
from stream_assets.pipeline.outcome import Report
from stream_assets_tests.scenarios.world import World

SAID = "gap accepted by Ada: the disk died"
FIRST = "2026-03-11T00:20+0000"


def accepted(
    w: World, table: str, start: str, end: str | None = None, by="Ada", reason="the disk died", **said: bool
) -> Report:
    return accept_gap(w.pipeline, table, w.pipeline.range(table, start, end), by, reason, **said)


def gap(w: World, start: str, end: str) -> tuple[Accepted, ...]:
    return (Accepted(TimeWindow(w.instant(start), w.instant(end)), SAID),)
