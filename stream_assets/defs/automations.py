"""One automation a cadence, and `heal`: each asks the planner, records its requests, and yields their runs."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from stream_assets.core.cadence import DAY_MARGIN, Cadence
from stream_assets.core.declaration import Declarations
from stream_assets.core.planning import HEAL, Plan, Work
from stream_assets.core.planning.decision import decide
from stream_assets.defs.assets import Open
from stream_assets.defs.checks import evaluations, sums
from stream_assets.defs.looking import Looking
from stream_assets.defs.lost import end_lost_runs, follow_runs, report_untold
from stream_assets.defs.names import Names, lake_tag, run_tags
from stream_assets.defs.switches import Switches
from stream_assets.errors import TransientError

if TYPE_CHECKING:
    from stream_assets.lake.ledger import Lease
    from stream_assets.pipeline import Pipeline

LOOK_EVERY = timedelta(seconds=10)
HEAL_LOOKS_EVERY = timedelta(seconds=30)
"""Nothing that it does has a promise of minutes, and a look costs more in Dagster than in the planner."""
CHECK_EVERY = timedelta(minutes=5)
HEARD_AFTER = timedelta(seconds=30)

_HEAL = (
    "Does what is due outside a cadence: closed days that are not there, late events, retries, compaction, catching up after "
    "an outage. It leaves a boundary to its cadence's automation for ten minutes, and leaves alone what belongs to an "
    "automation that was stopped."
)


def build_automations(
    declarations: Declarations, names: Names, zone: str, are_running: bool, open_from: Open, resource_keys: set[str]
) -> tuple[list[dg.SensorDefinition], list[dg.ScheduleDefinition]]:
    """Return a sensor for each cadence below a day and `heal`, and a schedule for each of whole days."""
    automations = [*(c.name for c in declarations.cadences), HEAL]
    switches = Switches({names.prefixed(name): name for name in automations}, are_running=are_running)
    made = _Automations(declarations, names, zone, are_running, open_from, resource_keys, switches)
    sensors = [
        made.sensor(c.name, _about(declarations, c), _asked_by(declarations, c))
        for c in declarations.cadences
        if not c.is_batch
    ]
    sensors.append(made.sensor(HEAL, _HEAL, declarations.tables, HEAL_LOOKS_EVERY))
    return sensors, [made.schedule(c) for c in declarations.cadences if c.is_batch]


def _about(declarations: Declarations, cadence: Cadence) -> str:
    served = [c for c in declarations.consumers if c.cadence == cadence]
    if not served:
        return "Seals the days of every stream. No consumer has this cadence."
    # The UI shows this as plain text, on one line: no Markdown, and bullets part the consumers there too.
    count = f"Serves {len(served)} consumer{'s' * (len(served) != 1)}:"
    return "\n".join([count, *(f"• {decide(declarations, c)}".replace("`", "") for c in served)])


def _asked_by(declarations: Declarations, cadence: Cadence) -> list[str]:
    """Return the tables that a cadence below a day asks for: its consumers, and what they read."""
    demand = declarations.demand()
    wanted = {name for name, cadences in demand.items() if cadence in cadences}
    return [name for name, table in declarations.tables.items() if name in wanted and not table.is_days_of_stream]


@dataclass(frozen=True)
class _Automations:
    declarations: Declarations
    names: Names
    zone: str
    are_running: bool
    open_from: Open
    resource_keys: set[str]
    switches: Switches

    def sensor(
        self, automation: str, about: str, tables: Iterable[str], every: timedelta = LOOK_EVERY
    ) -> dg.SensorDefinition:
        """Return the sensor that asks for the work of `automation`, which is about `tables`."""

        def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
            try:
                return self._look(context, automation)
            except TransientError as error:
                context.log.warning(str(error))
                return dg.SensorResult(
                    skip_reason=f"could not look: {error}. It looks again in {every.seconds} s",
                    cursor=context.cursor,
                )

        return Looking(
            name=self.names.prefixed(automation),
            evaluation_fn=look,
            asset_selection=dg.AssetSelection.assets(*(self.names.key(t) for t in tables)),
            minimum_interval_seconds=int(every.total_seconds()),
            default_status=dg.DefaultSensorStatus.RUNNING if self.are_running else dg.DefaultSensorStatus.STOPPED,
            description=about,
            required_resource_keys=self.resource_keys,
        )

    def _look(self, context: dg.SensorEvaluationContext, automation: str) -> dg.SensorResult:
        pipeline = self.open_from(context.resources)
        lost = follow_runs(context.instance, pipeline)
        planned, requests = pipeline.request(automation, self.switches.stopped(context))
        runs = [self._run_request(pipeline, work, lease) for work, lease in requests]
        says = planned.says[automation]
        cursor, checks = context.cursor, ()
        if automation == HEAL:
            cursor, checks = _checks(pipeline, self.names, context.cursor)
            lost += end_lost_runs(context.instance, pipeline)
            origin = context.code_location_origin
            lost += report_untold(context.instance, pipeline, self.names, origin.location_name if origin else None)
        says = "; ".join([says, *lost])
        if runs or lost or planned.of(automation):
            # A skip's reason is kept with its tick: logging it too would leave one file a tick, which nobody purges.
            context.log.info(says)
        return dg.SensorResult(
            run_requests=runs, skip_reason=None if runs else says, cursor=cursor, asset_events=checks
        )

    def schedule(self, cadence: Cadence) -> dg.ScheduleDefinition:
        """Return the schedule that seals days for `cadence`, when the last window of a day has settled."""
        keys = [self.names.key(t.name) for t in self.declarations.tables.values() if t.grain == "day"]
        job = dg.define_asset_job(
            self.names.prefixed(f"{cadence.name}_days"),
            selection=dg.AssetSelection.assets(*keys).without_checks(),
            description=f"What `{cadence.name}` asks for: days, and all that is made of them.",
        )
        settling = max((s.settling for s in self.declarations.streams), default=timedelta(0))
        minutes = -(-(settling + DAY_MARGIN) // timedelta(minutes=1))

        @dg.schedule(
            name=self.names.prefixed(cadence.name),
            job=job,
            cron_schedule=f"{minutes % 60} {minutes // 60 % 24} * * *",
            execution_timezone=self.zone,
            default_status=dg.DefaultScheduleStatus.RUNNING if self.are_running else dg.DefaultScheduleStatus.STOPPED,
            description=_about(self.declarations, cadence),
            required_resource_keys=self.resource_keys,
        )
        def look(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
            try:
                pipeline = self.open_from(context.resources)
                planned, requests = pipeline.request(cadence.name, self.switches.stopped(context))
            except TransientError as error:
                context.log.warning(str(error))
                return dg.SkipReason(f"could not look: {error}. `heal` does it, ten minutes after the day's turn")
            if not requests:
                return dg.SkipReason(_not_due(cadence, pipeline, planned))
            context.log.info(planned.says[cadence.name])
            return [self._run_request(pipeline, work, lease) for work, lease in requests]

        return look

    def _run_request(self, pipeline: "Pipeline", work: Work, lease: "Lease") -> dg.RunRequest:
        return dg.RunRequest(
            run_key=f"{lake_tag(pipeline.lake.id)}{lease.id}:{work.grain}:{work.span.start:%Y%m%dT%H%MZ}-{work.span.end:%Y%m%dT%H%MZ}",
            asset_selection=[self.names.key(t) for t in work.tables],
            asset_check_keys=[],
            tags=run_tags(work, lease.id, pipeline.calendar),
        )


def _not_due(cadence: Cadence, pipeline: "Pipeline", planned: Plan) -> str:
    today = pipeline.calendar.day_of(pipeline.clock.now())
    if not cadence.is_due_on(today):
        return f"not due today: {cadence.name} has its turn on days since 1970-01-01 that {cadence.step.days} divides; {planned.says[cadence.name]}"
    return planned.says[cadence.name]


def _checks(pipeline: "Pipeline", names: Names, cursor: str | None) -> tuple[str, Sequence[dg.AssetCheckEvaluation]]:
    """Evaluate the checks when what they say has changed, and every five minutes; the cursor remembers both.

    Dagster shows a check as not evaluated after each materialization, which it hears of a little later than the ledger:
    hence what has changed is evaluated at once, and everything again `HEARD_AFTER`.
    """
    now = pipeline.clock.now()
    before = json.loads(cursor) if cursor else {}
    found = list(evaluations(pipeline, names))
    states = {name: state for name, state, _ in found}
    is_time = _is_past(before.get("at"), CHECK_EVERY, now)
    is_heard = "changed" in before and _is_past(before["changed"], HEARD_AFTER, now)
    was = before.get("states", {})
    is_all = is_time or is_heard
    due = [e for name, state, e in found if is_all or was.get(name) != state]
    if is_all:
        # Their cost grows with history, so they are no part of every tick.
        due += sums(pipeline, names)
    after = {"at": now.isoformat() if is_all else before["at"], "states": states}
    if states != was:
        after["changed"] = now.isoformat()
    elif "changed" in before and not is_heard:
        after["changed"] = before["changed"]
    return json.dumps(after), due


def _is_past(at: str | None, after: timedelta, now: datetime) -> bool:
    return at is None or now - datetime.fromisoformat(at) >= after
