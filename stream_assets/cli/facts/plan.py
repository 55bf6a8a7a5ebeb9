"""What is due now, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stream_assets.cli.facts.values import at, seconds
from stream_assets.cli.facts.work import work_facts

if TYPE_CHECKING:
    from datetime import timedelta

    from stream_assets.core.declaration import Consumer
    from stream_assets.core.planning.decision import Decision
    from stream_assets.pipeline.pipeline import Pipeline


def plan_facts(pipeline: Pipeline) -> dict[str, Any]:
    """Look at the world, plan, and return the work, what every automation says, and every consumer's lane."""
    from stream_assets.core.planning.decision import decide

    silent = pipeline.observe()
    state = pipeline.state()
    planned = pipeline.plan()
    run_time = pipeline.lake.ledger.work.p95_run_time()
    consumers = pipeline.declarations.consumers
    return {
        "now": at(pipeline.clock.now()),
        "lake": str(pipeline.lake.layout.root),
        "timezone": pipeline.calendar.zone,
        "work": [work_facts(work, pipeline.calendar) for work in planned.works],
        "automations": [
            {
                "automation": name,
                "says": said,
                "consumers": [c.name for c in consumers if c.cadence.name == name],
            }
            for name, said in planned.says.items()
        ],
        "consumers": [
            {
                **decision_facts(decide(pipeline.declarations, c, run_time.get(c.cadence.name))),
                "is_paused": c.name in state.paused,
            }
            for c in consumers
        ],
        "silent_sources": silent,
    }


def decision_facts(decision: Decision) -> dict[str, Any]:
    """Return a consumer's lane with its arithmetic."""
    return {
        "consumer": decision.consumer,
        "lane": decision.lane,
        "automation": decision.cadence.name,
        "cadence_seconds": seconds(decision.cadence.step),
        "promise": str(decision.promise),
        "promise_seconds": seconds(decision.promise.limit),
        "settling_seconds": seconds(decision.settling),
        "run_seconds": seconds(decision.run_time),
        "run_is_measured": decision.is_measured,
        "worst_lag_seconds": seconds(decision.worst_lag),
        "can_be_kept": decision.can_be_kept,
        "verdict": decision.verdict,
        "arithmetic": str(decision),
    }


def measured(pipeline: Pipeline, consumer: Consumer) -> timedelta | None:
    """Return the measured 95th percentile of queueing and running of the automation that serves `consumer`."""
    return pipeline.lake.ledger.work.p95_run_time().get(consumer.cadence.name)
