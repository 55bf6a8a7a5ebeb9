"""Runs and work that lost each other, because a process was stopped between two lines.

A run whose process is gone would hold its place in the queue for ever, as Dagster's default launcher never asks. Work
whose run has ended would count as in flight until its lease expires.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg

from stream_assets.core.planning import HEAL
from stream_assets.defs.names import RUN_KEY, WORK_TAG, lake_tag

if TYPE_CHECKING:
    from stream_assets.pipeline import Pipeline

NEWEST = 500
"""How many of the newest requests are looked at."""
PATIENCE = timedelta(hours=1)
"""How long a run may take before, between and after its steps: writing the events of many partitions is slow."""

AWAKE = timedelta(minutes=2)

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
