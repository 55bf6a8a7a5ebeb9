"""How the consumers and the streams stand now."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stream_assets.cli.facts.lateness import lateness_rule
from stream_assets.cli.facts.sources import discarded_facts, is_empty, rejected_facts
from stream_assets.cli.facts.standing import standing_facts
from stream_assets.cli.facts.values import at, partitions, seconds, span, spans
from stream_assets.core.window import TimeWindow
from stream_assets.errors import StreamAssetsError

if TYPE_CHECKING:
    from stream_assets.core.declaration import StreamSpec
    from stream_assets.core.planning import Failure, LedgerState
    from stream_assets.core.window import Grain
    from stream_assets.lake.ledger import Claim
    from stream_assets.pipeline.pipeline import Pipeline
    from stream_assets.pipeline.promises import Standing

REJECTED_SINCE = timedelta(days=7)
"""Rejected rows are counted over this long, so that the answer costs the same at any age of the lake."""


def status_facts(pipeline: Pipeline, *, recent: int = 10) -> dict[str, Any]:
    """Return how every consumer stands against its promise, every stream, and the newest work.

    A source that cannot be asked is named, and the ledger answers for the rest.
    """
    from stream_assets.pipeline.promises import standings

    silent: dict[str, str] = {}
    try:
        silent = pipeline.observe()
    except StreamAssetsError as error:
        silent = {"": str(error)}
    state = pipeline.state()
    return {
        "now": at(pipeline.clock.now()),
        "lake": str(pipeline.lake.layout.root),
        "timezone": pipeline.calendar.zone,
        "start": at(state.start),
        "windows_from": at(state.windows_from),
        "consumers": [_consumer(pipeline, s) for s in standings(pipeline.site, state)],
        "streams": [_stream(pipeline, s, state) for s in pipeline.declarations.streams],
        "recent_work": [_claim(pipeline, c) for c in pipeline.lake.ledger.work.recent(recent)],
        "silent_sources": silent,
        "accepted": [{"table": t, **span(gap.span), "said": gap.said} for t, gap in pipeline.lake.ledger.accepted()],
        "copy_of": pipeline.lake.meta.get("made_at") if pipeline.lake.is_copy else None,
    }


def _consumer(pipeline: Pipeline, standing: Standing) -> dict[str, Any]:
    consumer = standing.consumer
    return {
        "consumer": consumer.name,
        "lane": consumer.lane,
        "automation": consumer.cadence.name,
        "grain": consumer.grain,
        "promise": str(standing.promise),
        "promise_seconds": seconds(standing.promise.limit),
        **standing_facts(standing),
        "verdict": standing.decision.verdict,
        "can_be_kept": standing.decision.can_be_kept,
        "holes": spans(standing.holes),
        "holes_seconds": seconds(standing.holes.duration),
        "stale_code": standing.stale_code,
        "failures": [_failure(pipeline, f, consumer.grain) for f in standing.failures],
        "paused_at": at(standing.paused_at),
    }


def _failure(pipeline: Pipeline, failure: Failure, grain: Grain) -> dict[str, Any]:
    return {
        **partitions(pipeline.calendar, failure.span, grain),
        "error": failure.error,
        "tries": failure.tries,
        "at": at(failure.at),
        "next_try_at": at(failure.next_try_at),
        "is_paused": failure.is_paused,
        "is_transient": failure.transient,
    }


def _stream(pipeline: Pipeline, stream: StreamSpec, state: LedgerState) -> dict[str, Any]:
    from stream_assets.pipeline.ages import what_finds_late_events

    windows, days = state.table(stream.name), state.table(stream.daily)
    now = pipeline.clock.now()
    since = pipeline.calendar.day_around(now - REJECTED_SINCE).start
    known = stream.name in pipeline.lake.ledger.tables()
    files = pipeline.lake.files(stream.name, TimeWindow(since, max(since, now))) if known else []
    return {
        "stream": stream.name,
        "source": pipeline.site.sources[stream.name].describe(),
        "settling_seconds": seconds(stream.settling),
        "watermark": at(state.watermarks.get(stream.name)),
        "lateness": lateness_rule(pipeline, stream),
        "late_events": what_finds_late_events(pipeline.site, stream),
        "windows": spans(windows.coverage),
        "days": spans(days.coverage),
        "reopened": [
            {**span(s), "table": t, "reason": r.reason, "since": at(r.since), "not_before": at(r.not_before)}
            for r in windows.reopened
            for t, there in ((stream.daily, days.coverage), (stream.name, windows.coverage - days.coverage))
            for s in there.clip(r.span)
        ],
        "failures": [
            *(_failure(pipeline, f, "5 min") for f in windows.failures),
            *(_failure(pipeline, f, "day") for f in days.failures),
        ],
        "is_empty": is_empty(pipeline, stream, state),
        **rejected_facts(pipeline, stream.name, (f.current.receipt for f in files)),
        "rejected_since": at(since),
        **discarded_facts(pipeline, stream, (f.current.receipt for f in files)),
    }


def _claim(pipeline: Pipeline, claim: Claim) -> dict[str, Any]:
    known = pipeline.declarations.tables
    grains: list[Grain] = [known[t].grain for t in claim.tables if t in known]
    return {
        "id": claim.id,
        "automation": claim.automation,
        "tables": list(claim.tables),
        **partitions(pipeline.calendar, claim.span, grains[0] if grains else "5 min"),
        "state": "lost" if claim.is_lost(pipeline.clock.now()) else claim.state,
        "requested_at": at(claim.requested_at),
        "finished_at": at(claim.finished_at),
        "seconds": round(seconds(claim.finished_at - claim.requested_at), 3) if claim.finished_at else None,
        "cpu_seconds": round(claim.cpu_seconds, 3) if claim.cpu_seconds is not None else None,
        "error": claim.error,
    }
