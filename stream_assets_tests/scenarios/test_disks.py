"""A whole project on a disk that fills up, or that nobody can write: said in one sentence, and forgotten when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from stream_assets.errors import LakeError, LakeUnavailable
from stream_assets.events.route import Router
from stream_assets.pipeline import reading
from stream_assets.pipeline.verify import verify
from stream_assets_tests.lake.disks import filled, mounted, read_only
from stream_assets_tests.scenarios.buyers import dashboard
from stream_assets_tests.scenarios.world import World


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "small", 8) as folder:
        yield folder


@pytest.fixture
def w(disk: Path) -> World:
    made = World(disk / "lake", dashboard, now="2026-03-10 00:17", start="2026-03-10")
    made.run()
    return made


def assert_over(w: World, world: Callable[..., World]) -> None:
    """Everything is as in a lake whose disk never failed."""
    w.clock.advance(timedelta(minutes=16))
    w.run()
    fresh = world(dashboard, now=f"{w.now:%Y-%m-%d %H:%M:%S}", start="2026-03-10", sources=w.sources)
    fresh.run()
    for table in ("events", "dashboard"):
        assert w.table(table) == fresh.table(table)
    assert w.pipeline.lake.ledger.work.failures() == {}
    assert w.pipeline.lake.ledger.reopened.all() == {}
    span = w.pipeline.range("events", "2026-03-10", "2026-03-10T00:30")
    assert verify(w.pipeline.site, ["events", "dashboard"], span).differences == []
    assert list(w.pipeline.lake.layout.staging.rglob(".*")) == []


def test_a_disk_that_is_full_at_any_point_of_a_run(w: World, disk: Path, world: Callable[..., World]) -> None:
    outcomes: set[str] = set()
    said: list[str] = []
    for room in range(0, 800_000, 40_000):
        w.clock.advance(timedelta(minutes=5))
        before = w.receipts("events")
        with filled(disk, room):
            try:
                w.run()
                outcomes.add("failed" if w.failures("events") + w.failures("dashboard") else "done")
            except LakeUnavailable as error:
                outcomes.add("refused")
                said.append(str(error))
            said += w.failures("events") + w.failures("dashboard")
        assert before.items() <= w.receipts("events").items()
    assert "done" in outcomes
    assert said
    assert all("make room" in error for error in said)
    assert_over(w, world)


def test_a_disk_without_room_for_what_does_not_fit_in_memory(
    w: World, disk: Path, world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    w.at("00:20").clock.advance(timedelta(seconds=36))
    span = w.pipeline.range("events", "2026-03-10T00:00", "2026-03-10T00:20")
    read = partial(reading.Read, w.pipeline.site, w.pipeline.declarations.stream("events"), span)
    many = [w.now - timedelta(minutes=2)] * 20
    for number, at in enumerate(many):
        w.shop.add(at, at, id=f"{number}" * 2000)
    with monkeypatch.context() as patch:
        patch.setattr(reading, "Router", lambda span, **named: Router(span, **{**named, "budget_bytes": 1}))
        with read() as spilled:
            assert list(w.pipeline.lake.layout.staging.rglob("*.arrow"))
            assert sum(content.rows_read for content in spilled.windows()) > len(many)
        with filled(disk, 60_000), pytest.raises(LakeUnavailable, match="make room"), read():
            pass
    assert not list(w.pipeline.lake.layout.staging.rglob("*.arrow"))
    assert_over(w, world)


def test_a_disk_that_is_read_only_for_a_while(w: World, disk: Path, world: Callable[..., World]) -> None:
    w.at("00:20").clock.advance(timedelta(seconds=36))
    before = w.receipts("events")
    w.pipeline.lake.ledger.database.close()
    with read_only(disk):
        for call in (w.run, partial(w.by_hand, "events", "2026-03-10T00:15")):
            with pytest.raises((LakeError, LakeUnavailable)) as said:
                call()
            assert "\n" not in str(said.value)
            assert str(disk) in str(said.value)
            w.pipeline.lake.ledger.database.close()
    assert w.receipts("events") == before
    assert_over(w, world)
