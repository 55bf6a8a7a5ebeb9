"""Runs and work that lost each other, because a process was stopped between two lines.

A run whose process is gone would hold its place in the queue for ever, as Dagster's default launcher never asks. Work
whose run has ended would count as in flight until its lease expires. What a run published and was stopped before it
said so would stand as failed in Dagster, beside the sealed file.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, cast

import dagster as dg

from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import HEAL
from stream_assets.core.window import Calendar, TimeWindow
from stream_assets.defs.names import (
    FAILED_PARTITIONS,
    LOCATION,
    PARTITION,
    RANGE_END,
    RANGE_START,
    RUN_KEY,
    WORK_TAG,
    Names,
    lake_tag,
)
from stream_assets.defs.runless import materialization
from stream_assets.errors import UsageError

if TYPE_CHECKING:
    from stream_assets.core.declaration import Table
    from stream_assets.pipeline import Pipeline

NEWEST = 500
"""How many of the newest requests are looked at."""
PATIENCE = timedelta(hours=1)
"""How long a run may take before, between and after its steps: writing the events of many partitions is slow."""

AWAKE = timedelta(minutes=2)

NEWEST_STOPPED = 20
"""How many of the newest runs that failed or were stopped are looked at."""
AT_ONCE = 300
"""How many partitions are reported in one look: Dagster takes some 40 ms for each, and gives a look a minute."""
TOLD_TAG = "stream_assets/told"
STOPPED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


def follow_runs(instance: dg.DagsterInstance, pipeline: Pipeline) -> list[str]:
    """Let work that waits for its run stay in flight as long as that is queued, and be free once it has ended.

    A run may queue for longer than a request counts, or end (Ctrl-C) between two of its tables.

    Returns:
        What was given back.
    """
    work, now = pipeline.lake.ledger.work, pipeline.clock.now()
    waiting = work.waiting(now)
    if not waiting:
        return []
    said: list[str] = []
    for run in instance.get_runs(filters=dg.RunsFilter(tags={WORK_TAG: [str(id) for id in waiting]})):
        if not _is_of(run, pipeline):
            continue
        id = int(run.tags[WORK_TAG])
        if run.status in ENDED:
            work.drop(id, "its run was stopped", now)
            said.append(f"the work of run {run.run_id[:8]}, which has ended, is free again")
        else:
            work.keep(id, now)
    return said


def report_untold(
    instance: dg.DagsterInstance, pipeline: Pipeline, names: Names, location: str | None = None
) -> list[str]:
    """Report the partitions that are there as they should be and that a run ended without reporting, and say so.

    Dagster takes every partition of a run's range that the run does not report for failed: also what the run was only to
    confirm. What the run itself named as failed stays so. A run is looked at until a look finds fewer than `AT_ONCE`.

    Args:
        instance: whose runs are looked at.
        pipeline: whose lake says what is there.
        names: of the assets.
        location: code location whose runs count that people asked for; None: those of automations alone.
    """
    said: list[str] = []
    told = f"{TOLD_TAG}/{pipeline.lake.id[:8]}"
    ours = {names.key(name) for name in pipeline.declarations.tables}
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=STOPPED), limit=NEWEST_STOPPED):
        is_by_hand = RUN_KEY not in run.tags and location is not None and run.tags.get(LOCATION) == location
        if told in run.tags or not (is_by_hand or _is_of(run, pipeline)) or not ours & (run.asset_selection or set()):
            continue
        untold = list(islice(_untold(instance, pipeline, names, run), AT_ONCE))
        for materialized in untold:
            instance.report_runless_asset_event(materialized)
        if len(untold) < AT_ONCE:
            instance.add_run_tags(run.run_id, {told: "yes"})
        if untold:
            said.append(f"run {run.run_id[:8]} ended before it reported {len(untold)} sound partitions: now they are")
    return said


def _untold(
    instance: dg.DagsterInstance, pipeline: Pipeline, names: Names, run: dg.DagsterRun
) -> Iterator[dg.AssetMaterialization]:
    log, calendar, rule = instance.event_log_storage, pipeline.calendar, pipeline.rule()
    named = _named_as_failed(instance, run)
    for table in pipeline.declarations.tables.values():
        key, span = names.key(table.name), _span(run, table, calendar)
        if span is None or key not in (run.asset_selection or ()):
            continue
        tried = log.get_latest_asset_partition_materialization_attempts_without_materializations(key)
        marked = {partition for partition, (run_id, _) in tried.items() if run_id == run.run_id}
        marked -= named.get(key.to_python_identifier(), set())
        known = rule.state.table(table.name)
        again = Intervals.union_of(x.span for x in (*known.failures, *rule.reopened(table)))
        to_be_made = (rule.wanted(table) - known.coverage) | known.outdated | again
        for current in pipeline.lake.ledger.current(table.name, span):
            if calendar.key(current.span, table.grain) in marked and not to_be_made.clip(current.span):
                yield materialization(pipeline, key, current)


def _span(run: dg.DagsterRun, table: Table, calendar: Calendar) -> TimeWindow | None:
    """Return the range of a run; None where it has none, or keys that somebody typed."""
    first, last = (run.tags.get(tag) or run.tags.get(PARTITION, "") for tag in (RANGE_START, RANGE_END))
    try:
        return TimeWindow(calendar.parse_key(first, table.grain).start, calendar.parse_key(last, table.grain).end)
    except UsageError:
        return None


def _named_as_failed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, set[str]]:
    """Return by step the partitions that it said had failed before it did."""
    named: dict[str, set[str]] = {}
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.get_dagster_event()
        by_word = event.step_failure_data.user_failure_data
        keys = by_word.metadata.get(FAILED_PARTITIONS) if by_word else None
        if keys and event.step_key:
            named[event.step_key] = set(cast("list[str]", keys.value))
    return named


def end_lost_runs(instance: dg.DagsterInstance, pipeline: Pipeline) -> list[str]:
    """Report runs as failed that were killed with everything else, and return what became of them.

    A run of ours is lost when its work in the ledger has begun and shows no sign of life, or is long over. Runs that
    people started are left to `run_monitoring` in dagster.yaml.
    """
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    ours = [
        run
        for run in instance.get_runs(filters=started)
        if run.tags.get(WORK_TAG, "").isdecimal() and _is_of(run, pipeline)
    ]
    if not ours:
        return []
    now = pipeline.clock.now()
    work = pipeline.lake.ledger.work
    if now - work.ticks()[HEAL][1] < AWAKE:
        return []  # the whole machine may have slept, and its runs have not had the time to give a sign
    claims = {claim.id: claim for claim in work.recent(NEWEST)}
    said: list[str] = []
    for run in ours:
        claim = claims.get(int(run.tags[WORK_TAG]))
        if claim is None or work.is_in_flight(claim.id, now):
            continue
        if claim.state == "running" or now - (claim.finished_at or claim.requested_at) > PATIENCE:
            instance.report_run_failed(run, message="Its process is gone: it gives no sign of life any more.")
            said.append(f"run {run.run_id[:8]} is lost and was ended")
    return said


def _is_of(run: dg.DagsterRun, pipeline: Pipeline) -> bool:
    return run.tags.get(RUN_KEY, "").startswith(lake_tag(pipeline.lake.id))
