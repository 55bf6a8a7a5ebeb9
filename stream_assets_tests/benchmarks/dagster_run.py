"""A Dagster run over 12 windows, in one process, against the same run of an asset that does nothing."""

from __future__ import annotations

import os
from typing import Any

from stream_assets_tests.benchmarks.child import Stopwatch, call
from stream_assets_tests.benchmarks.figure import Figure, median
from stream_assets_tests.benchmarks.settings import Settings

NAME = "dagster_run"
WINDOWS = 12
DAY = "2026-03-01"


def measure(settings: Settings) -> list[Figure]:
    """Run both in turn, and the same work without Dagster."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_ASSETS_")}
    env = {**kept, "DAGSTER_DISABLE_TELEMETRY": "1"}
    found = call("dagster_run", "in_turn", env=env, scratch=str(settings.scratch / "dagster"), rounds=settings.ticks)
    full, empty, plain = (median(found[name]) for name in ("full", "empty", "plain"))
    events = f"{WINDOWS} windows of 15,000 events"
    return [
        Figure("dagster_run_ratio", full / empty, "x", None, 3.0, f"{events}, over the same run of an empty asset"),
        Figure("dagster_run", full, "s", None, 2.0, f"{events}, in process, median of {settings.ticks}"),
        Figure("dagster_run_empty", empty, "s", note="the same keys, an asset that does nothing"),
        Figure("dagster_run_plain", plain, "s", note="the same windows filled by the pipeline without Dagster"),
    ]


def in_turn(scratch: str, rounds: int) -> dict[str, Any]:
    """Return the seconds of each run."""
    import logging
    from datetime import timedelta

    import dagster as dg

    from stream_assets.core.clock import SystemClock
    from stream_assets.core.window import TimeWindow
    from stream_assets.defs.partitions import Partitions
    from stream_assets.pipeline.project import Project, Stream
    from stream_assets.sources.synthetic import SyntheticEvents

    logging.disable(logging.INFO)
    day = (SystemClock().now() - timedelta(days=2)).date()
    source = SyntheticEvents(rate=50, quiet="", late_share=0)
    project = Project((Stream("events", source),), lake=scratch, start=day.isoformat())
    from stream_assets import build_definitions

    ours = build_definitions(project, consumers=[])
    pipeline = project.open([])
    calendar = pipeline.calendar
    windows = Partitions.of("UTC", pipeline.lake.start, pipeline.lake.windows_from).of_grain("5 min")

    @dg.asset(partitions_def=windows, backfill_policy=dg.BackfillPolicy.single_run(), output_required=True)
    def empty():  # Dagster cannot resolve an annotation that names a local import
        return dg.MaterializeResult()

    jobs = {
        "full": dg.Definitions.merge(ours, dg.Definitions(jobs=[dg.define_asset_job("full", "events")])).resolve_job_def("full"),
        "empty": dg.Definitions(assets=[empty], jobs=[dg.define_asset_job("empty", "empty")]).resolve_job_def("empty"),
    }  # fmt: skip
    found: dict[str, list[float]] = {"full": [], "empty": [], "plain": []}
    start = pipeline.lake.start
    with dg.DagsterInstance.local_temp() as instance:
        for number in range(rounds + 1):
            for name, seconds in found.items():
                span = TimeWindow(start, start + timedelta(minutes=5) * WINDOWS)
                start = span.end if name != "empty" else start
                keys = [calendar.key(w, "5 min") for w in calendar.partitions(span, "5 min")]
                watch = Stopwatch()
                if name == "plain":
                    with pipeline.running("events", span) as running:
                        report = pipeline.fill("events", span, running)
                    assert report.count("published") == WINDOWS, report
                else:
                    tags = {
                        "dagster/asset_partition_range_start": keys[0],
                        "dagster/asset_partition_range_end": keys[-1],
                    }
                    result = jobs[name].execute_in_process(instance=instance, tags=tags)
                    key = dg.AssetKey("events" if name == "full" else "empty")
                    assert len(set(keys) & instance.get_materialized_partitions(key)) == WINDOWS, result
                if number:  # the first round warms
                    seconds.append(watch.seconds()["seconds"])
    return found
