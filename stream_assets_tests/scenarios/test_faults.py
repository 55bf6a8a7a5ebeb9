"""Work that is killed, or stopped for longer than its lease, at each of its steps."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from stream_assets.core.window import TimeWindow
from stream_assets.pipeline.release import release
from stream_assets.sources.files import FileEvents
from stream_assets_tests.lake.processes import DIED
from stream_assets_tests.scenarios.buyers import dashboard, report
from stream_assets_tests.scenarios.faults import Trial
from stream_assets_tests.scenarios.shop import Shop
from stream_assets_tests.scenarios.world import World, at_freshness

book = replace(at_freshness(report, "5 min"), name="book")
SECOND = timedelta(seconds=1)


def late_windows(world: Callable[..., World]) -> Trial:
    """Two windows with their consumers: one is new, one is made again for a late event."""
    w = world(dashboard, book, now="2026-03-10 00:17", start="2026-03-10")
    w.run()
    w.at("00:20").clock.advance(36 * SECOND)
    w.shop.add(w.instant("2026-03-10 00:07"), w.now - SECOND)
    return Trial(w, lambda w: w.tick("every_5_min"))


def looking(world: Callable[..., World]) -> Trial:
    """A look at what has arrived, and at the inputs that changed."""
    w = world(dashboard, book, now="2026-03-10 00:17", start="2026-03-10")
    w.run()
    w.shop.add(w.instant("2026-03-10 00:03"), w.now + SECOND)
    w.clock.advance(2 * SECOND)
    w.by_hand("events", "2026-03-10T00:00", "2026-03-10T00:05")
    w.shop.add(w.instant("2026-03-10 00:07"), w.now + SECOND)
    w.clock.advance(2 * SECOND)
    return Trial(w, lambda w: w.pipeline.observe())


def consumers(world: Callable[..., World]) -> Trial:
    """Consumers alone, whose inputs have been made again by hand."""
    w = world(dashboard, book, now="2026-03-10 00:17", start="2026-03-10")
    w.run()
    w.at("00:20").clock.advance(36 * SECOND)
    w.shop.add(w.instant("2026-03-10 00:03"), w.now - SECOND)
    w.by_hand("events", "2026-03-10T00:00", "2026-03-10T00:20")
    return Trial(w, lambda w: w.ticks())


def everything(world: Callable[..., World]) -> Trial:
    """`stream-assets run` on an empty lake: a closed day read whole, the windows of the open one, consumers of both."""
    w = world(book, report, now="2026-03-10 00:17", start="2026-03-09", sources={"events": hourly()})
    return Trial(w, lambda w: w.run())


def compaction(world: Callable[..., World]) -> Trial:
    """The turn of the day: its windows become the day, and a consumer reads it."""
    w = world(book, report, now="2026-03-10 23:58", start="2026-03-10", sources={"events": hourly()})
    w.run()
    w.at("2026-03-11 00:00").clock.advance(36 * SECOND)
    w.run()
    w.at("00:05").clock.advance(36 * SECOND)
    return Trial(w, lambda w: w.tick("daily"))


def heal(world: Callable[..., World]) -> Trial:
    """A late event of a closed day whose windows still have files: both change in one step."""
    w = world(book, report, now="2026-03-10 23:58", start="2026-03-10", sources={"events": hourly()})
    w.run()
    w.at("2026-03-11 00:06").run()
    w.shop.add(w.instant("2026-03-10 00:07"), w.now + SECOND)
    w.at("01:15").clock.advance(36 * SECOND)
    w.tick("every_5_min")
    return Trial(w, lambda w: w.tick("heal"))


def released(world: Callable[..., World]) -> Trial:
    """Rejected rows become events, and those that were released under a wrong zone are moved, out of a closed day too."""
    sources = {"events": FileEvents("landing")}
    w = world(book, report, now="2026-03-11 02:22", start="2026-03-10", sources=sources)
    landing = w.folder.with_suffix(".landing")
    landing.mkdir()

    def declared(zone: str, *times: str) -> None:
        """Let rows of these times arrive, and declare the zone."""
        rows = [{"event_id": t, "event_time": t, "country": "DE", "amount": 1.0} for t in times]
        (landing / f"{len(times)}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        stream = replace(w.project.streams[0], source=FileEvents(str(landing), timezone=zone))
        w.project = replace(w.project, streams=(stream,))
        w.define(book, report)

    good = "2026-03-10T00:04:00Z", "2026-03-10T01:04:00Z", "2026-03-11T00:04:00Z"
    declared("", *good, "2026-03-10 00:03", "2026-03-10 23:33", "2026-03-11 00:08", "soon")
    w.run()
    declared("Atlantic/Azores")
    release_all(w)
    w.run()
    declared("", "2026-03-10T01:03:00Z", "2026-03-10 01:03", "2026-03-11 00:09")
    w.clock.advance(timedelta(minutes=90))
    w.run()
    declared("UTC")
    return Trial(w, release_all, by_hand=True)


def release_all(w: World) -> None:
    release(w.pipeline, w.pipeline.declarations.stream("events"), TimeWindow(w.pipeline.lake.start, w.now))


def removal(world: Callable[..., World]) -> Trial:
    """What is not kept goes: the files of a sealed day's windows, and the day before it."""
    w = world(
        book,
        report,
        now="2026-03-10 23:58",
        start="2026-03-09",
        sources={"events": hourly()},
        keep="3 days",
        end="2026-03-12",
    )
    w.run()
    w.at("2026-03-11 00:01").run()
    w.at("00:06").run()
    w.stop("heal").at("2026-03-12 00:01").run()
    w.at("2026-03-18 00:10").stop()
    return Trial(w, lambda w: w.tick("heal"))


def hourly() -> Shop:
    return Shop(every=timedelta(hours=1))


STORIES = [late_windows, looking, consumers, everything, compaction, heal, released, removal]
few = {late_windows: 12, looking: 8, consumers: 8, everything: 8, compaction: 5, heal: 5, released: 6, removal: 10}


@pytest.mark.parametrize("story", STORIES)
def test_killed_at_a_step(world: Callable[..., World], story: Callable[..., Trial]) -> None:
    trial = story(world)
    ends = Counter(trial.killed_at(step) for step in trial.sampled(few[story]))
    assert ends == {DIED: few[story]}


@pytest.mark.slow
def test_a_look_is_killed_at_each_of_its_own_steps(world: Callable[..., World]) -> None:
    """A crash between the reopened windows and the cursor repeats them, and never skips one."""
    trial = looking(world)
    steps = [step for step in trial.steps if step.startswith("pipeline/observe.py") and step.endswith("#1")]
    assert {trial.killed_at(step) for step in steps} == {DIED}


@pytest.mark.exhaustive
@pytest.mark.parametrize("story", STORIES)
def test_killed_at_every_step(world: Callable[..., World], story: Callable[..., Trial]) -> None:
    trial = story(world)
    ends = Counter(map(trial.killed_at, trial.steps))
    assert ends == {DIED: len(trial.steps)}


@pytest.mark.parametrize("story", STORIES)
def test_stopped_at_a_step_for_longer_than_its_lease(world: Callable[..., World], story: Callable[..., Trial]) -> None:
    trial = story(world)
    ends = Counter(trial.stopped_at(step) for step in trial.sampled(few[story]))
    assert ends["overtaken"] > ends["ended"] == 0


@pytest.mark.exhaustive
@pytest.mark.parametrize("story", STORIES)
def test_stopped_at_every_step(world: Callable[..., World], story: Callable[..., Trial]) -> None:
    trial = story(world)
    ends = Counter(map(trial.stopped_at, trial.steps))
    assert ends["ended"] == 0
