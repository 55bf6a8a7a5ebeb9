"""One automation a cadence, and `heal`: each asks the planner, records its requests, and yields their runs."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorStatus

from stream_assets.core.cadence import DAY_MARGIN, Cadence
from stream_assets.core.declaration import Declarations
from stream_assets.core.planning import HEAL, Plan, Work
from stream_assets.core.planning.decision import decide
from stream_assets.defs.assets import Open
from stream_assets.defs.checks import evaluations
from stream_assets.defs.names import Names, run_tags
from stream_assets.defs.partitions import Partitions
from stream_assets.lake.ledger import Lease
from stream_assets.pipeline import Pipeline

LOOK_EVERY = timedelta(seconds=10)
CHECK_EVERY = timedelta(minutes=5)


def build_automations(
    declarations: Declarations, partitions: Partitions, names: Names, zone: str, status: bool, open_from: Open, resource_keys: set[str],
) -> tuple[list[dg.SensorDefinition], list[dg.ScheduleDefinition]]:  # fmt: skip
    """Return a sensor for each cadence below a day and `heal`, and a schedule for each of whole days."""
    sensors = [
        _sensor(c.name, _about(declarations, c), declarations, names, status, open_from, resource_keys)
        for c in declarations.cadences
        if not c.is_batch
    ]
    sensors.append(_sensor(HEAL, _HEAL, declarations, names, status, open_from, resource_keys))
    schedules = [
        _schedule(c, declarations, partitions, names, zone, status, open_from, resource_keys)
        for c in declarations.cadences
        if c.is_batch
    ]
    return sensors, schedules


_HEAL = (
    "Does what is due outside a cadence: closed days that are not there, late events, retries, compaction, catching up after "
    "an outage. It leaves a boundary to its cadence's automation for ten minutes, and leaves alone what belongs to an "
    "automation that was stopped."
)


def _about(declarations: Declarations, cadence: Cadence) -> str:
    served = [c for c in declarations.consumers if c.cadence == cadence]
    lines = [str(decide(declarations, c)) for c in served] or ["Seals the days of every stream."]
    return f"Serves {len(served)} consumer{'s' * (len(served) != 1)}.\n\n" + "\n\n".join(f"- {line}" for line in lines)


def _sensor(
    automation: str, about: str, declarations: Declarations, names: Names, status: bool, open_from: Open, resource_keys: set[str]
) -> dg.SensorDefinition:
    @dg.sensor(
        name=names.prefixed(automation),
        asset_selection=dg.AssetSelection.assets(*(names.key(t) for t in declarations.tables)),
        minimum_interval_seconds=int(LOOK_EVERY.total_seconds()),
        default_status=dg.DefaultSensorStatus.RUNNING if status else dg.DefaultSensorStatus.STOPPED,
        description=about,
        required_resource_keys=resource_keys,
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        pipeline = open_from(context.resources)
        planned, requests = pipeline.request(automation, _stopped(context.instance, declarations, names))
        runs = [_run_request(pipeline, names, work, lease) for work, lease in requests]
        cursor, checks = _checks(pipeline, names, context.cursor) if automation == HEAL else (context.cursor, [])
        context.log.info(planned.says[automation])
        return dg.SensorResult(
            run_requests=runs,
            skip_reason=None if runs else dg.SkipReason(planned.says[automation]),
            cursor=cursor,
            asset_events=checks,
        )

    return look


def _schedule(
    cadence: Cadence, declarations: Declarations, partitions: Partitions, names: Names, zone: str, status: bool, open_from: Open,
    resource_keys: set[str],
) -> dg.ScheduleDefinition:  # fmt: skip
    keys = [names.key(t.name) for t in declarations.tables.values() if t.grain == "day"]
    job = dg.define_asset_job(
        names.prefixed(f"{cadence.name}_days"), selection=dg.AssetSelection.assets(*keys).without_checks(), partitions_def=partitions.days
    )
    settling = max((s.settling for s in declarations.streams), default=timedelta(0))
    minutes = -(-(settling + DAY_MARGIN) // timedelta(minutes=1))

    @dg.schedule(
        name=names.prefixed(cadence.name),
        job=job,
        cron_schedule=f"{minutes % 60} {minutes // 60} * * *",
        execution_timezone=zone,
        default_status=dg.DefaultScheduleStatus.RUNNING if status else dg.DefaultScheduleStatus.STOPPED,
        description=_about(declarations, cadence),
        required_resource_keys=resource_keys,
    )
    def look(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        pipeline = open_from(context.resources)
        planned, requests = pipeline.request(cadence.name, _stopped(context.instance, declarations, names))
        context.log.info(planned.says[cadence.name])
        if not requests:
            return dg.SkipReason(_not_due(cadence, pipeline, planned))
        return [_run_request(pipeline, names, work, lease) for work, lease in requests]

    return look


def _not_due(cadence: Cadence, pipeline: Pipeline, planned: Plan) -> str:
    today = pipeline.calendar.day_of(pipeline.clock.now())
    if not cadence.is_due_on(today):
        return f"not due today: {cadence.name} has its turn on days since 1970-01-01 that {cadence.step.days} divides; {planned.says[cadence.name]}"
    return planned.says[cadence.name]


def _run_request(pipeline: Pipeline, names: Names, work: Work, lease: Lease) -> dg.RunRequest:
    tags = run_tags(work, lease.id, pipeline.calendar)
    lake = pipeline.lake.meta["lake_id"][:8]
    return dg.RunRequest(
        run_key=f"{lake}:{lease.id}:{work.grain}:{work.span.start:%Y%m%dT%H%MZ}-{work.span.end:%Y%m%dT%H%MZ}",
        asset_selection=[names.key(t) for t in work.tables],
        asset_check_keys=[],
        tags=tags,
    )


def _stopped(instance: dg.DagsterInstance, declarations: Declarations, names: Names) -> frozenset[str]:
    """Return the automations that a person has stopped."""
    ours = {names.prefixed(name): name for name in [*(c.name for c in declarations.cadences), HEAL]}
    states = instance.all_instigator_state(instigator_statuses={InstigatorStatus.STOPPED})
    kinds = (InstigatorType.SENSOR, InstigatorType.SCHEDULE)
    return frozenset(ours[s.instigator_name] for s in states if s.instigator_type in kinds and s.instigator_name in ours)


def _checks(pipeline: Pipeline, names: Names, cursor: str | None) -> tuple[str, Sequence[dg.AssetCheckEvaluation]]:
    """Evaluate the checks when one changes its state, and every five minutes; the cursor remembers both."""
    now = pipeline.clock.now()
    before = json.loads(cursor) if cursor else {"at": None, "states": {}}
    found = list(evaluations(pipeline, names))
    states = {name: state for name, state, _ in found}
    is_time = before["at"] is None or now - datetime.fromisoformat(before["at"]) >= CHECK_EVERY
    if states == before["states"] and not is_time:
        return json.dumps(before), []
    due = [e for name, state, e in found if is_time or before["states"].get(name) != state]
    return json.dumps({"at": now.isoformat() if is_time else before["at"], "states": states}), due
