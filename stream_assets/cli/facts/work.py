"""Work and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from stream_assets.cli.facts.sources import rejected_facts
from stream_assets.cli.facts.standing import standing_facts
from stream_assets.cli.facts.values import partitions
from stream_assets.pipeline.outcome import State

if TYPE_CHECKING:
    from stream_assets.core.planning import Work
    from stream_assets.core.window import Calendar
    from stream_assets.pipeline.outcome import Report
    from stream_assets.pipeline.pipeline import Pipeline

STATES = get_args(State)


def work_facts(work: Work, calendar: Calendar) -> dict[str, Any]:
    """Return one piece of work as the planner asks for it."""
    return {
        "automation": work.automation,
        "grain": work.grain,
        "tables": list(work.tables),
        **partitions(calendar, work.span, work.grain),
        "is_catch_up": work.is_catch_up,
        "removes": work.removes,
        "reason": work.reason,
    }


def report_facts(report: Report, pipeline: Pipeline) -> dict[str, Any]:
    """Return what became of a range of one table; each failed partition with its error and what comes next."""
    table = pipeline.declarations.tables.get(report.table)
    grain = table.grain if table else "day"
    return {
        "table": report.table,
        **{state.replace(" ", "_"): report.count(state) for state in STATES},
        "rows": report.rows,
        **rejected_facts(
            pipeline, report.table, (o.receipt for o in report.outcomes if o.receipt and o.state == "published")
        ),
        "failures": [
            {
                "key": pipeline.calendar.key(o.span, grain),
                **partitions(pipeline.calendar, o.span, grain),
                "error": o.error,
                "is_transient": o.is_transient,
            }
            for o in report.failed
            if o.state == "failed"
        ],
    }


def got(reports: list[dict[str, Any]], pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return by consumer what it got from `reports`, and how it stands now."""
    from stream_assets.pipeline.promises import standings

    found: list[dict[str, Any]] = []
    for standing in standings(pipeline.site, pipeline.state()):
        mine = [r for r in reports if r["table"] == standing.consumer.name]
        found.append(
            {
                "consumer": standing.consumer.name,
                **{key: sum(r[key] for r in mine) for key in ("published", "unchanged", "rows", "failed")},
                **standing_facts(standing),
                "is_paused": standing.paused_at is not None,
            }
        )
    return found
