"""Which automations a person has stopped, as Dagster remembers it."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus

_KINDS = (InstigatorType.SENSOR, InstigatorType.SCHEDULE)


class Switches:
    """The automations of one code location, each on or off. Those of other locations with the same names do not count."""

    def __init__(self, automations: Mapping[str, str], *, are_running: bool) -> None:
        """Take what nobody has touched as declared.

        Args:
            automations: name in Dagster -> name of the automation.
            are_running: whether they run where nobody has started or stopped them.
        """
        self._automations = dict(automations)
        self._are_running = are_running
        self._location: str | None = None

    def stopped(self, context: dg.SensorEvaluationContext | dg.ScheduleEvaluationContext) -> frozenset[str]:
        """Return the automations that are off."""
        if isinstance(context, dg.SensorEvaluationContext) and context.code_location_origin:
            # A schedule is not told where it is loaded; the sensors of the same process are.
            self._location = context.code_location_origin.location_name
        repository = context._repository_name  # noqa: SLF001
        on = dict.fromkeys(self._automations, self._are_running)
        for state in context.instance.all_instigator_state():
            if self._is_ours(state, repository) and state.status in (
                InstigatorStatus.RUNNING,
                InstigatorStatus.STOPPED,
            ):
                on[state.instigator_name] = state.status == InstigatorStatus.RUNNING
        return frozenset(self._automations[name] for name, is_on in on.items() if not is_on)

    def _is_ours(self, state: InstigatorState, repository: str | None) -> bool:
        origin = state.origin.repository_origin
        return (
            state.instigator_type in _KINDS
            and state.instigator_name in self._automations
            and repository in (None, origin.repository_name)
            and self._location in (None, origin.code_location_origin.location_name)
        )
