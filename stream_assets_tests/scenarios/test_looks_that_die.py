"""A process that dies while it looks at arrivals, at any line: what it reopened and its cursor are there together or not at all."""

from __future__ import annotations

from datetime import timedelta

from stream_assets_tests.lake.processes import DIED, killed_at_line, run
from stream_assets_tests.scenarios.buyers import dashboard
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.sources.untracked import Untracked

LOOK = (
    "_look_at", "_look_again", "reopen_stream", "Ledger.reopen", "SourceRecords.move_cursor", "AgeRecords.move",
    "Database.transaction",
)  # fmt: skip
LATE = "2026-03-11T00:10+0000"


def look(w) -> None:
    w.define(dashboard).pipeline.observe()


def reopened(w) -> list[str]:
    return [str(r.span) for r in w.pipeline.lake.ledger.reopened.all().get("events", ())]


def every_death(w, before, kept) -> int:
    """Look again and again, dying one line later each time; returns how many looks died."""
    line, status = 0, DIED
    while status == DIED:
        line += 1
        status = run(lambda line=line: killed_at_line(line, lambda: look(w), (), LOOK)())
        is_moved = kept() != before
        assert is_moved == bool(reopened(w)), f"line {line}"
        if is_moved:
            # A look that died after its commit is whole; one more line would find nothing left to do.
            break
    return line


def test_the_cursor_moves_only_together_with_what_it_reopened(world):
    w = world(dashboard, now="2026-03-11 00:32", start="2026-03-11")
    w.run()
    sources = w.pipeline.lake.ledger.sources
    before = sources.cursor("events")
    w.shop.add(w.instant("2026-03-11 00:12"), w.instant("2026-03-11 00:33"), id="late")
    w.at("00:34")
    assert every_death(w, before, lambda: sources.cursor("events")) > 20
    assert reopened(w) == ["[2026-03-11T00:10Z, 2026-03-11T00:15Z)"]
    w.define(dashboard)
    w.live("00:46")
    assert w.ids().count("late") == 1
    assert w.revisions("events")[LATE] == 2


def test_marks_of_ages_move_only_together_with_what_they_reopened(world):
    source = Untracked(Shop())
    w = world(dashboard, now="2026-03-11 00:32", start="2026-03-11", sources={"events": source})
    w.run()
    source.inner.add(w.instant("2026-03-11 00:12"), w.instant("2026-03-11 00:33"), id="late")
    w.at("00:34")
    w.pipeline.observe()
    ledger = w.pipeline.lake.ledger

    def marks() -> list[tuple[str, int, int]]:
        return [tuple(row) for row in ledger.database.rows("select * from looked_at order by tbl, age")]

    before = marks()
    assert not reopened(w)
    w.clock.advance(timedelta(minutes=4))
    assert every_death(w, before, marks) > 20
    w.define(dashboard)
    w.live("00:46")
    assert w.ids().count("late") == 1
