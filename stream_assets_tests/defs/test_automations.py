"""What every automation asks for and says, tick by tick, with a clock that the test owns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import dagster as dg
import pandas as pd
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, ScheduleInstigatorData
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from stream_assets import consumer
from stream_assets.defs.names import PRIORITY, RANGE_END, RANGE_START, RUN_RETRIES, WHY_TAG
from stream_assets.errors import LakeUnavailable, SourceUnavailable
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets.testing import SettableClock
from stream_assets_tests.defs.conftest import Host

Hosted = Callable[..., Host]


@consumer(freshness="5 min", grain="5 min")
def orders(events: pd.DataFrame) -> pd.DataFrame:
    """At 5-minute grain."""
    return pd.DataFrame({"events": [len(events)]})


@consumer(freshness="5 min", grain="5 min")
def alerts(events: pd.DataFrame) -> pd.DataFrame:
    """Another of the same cadence."""
    return pd.DataFrame({"events": [len(events)]})


@consumer(freshness="5 min", grain="day")
def today(events: pd.DataFrame) -> pd.DataFrame:
    """At day grain, and as fresh."""
    return pd.DataFrame({"events": [len(events)]})


@consumer(freshness="1 day")
def report(events: pd.DataFrame) -> pd.DataFrame:
    """A batch."""
    return pd.DataFrame({"events": [len(events)]})


@consumer(freshness="2 days")
def digest(events: pd.DataFrame) -> pd.DataFrame:
    """A batch that has its turn every second day."""
    return pd.DataFrame({"events": [len(events)]})


def asked(requests: Iterable[dg.RunRequest]) -> list[str]:
    return [
        f"{'+'.join(k.to_user_string() for k in r.asset_selection or ())} {r.tags[RANGE_START]}...{r.tags[RANGE_END]}"
        for r in requests
    ]


def fill(host: Host) -> None:
    """Let every automation look until nothing is asked for, and do what is."""
    for _ in range(10):
        requests = [r for s in host.repository.sensor_defs for r in host.tick(s.name).requests]
        for request in requests:
            assert host.do(request)
        if not requests:
            return
    raise AssertionError("it never ends")


# The two stories of DESIGN section 10, as Dagster sees them.


def test_an_empty_lake_is_filled_by_three_runs(hosted: Hosted, clock: SettableClock) -> None:
    clock.set(datetime.fromisoformat("2026-03-10T14:37:00Z"))
    host = hosted(orders, report, start="2026-03-08")
    live = host.tick("every_5_min").requests
    assert asked(live) == ["events+orders 2026-03-10T00:00+0000...2026-03-10T14:30+0000"]
    days = host.tick("heal").requests
    assert asked(days) == ["events_daily+report 2026-03-08...2026-03-09"]
    for request in (*live, *days):
        assert host.do(request)
    windows = host.tick("heal").requests
    assert asked(windows) == ["orders 2026-03-08T00:00+0000...2026-03-09T23:55+0000"]
    assert host.do(windows[0])
    assert len(host.sealed("orders")) == 2 * 288 + 175
    assert len(host.sealed("events")) == 175


def test_at_midnight_the_lanes_hand_over(hosted: Hosted, clock: SettableClock) -> None:
    clock.set(datetime.fromisoformat("2026-03-10T23:59:00Z"))
    host = hosted(orders, report)
    fill(host)
    clock.set(datetime.fromisoformat("2026-03-11T00:00:40Z"))
    last = host.tick("every_5_min").requests
    assert asked(last) == ["events+orders 2026-03-10T23:55+0000...2026-03-10T23:55+0000"]
    assert host.do(last[0])
    assert not host.tick("heal").requests
    clock.set(datetime.fromisoformat("2026-03-11T00:06:00Z"))
    days = host.tick("daily").requests
    assert asked(days) == ["events_daily+report 2026-03-10...2026-03-10"]
    assert host.do(days[0])
    assert not host.tick("heal").requests


# A tick is never empty.


def test_every_tick_says_what_was_decided(hosted: Hosted, clock: SettableClock) -> None:
    host = hosted(orders, report, digest)
    assert {s.name for s in host.repository.schedule_defs} == {"daily", "every_2_days", "verify"}
    with patch.object(dg.SensorEvaluationContext, "log") as log:
        asking = host.tick("every_5_min")
    said = " ".join(call.args[0] for call in log.info.call_args_list)
    assert asking.requests
    assert asking.said is None
    assert "asks for 2026-03-10T00:00+0000 to 2026-03-10T00:30+0000 of events, orders" in said
    for request in asking.requests:
        assert host.do(request)
    fill(host)
    for sensor in ("every_5_min", "heal"):
        with patch.object(dg.SensorEvaluationContext, "log") as log:
            resting = host.tick(sensor)
        assert not resting.requests
        assert "nothing due" in (resting.said or "")
        assert not log.method_calls  # which would be a file a tick, for ever
    assert host.tick("every_5_min").said == (
        "nothing due: complete through 00:35Z, next window settles at 2026-03-10T00:40:30Z"
    )
    clock.set(datetime.fromisoformat("2026-03-11T00:06:00Z"))
    assert host.tick("daily").requests
    skipped = host.tick("every_2_days")
    assert not skipped.requests
    assert re.match(
        "not due today: every_2_days has its turn on days since 1970-01-01 that 2 divides; .+", skipped.said or ""
    )


@dataclass(frozen=True)
class Flaky(SyntheticEvents):
    """Does not answer."""

    def watermark(self, now: datetime) -> datetime:
        raise SourceUnavailable("the warehouse is being moved")


def test_a_source_that_does_not_answer_is_named_in_the_tick(hosted: Hosted) -> None:
    host = hosted(orders, source=Flaky(rate=0.01))
    said = host.tick("every_5_min").said or ""
    assert said.startswith("nothing due")
    assert "the source of 'events' cannot be asked: the warehouse is being moved" in said


@pytest.mark.parametrize("error", [LakeUnavailable("the ledger is locked")])
def test_a_lake_that_cannot_be_used_now_is_said_and_looked_at_again(hosted: Hosted, error: Exception) -> None:
    host = hosted(orders)
    with patch("stream_assets.pipeline.pipeline.Pipeline.request", side_effect=error):
        sensor = host.tick("heal", cursor='{"at": null}')
        schedule = host.tick("daily")
    assert sensor.said == "could not look: the ledger is locked. It looks again in 30 s"
    assert sensor.cursor == '{"at": null}'
    assert "could not look: the ledger is locked" in (schedule.said or "")


def test_ticks_of_one_process_open_the_instance_once(hosted: Hosted, folder: Path) -> None:
    host = hosted(orders)

    def opened(instance: dg.DagsterInstance) -> dg.DagsterInstance:
        """Return the instance of a tick that is told where it is, as a code server is."""
        with dg.SensorEvaluationContext(
            instance_ref=instance.get_ref(), last_tick_completion_time=None, last_run_key=None, cursor=None,
            log_key=None, repository_name=host.repository.name, repository_def=host.repository,
            sensor_name="every_5_min", resources=host.repository.get_top_level_resources(),
        ) as context:  # fmt: skip
            host.repository.get_sensor_def("every_5_min").evaluate_tick(context)
            return context.instance

    first = opened(host.instance)
    assert opened(host.instance) is first
    assert first.root_directory == host.instance.root_directory
    (folder / "other").mkdir()
    with dg.DagsterInstance.local_temp(str(folder / "other")) as other:
        assert opened(other).root_directory == other.root_directory


# What is asked for.


def test_an_automation_stands_beside_the_assets_that_it_asks_for(hosted: Hosted) -> None:
    host = hosted(orders, today, report)

    def beside(sensor: str) -> set[str]:
        selection = host.repository.get_sensor_def(sensor).asset_selection
        assert selection is not None
        return {key.to_user_string() for key in selection.resolve(host.repository.asset_graph)}

    assert beside("every_5_min") == {"events", "orders", "today"}
    assert beside("heal") == {"events", "events_daily", "orders", "today", "report"}


def test_one_cadence_asks_for_at_most_two_runs_a_boundary(hosted: Hosted, clock: SettableClock) -> None:
    host = hosted(orders, alerts, today, report)
    fill(host)
    for _ in range(3):
        clock.advance(timedelta(minutes=5))
        runs: list[str] = []
        for _ in range(4):
            for automation in ("every_5_min", "heal"):
                for request in host.tick(automation).requests:
                    runs += [a.split(" ")[0] for a in asked([request])]
                    assert host.do(request)
        assert runs == ["events+alerts+orders", "today"]


def test_live_work_goes_before_catch_up_and_dagster_retries_nothing(hosted: Hosted) -> None:
    host = hosted(orders, report, start="2026-03-08")
    live = host.tick("every_5_min").requests[0]
    late = host.tick("heal").requests[0]
    assert int(live.tags[PRIORITY]) > 0 > int(late.tags[PRIORITY])
    assert live.tags[RUN_RETRIES] == late.tags[RUN_RETRIES] == "0"
    assert live.tags[WHY_TAG] == "7 windows not there yet"
    assert live.asset_check_keys == late.asset_check_keys == []


def test_what_is_requested_is_not_requested_twice_and_a_new_attempt_has_a_new_key(
    hosted: Hosted, clock: SettableClock
) -> None:
    host = hosted(orders)
    first = host.tick("every_5_min").requests[0]
    again = host.tick("every_5_min")
    assert not again.requests
    assert "in flight" in (again.said or "")
    clock.advance(timedelta(minutes=5, seconds=1))  # nobody began it
    second = host.tick("every_5_min").requests[0]
    keys = [str(r.run_key) for r in (first, second)]
    lake = host.pipeline.lake.id[:8]
    assert all(re.fullmatch(rf"{lake}:\d+:5 min:20260310T0000Z-20260310T\d{{4}}Z", key) for key in keys)
    assert keys[0].split(":")[1] != keys[1].split(":")[1]


def test_a_new_lake_and_an_old_instance_share_no_run_key(hosted: Hosted) -> None:
    hosts = [hosted(orders), hosted(orders)]
    keys = [str(host.tick("every_5_min").requests[0].run_key) for host in hosts]
    assert keys[0] != keys[1]
    assert keys[0].split(":")[1:] == keys[1].split(":")[1:]


def test_days_that_settle_a_day_later_have_a_turn(hosted: Hosted) -> None:
    slow = SyntheticEvents(rate=0.05, lateness=timedelta(hours=24))
    host = hosted(orders, source=slow)
    (daily,) = [s for s in host.definitions.schedules or () if s.name == "daily"]
    assert daily.cron_schedule == "5 0 * * *"


# Stopping.


def stop(instance: dg.DagsterInstance, name: str, *, location: str | None, status: str = "STOPPED") -> None:
    """Do what GraphQL's stopSensor does."""
    loadable = LoadableTargetOrigin(executable_path=None, module_name="m", python_file=None, working_directory=None)
    code = ManagedGrpcPythonEnvCodeLocationOrigin(loadable, location_name=location or "ours")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(code, "__repository__"), name)
    kind = InstigatorType.SCHEDULE if name == "daily" else InstigatorType.SENSOR
    data = ScheduleInstigatorData("6 0 * * *") if kind == InstigatorType.SCHEDULE else None
    state = InstigatorState(origin, kind, InstigatorStatus[status], data)
    known = instance.get_instigator_state(state.instigator_origin_id, state.selector_id)
    (instance.update_instigator_state if known else instance.add_instigator_state)(state)


@pytest.fixture
def here() -> Any:
    """The sensors of these tests are loaded in the code location `ours`."""
    origin = SimpleNamespace(location_name="ours")
    with patch.object(dg.SensorEvaluationContext, "code_location_origin", origin):
        yield


@pytest.mark.usefixtures("here")
def test_a_stopped_cadence_stays_stopped_and_nothing_else_stops(
    hosted: Hosted, instance: dg.DagsterInstance, clock: SettableClock
) -> None:
    host = hosted(orders, report, start="2026-03-08")
    stop(instance, "every_5_min", location="ours")
    for _ in range(5):  # longer than the ten minutes after which `heal` takes a boundary over
        for request in host.tick("heal").requests:
            assert asked([request]) == ["events_daily+report 2026-03-08...2026-03-09"]
            assert host.do(request)
        clock.advance(timedelta(minutes=5))
    assert host.sealed("orders") == []
    assert host.sealed("report") == ["2026-03-08", "2026-03-09"]
    stop(instance, "every_5_min", location="ours", status="RUNNING")
    assert asked(host.tick("every_5_min").requests) == ["events+orders 2026-03-10T00:00+0000...2026-03-10T00:55+0000"]


@pytest.mark.usefixtures("here")
def test_heal_takes_over_from_an_automation_that_is_on_and_does_not_tick(hosted: Hosted, clock: SettableClock) -> None:
    host = hosted(orders)
    seen: list[str] = []
    for _ in range(5):
        requests = host.tick("heal").requests
        seen += [f"{clock.now():%H:%M} {a.split(' ')[0]}" for a in asked(requests)]
        for request in requests:
            assert host.do(request)
        clock.advance(timedelta(minutes=5))
    assert seen == ["00:47 events+orders", "00:52 events+orders", "00:57 events+orders"]


@pytest.mark.usefixtures("here")
def test_a_stopped_schedule_is_no_work_of_heal(
    hosted: Hosted, instance: dg.DagsterInstance, clock: SettableClock
) -> None:
    host = hosted(orders, report, start="2026-03-09")
    stop(instance, "daily", location="ours")
    fill(host)
    assert host.sealed("report") == []
    assert len(host.sealed("orders")) == 288 + 7
    stop(instance, "daily", location="ours", status="DECLARED_IN_CODE")
    fill(host)
    assert host.sealed("report") == ["2026-03-09"]


@pytest.mark.usefixtures("here")
def test_automations_of_another_code_location_do_not_count(hosted: Hosted, instance: dg.DagsterInstance) -> None:
    host = hosted(orders)
    stop(instance, "every_5_min", location="theirs")
    assert host.tick("every_5_min").requests


def test_an_automation_that_is_declared_stopped_and_was_never_started_is_stopped(
    hosted: Hosted, instance: dg.DagsterInstance, clock: SettableClock
) -> None:
    host = hosted(orders, report, default_status=dg.DefaultSensorStatus.STOPPED)
    stop(instance, "heal", location=None, status="RUNNING")
    for _ in range(4):
        assert not host.tick("heal").requests
        clock.advance(timedelta(minutes=5))
