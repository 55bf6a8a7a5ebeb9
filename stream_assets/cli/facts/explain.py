"""Why one consumer runs when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stream_assets.cli.facts.lateness import lateness_rule
from stream_assets.cli.facts.plan import decision_facts, measured
from stream_assets.cli.facts.standing import standing_facts
from stream_assets.cli.facts.values import at, seconds
from stream_assets.core.cadence import DAY_MARGIN, Cadence
from stream_assets.core.declaration import Consumer

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from stream_assets.pipeline.pipeline import Pipeline


def explain_facts(pipeline: Pipeline, consumer: Consumer) -> dict[str, Any]:
    """Return the decision about `consumer`, what it reads, and the boundaries that it and its readers want it at."""
    from stream_assets.core.planning.decision import decide
    from stream_assets.pipeline.promises import standings

    silent = pipeline.observe()
    state = pipeline.state()
    declarations, now = pipeline.declarations, pipeline.clock.now()
    horizon = pipeline.site.rule(state, now).horizons[consumer.name]
    settling = declarations.settling(consumer.name)
    settled = min(state.watermarks.get(s, state.start) for s in declarations.streams_of(consumer.name))
    standing = next(s for s in standings(pipeline.site, state) if s.consumer.name == consumer.name)
    return {
        "now": at(now),
        **decision_facts(decide(declarations, consumer, measured(pipeline, consumer))),
        "description": consumer.description,
        "grain": consumer.grain,
        "freshness_seconds": seconds(consumer.freshness),
        "lookback_seconds": seconds(consumer.lookback),
        "code": consumer.code,
        "is_paused": consumer.name in state.paused,
        "reads": [_read(pipeline, consumer, name) for name in consumer.inputs],
        "lateness": {
            s: lateness_rule(pipeline, declarations.stream(s)) for s in declarations.streams_of(consumer.name)
        },
        "settled_through": at(settled),
        "wanted_through": at(horizon.upto),
        "open_from": at(horizon.open_from),
        "boundaries": [
            _boundary(pipeline, cadence, boundary, settled, settling)
            for cadence, boundary in sorted(horizon.by.items())
        ],
        "own_automation": consumer.cadence.name,
        "readers": [
            {"consumer": r.name, "automation": r.cadence.name, "is_paused": r.name in state.paused}
            for r in declarations.readers[consumer.name]
        ],
        **standing_facts(standing),
        "silent_sources": {s: said for s, said in silent.items() if s in declarations.streams_of(consumer.name)},
    }


def _read(pipeline: Pipeline, consumer: Consumer, name: str) -> dict[str, Any]:
    """A stream is read at the consumer's grain: windows, or days."""
    is_stream = pipeline.declarations.is_stream(name)
    columns = consumer.reads.get(name)
    return {
        "name": name,
        "table": pipeline.declarations.stream(name).daily if is_stream and consumer.grain == "day" else name,
        "is_stream": is_stream,
        "drift": pipeline.declarations.stream(name).drift if is_stream else None,
        "columns": list(columns) if columns is not None else None,
        "arrives_as": consumer.forms.get(name, "pandas"),
    }


def _boundary(
    pipeline: Pipeline, cadence: Cadence, boundary: datetime, settled: datetime, settling: timedelta
) -> dict[str, Any]:
    margin = DAY_MARGIN if cadence.is_batch else settling * 0
    after = cadence.next_boundary(settled - margin, pipeline.calendar)
    return {
        "automation": cadence.name,
        "last": at(boundary),
        "next": at(after),
        "next_looked_for_at": at(after + settling + margin),
    }
