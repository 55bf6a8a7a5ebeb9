"""A real run whose process is told to stop in the middle of a range, as Dagster's launchers and Ctrl-C tell it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._grpc.types import ExecuteRunArgs

from stream_assets.core.window import TimeWindow
from stream_assets.defs.names import RUN_KEY
from stream_assets.pipeline.verify import verify
from stream_assets_tests.defs.conftest import Host
from stream_assets_tests.defs.dagster_dev import REPOSITORY
from stream_assets_tests.defs.locations import stopped

CANCELED, FAILURE = dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE
PATIENCE = 120


def launch(
    host: Host, request: dg.RunRequest, lakes: Path, executor: str
) -> tuple[dg.DagsterRun, subprocess.Popen[bytes]]:
    """Start the run that an automation asked for in a process of its own, as launchers do."""
    job = host.definitions.resolve_implicit_job_def_def_for_assets(list(request.asset_selection or ()))
    assert job is not None
    repository = ReconstructableRepository.for_module(stopped.__name__, "defs")
    origin = repository.get_reconstructable_job(job.name).get_python_origin()
    selection = frozenset(request.asset_selection or ())
    run = host.instance.create_run_for_job(
        job_def=job.get_subset(asset_selection=selection), tags={**request.tags, RUN_KEY: str(request.run_key)},
        asset_selection=selection, job_code_origin=origin,
    )  # fmt: skip
    args = ExecuteRunArgs(job_origin=origin, run_id=run.run_id, instance_ref=host.instance.get_ref())
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY), stopped.LAKES: str(lakes), stopped.EXECUTOR: executor
    }  # fmt: skip
    command = [sys.executable, "-m", "dagster", *args.get_command_args()[1:]]
    with (lakes / "said").open("wb") as said:
        return run, subprocess.Popen(command, env=environment, stdout=said, stderr=said)


@pytest.mark.parametrize(("executor", "status"), [("in process", FAILURE), ("a process a step", CANCELED)])
def test_a_run_that_is_told_to_stop_keeps_what_it_published_and_the_next_one_does_the_rest(
    folder: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, executor: str,
    status: dg.DagsterRunStatus,
) -> None:  # fmt: skip
    """A run that a person has terminated is being cancelled when its process hears of it; any other one fails."""
    monkeypatch.setenv(stopped.LAKES, str(folder))
    host = Host(stopped.project(folder), [stopped.slow], instance)
    lake, now = host.pipeline.lake, host.pipeline.clock.now
    everything = TimeWindow(lake.start, now())
    (days,) = host.tick("heal").requests
    assert host.do(days)
    (request,) = host.tick("heal").requests
    run, process = launch(host, request, folder, executor)
    try:
        made, until = folder / "made", time.monotonic() + PATIENCE
        while not (made.exists() and made.stat().st_size > stopped.QUICK) and time.monotonic() < until:
            assert process.poll() is None, (folder / "said").read_text()
            time.sleep(0.05)
        if status == CANCELED:
            instance.report_run_canceling(run)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()

    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status == status, (folder / "said").read_text()
    assert len(host.sealed("slow")) == 48
    assert made.stat().st_size < 96  # it did not go on
    assert lake.ledger.work.in_flight(now()) == ()
    assert lake.ledger.work.failures() == {}
    assert list(lake.layout.staging.rglob("part*")) == []

    (folder / "go").touch()
    looked = host.tick("heal")
    assert host.materialized("slow") == set(host.sealed("slow"))
    (rest,) = looked.requests
    assert host.do(rest)
    assert [c.revision for c in lake.ledger.current("slow", everything)] == [1] * 288
    assert verify(host.pipeline.site, ["events_daily", "slow"], everything).differences == []
