"""A thousand consumers over twenty streams: their definitions, ticks of the planner, and ticks of their automations."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stream_assets_tests.benchmarks.child import Stopwatch, call
from stream_assets_tests.benchmarks.figure import Figure, median
from stream_assets_tests.benchmarks.settings import Settings

NAME = "many"
CONSUMERS, STREAMS = 1000, 20
FEWER = 10
"""How many times fewer consumers one side of a comparison has."""
AUTOMATIONS = ("every_5_min", "every_15_min", "every_1_hour", "heal")
AT = "2026-03-10T12:00:40+00:00"


def measure(settings: Settings) -> list[Figure]:
    """Measure on one lake; definitions in turn with as many that do nothing, and with a tenth of the consumers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_ASSETS_")}
    env = {**kept, "DAGSTER_DISABLE_TELEMETRY": "1"}
    lake, days = str(settings.scratch / "many"), settings.history_days
    count = CONSUMERS if settings.rounds > 1 else 100
    crowd = {"lake": lake, "days": days, "count": count}
    call("many", "make", env=env, **crowd)
    loaded = call("many", "load", env=env, folder=f"{lake}-empty", count=count, rounds=min(settings.rounds, 2))
    ticked = call("many", "tick", env=env, **crowd, ticks=settings.ticks)
    # The last, since it lets time pass.
    planned = call("many", "plan", env=env, **crowd)
    ours, plain, few = (median(loaded[name]) for name in ("ours", "plain", "few"))
    ticks, every = {name: median(ticked[name]) for name in AUTOMATIONS}, ticked["every"]
    what = f"{count:,} consumers over {STREAMS} streams"
    return [
        Figure("planner_tick_many", planned["idle"], "s", 0.5, 0.1, f"nothing due, {what}, {days} days"),
        Figure("planner_tick_many_due", planned["due"], "s", None, None, f"a window of each stream due, {what}, {days} days"),
        Figure("planner_tick_many_memory", planned["peak_mib"], "MiB", 300, None, "peak of that process"),
        Figure("definitions_many", ours, "s", note=f"processor time, {what}"),
        Figure("definitions_many_plain_ratio", ours / plain, "x", None, 1.2, "the same / as many plain assets and checks of Dagster"),
        Figure("definitions_many_growth", ours / few / FEWER, "x", None, 1.0, f"a consumer's share, {count:,} / {count // FEWER}"),
        Figure("automation_tick_many", ticks["every_5_min"], "s", note=f"`every_5_min` in Dagster, nothing due, processor time, {what}"),
        Figure("heal_tick_many", ticks["heal"], "s", note="`heal`, the checks of all consumers included"),
        Figure("idle_many", sum(100 * ticks[name] / every[name] for name in AUTOMATIONS), "% of a core", note=f"all {len(AUTOMATIONS)} sensors, each as often as it looks"),
        Figure("automation_tick_many_memory", ticked["peak_mib"], "MiB", note="peak of a process with the definitions"),
    ]  # fmt: skip


def make(lake: str, days: int, count: int) -> dict[str, Any]:
    """Make the lake with many consumers, each of which has all of history delivered."""
    from datetime import datetime

    from stream_assets_tests.benchmarks.crowd import crowd

    crowd(lake, STREAMS, count, days, datetime.fromisoformat(AT))
    return {}


def plan(lake: str, days: int, count: int) -> dict[str, Any]:
    """Return the seconds of ticks of the planner."""
    from datetime import datetime, timedelta

    from stream_assets.testing import SettableClock
    from stream_assets_tests.benchmarks import crowd
    from stream_assets_tests.benchmarks.planner_tick import ticked

    names, now = crowd.streams(STREAMS), datetime.fromisoformat(AT)
    project = crowd.project(lake, names, now - timedelta(days=days))
    pipeline = project.open(crowd.consumers(names, count), SettableClock(now + timedelta(minutes=2)))
    return {name: seconds[days] for name, seconds in ticked({days: pipeline}, repeats=5).items()}


def load(folder: str, count: int, rounds: int) -> dict[str, Any]:
    """Return the processor seconds of loading definitions: ours, plain ones, and ours of few consumers."""
    from stream_assets_tests.benchmarks import crowd

    names = crowd.streams(STREAMS)
    many, few = crowd.consumers(names, count), crowd.consumers(names, count // FEWER)
    sides: dict[str, Callable[[], Any]] = {
        "ours": lambda: _definitions(f"{folder}-many", many),
        "plain": lambda: _plain(names, many),
        "few": lambda: _definitions(f"{folder}-few", few),
    }
    _definitions(f"{folder}-few", few)
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, build in sides.items():
            watch = Stopwatch()
            build().get_repository_def().load_all_definitions()
            found[name].append(watch.seconds()["cpu_seconds"])
    return found


def tick(lake: str, days: int, count: int, ticks: int) -> dict[str, Any]:
    """Return the processor seconds of looks of each sensor, the first of each left out."""
    import logging
    from datetime import datetime, timedelta

    import dagster as dg

    from stream_assets.pipeline import project as opening
    from stream_assets.testing import SettableClock
    from stream_assets_tests.benchmarks import crowd

    logging.disable(logging.INFO)
    clock = SettableClock(datetime.fromisoformat(AT) + timedelta(minutes=1))
    opening.SystemClock = lambda: clock
    ours = _definitions(lake, crowd.consumers(crowd.streams(STREAMS), count), days)
    repository = ours.get_repository_def()
    cursors: dict[str, str | None] = {}
    found: dict[str, list[float]] = {name: [] for name in AUTOMATIONS}
    home = Path(f"{lake}-home")
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        for number in range(ticks + 1):
            clock.advance(timedelta(seconds=10))
            for name in AUTOMATIONS:
                watch = Stopwatch()
                with dg.build_sensor_context(
                    instance=instance, resources=dict(ours.resources or {}), repository_def=repository, sensor_name=name,
                    cursor=cursors.get(name),
                ) as context:  # fmt: skip
                    looked = repository.get_sensor_def(name).evaluate_tick(context)
                assert not looked.run_requests, looked.run_requests
                cursors[name] = looked.cursor
                if number:
                    found[name].append(watch.seconds()["cpu_seconds"])
    return {**found, "every": {name: repository.get_sensor_def(name).minimum_interval_seconds for name in AUTOMATIONS}}


def _definitions(lake: str, consumers: list[Any], days: int = 0) -> Any:
    from datetime import datetime, timedelta

    from stream_assets import build_definitions
    from stream_assets_tests.benchmarks import crowd

    start = datetime.fromisoformat(AT) - timedelta(days=days)
    return build_definitions(crowd.project(lake, crowd.streams(STREAMS), start), consumers)


def _plain(names: list[str], consumers: list[Any]) -> Any:
    """Return as many assets, with partitions and lineage, and as many checks, as somebody writes who does nothing in them."""
    import dagster as dg

    partitions = {
        "5 min": dg.TimeWindowPartitionsDefinition(start="2026-03-10-00:00", fmt="%Y-%m-%d-%H:%M", cron_schedule="*/5 * * * *"),
        "day": dg.DailyPartitionsDefinition(start_date="2026-03-10", end_offset=1),
    }  # fmt: skip
    assets: list[Any] = []
    checks: list[Any] = []

    def add(name: str, grain: str, upstream: list[str], kinds: tuple[str, ...]) -> None:
        @dg.asset(name=name, partitions_def=partitions[grain], deps=upstream, group_name="plain", description=name)
        def fill() -> None: ...

        assets.append(fill)
        for kind in kinds:

            @dg.asset_check(asset=name, name=kind)
            def check() -> Any:
                return dg.AssetCheckResult(passed=True)

            checks.append(check)

    for name in names:
        add(name, "5 min", [], ("rows_add_up", "verify"))
        add(f"{name}_daily", "day", [name], ("rows_add_up", "verify"))
    for consumer in consumers:
        upstream = [name if consumer.grain == "5 min" else f"{name}_daily" for name in consumer.inputs]
        add(consumer.name, consumer.grain, upstream, ("promise", "holes", "verify"))
    return dg.Definitions(assets=assets, asset_checks=checks)
