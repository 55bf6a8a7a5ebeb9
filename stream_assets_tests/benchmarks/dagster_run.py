"""What Dagster adds: a tick, and a range run of a day, against runs of an asset that does nothing; all in one process."""

from __future__ import annotations

import os
from typing import Any

from stream_assets_tests.benchmarks.child import Stopwatch, call
from stream_assets_tests.benchmarks.figure import Figure, median
from stream_assets_tests.benchmarks.settings import Settings

NAME = "dagster_run"
WINDOWS = 288
RATE = 20.0


def measure(settings: Settings) -> list[Figure]:
    """Measure both in turn with what they are compared with."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_ASSETS_")}
    env = {**kept, "DAGSTER_DISABLE_TELEMETRY": "1"}
    folder = settings.scratch / "dagster"
    ticks = call(
        "dagster_run", "ticks", env=env, scratch=str(folder / "ticks"), rounds=settings.ticks, rate=settings.tick_rate
    )
    windows = WINDOWS if settings.rounds > 1 else 12
    ranges = call(
        "dagster_run", "ranges", env=env, scratch=str(folder / "ranges"), rounds=settings.rounds, windows=windows
    )
    tick, nothing = (median(ticks[name]) for name in ("tick", "empty"))
    full, empty, plain = (median(ranges[name]) for name in ("full", "empty", "plain"))
    events = f"{windows} windows of {RATE * 300:,.0f} events"
    return [
        Figure("dagster_tick", tick / nothing, "x", 1.25, 1.1, f"sensor to consumer published, {settings.tick_rate * 300:,.0f} events / two runs of an empty asset"),
        Figure("dagster_tick_seconds", tick, "s"),
        Figure("dagster_tick_empty_seconds", nothing, "s", note="two runs of an empty asset"),
        Figure("dagster_range", full / (empty + plain), "x", 1.15, 1.05, f"{events}, one run / the same run of an empty asset + the work alone"),
        Figure("dagster_range_seconds", full, "s", note=events),
        Figure("dagster_range_empty_seconds", empty, "s", note="the same keys, an asset that does nothing"),
        Figure("dagster_range_plain_seconds", plain, "s", note="the same windows filled by the pipeline without Dagster"),
    ]  # fmt: skip


def ticks(scratch: str, rounds: int, rate: float) -> dict[str, Any]:
    """Return the seconds of ticks, and of two runs of an empty asset."""
    import logging
    from datetime import UTC, datetime, timedelta

    import dagster as dg

    from stream_assets import build_definitions
    from stream_assets.pipeline import project as opening
    from stream_assets.pipeline.project import Project, Stream
    from stream_assets.sources.synthetic import SyntheticEvents
    from stream_assets.testing import SettableClock
    from stream_assets_tests.benchmarks.orders import orders

    logging.disable(logging.INFO)
    clock = SettableClock(datetime(2026, 3, 10, 1, 0, 40, tzinfo=UTC))
    opening.SystemClock = lambda: clock
    source = SyntheticEvents(rate=rate, quiet="", late_share=0)
    project = Project((Stream("events", source),), lake=f"{scratch}/lake", start="2026-03-10")
    pipeline = project.open([orders], clock)
    for _ in pipeline.run():
        pass
    ours = build_definitions(project, [orders], executor=dg.in_process_executor)
    repository = ours.get_repository_def()
    sensor = repository.get_sensor_def("every_5_min")
    keys = [dg.AssetKey("events"), dg.AssetKey("orders")]
    every = ours.resolve_implicit_job_def_def_for_assets(keys)
    assert every is not None
    # What an automation asks for leaves the checks out.
    job = every.get_subset(asset_selection=set(keys), asset_check_selection=set())
    empty = _empty(repository.assets_defs_by_key[keys[0]].partitions_def)
    found: dict[str, list[float]] = {"tick": [], "empty": []}
    with dg.DagsterInstance.local_temp(scratch) as instance:
        for number in range(rounds + 1):
            clock.advance(timedelta(minutes=5))
            watch = Stopwatch()
            with dg.build_sensor_context(
                instance=instance, resources=dict(ours.resources or {}), repository_def=repository, sensor_name="every_5_min"
            ) as context:  # fmt: skip
                request = next(iter(sensor.evaluate_tick(context).run_requests or ()))
            assert set(request.asset_selection or ()) == set(keys)
            job.execute_in_process(instance=instance, tags=dict(request.tags))
            taken = {"tick": watch.seconds()["seconds"]}
            assert pipeline.lake.ledger.coverage("orders").spans[-1].end == clock.now() - timedelta(seconds=40)
            watch = Stopwatch()
            for _ in range(2):
                empty.execute_in_process(instance=instance, partition_key="2026-03-10T00:00+0000")
            taken["empty"] = watch.seconds()["seconds"]
            for name, seconds in taken.items():
                found[name] += [seconds] if number else []  # the first round warms
    return found


def ranges(scratch: str, rounds: int, windows: int) -> dict[str, Any]:
    """Return the seconds of range runs: ours, of an empty asset, and of the work alone."""
    import logging
    from datetime import timedelta

    import dagster as dg

    from stream_assets import build_definitions
    from stream_assets.core.clock import SystemClock
    from stream_assets.core.window import TimeWindow
    from stream_assets.defs.names import RANGE_END, RANGE_START
    from stream_assets.pipeline.project import Project, Stream
    from stream_assets.sources.synthetic import SyntheticEvents

    logging.disable(logging.INFO)
    day = (SystemClock().now() - timedelta(days=2 * rounds + 4)).date()
    source = SyntheticEvents(rate=RATE, quiet="", late_share=0)
    project = Project((Stream("events", source),), lake=f"{scratch}/lake", start=day.isoformat())
    ours = build_definitions(project, consumers=[])
    pipeline = project.open([])
    partitions = ours.get_repository_def().assets_defs_by_key[dg.AssetKey("events")].partitions_def
    merged = dg.Definitions.merge(
        ours, dg.Definitions(jobs=[dg.define_asset_job("full", dg.AssetSelection.assets("events").without_checks())])
    )
    jobs = {"full": merged.resolve_job_def("full"), "empty": _empty(partitions)}
    found: dict[str, list[float]] = {"full": [], "empty": [], "plain": []}
    start = pipeline.lake.start
    with dg.DagsterInstance.local_temp(scratch) as instance:
        for number in range(rounds + 1):
            for name, seconds in found.items():
                span = TimeWindow(start, start + timedelta(minutes=5) * windows)
                start = span.end if name != "empty" else start
                keys = [pipeline.calendar.key(w, "5 min") for w in span.windows()]
                watch = Stopwatch()
                if name == "plain":
                    with pipeline.running("events", span) as running:
                        report = pipeline.fill("events", span, running)
                    assert report.count("published") == windows, report
                else:
                    tags = {RANGE_START: keys[0], RANGE_END: keys[-1]}
                    result = jobs[name].execute_in_process(instance=instance, tags=tags)
                taken = watch.seconds()["seconds"]
                if name != "plain":
                    key = dg.AssetKey("events" if name == "full" else "empty")
                    assert len(set(keys) & instance.get_materialized_partitions(key)) == windows, result
                if number:  # the first round warms
                    seconds.append(taken)
    return found


def _empty(partitions: Any) -> Any:
    """Return the job of an asset with these partitions that does nothing."""
    import dagster as dg

    @dg.asset(partitions_def=partitions, backfill_policy=dg.BackfillPolicy.single_run(), output_required=True)
    def empty():  # Dagster cannot resolve an annotation that names a local import
        return dg.MaterializeResult()

    jobs = [dg.define_asset_job("empty", "empty")]
    return dg.Definitions(assets=[empty], jobs=jobs, executor=dg.in_process_executor).resolve_job_def("empty")
