"""A sensor whose ticks share one Dagster instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from dagster._core.definitions.sensor_definition import SensorExecutionData
    from dagster._core.instance import InstanceRef


class Looking(dg.SensorDefinition):
    """A sensor that keeps its instance open from tick to tick.

    Dagster opens one for each, and reads the migrations of its databases from disk for it: two thirds of what a tick
    costs the code server when nothing is due.
    """

    def __init__(self, **declared: Any) -> None:
        super().__init__(**declared)
        self._open: tuple[InstanceRef, dg.DagsterInstance] | None = None

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> SensorExecutionData:
        """Look once, in the instance that an earlier tick has opened."""
        ref = context.instance_ref
        if ref is not None and context._instance is None:  # noqa: SLF001
            if self._open is None or self._open[0] != ref:
                self._open = ref, dg.DagsterInstance.from_ref(ref)
            context._instance = self._open[1]  # noqa: SLF001
        return super().evaluate_tick(context)
