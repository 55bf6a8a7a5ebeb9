"""How late the events of streams came, and what is allowed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stream_assets.cli.facts.values import at, seconds, span
from stream_assets.core.lateness import ALLOWANCES, Auto

if TYPE_CHECKING:
    from datetime import timedelta

    from stream_assets.core.declaration import StreamSpec
    from stream_assets.core.lateness import Lateness
    from stream_assets.pipeline.pipeline import Pipeline


def lateness_facts(pipeline: Pipeline, streams: list[StreamSpec]) -> dict[str, Any]:
    """Return quantiles of the delays, and what each allowance would have left to heal, by stream."""
    return {"now": at(pipeline.clock.now()), "streams": [_stream(pipeline, stream) for stream in streams]}


def lateness_rule(pipeline: Pipeline, stream: StreamSpec) -> dict[str, Any]:
    """Return the lateness that is allowed today; with the rule and the reason where it is learned."""
    rule = getattr(pipeline.site.sources[stream.name], "lateness", None)
    is_learned = isinstance(rule, Auto)
    return {
        "seconds": seconds(stream.settling),
        "rule": str(rule) if is_learned else None,
        "why": rule.why if is_learned else None,
    }


def _stream(pipeline: Pipeline, stream: StreamSpec) -> dict[str, Any]:
    from stream_assets.pipeline.lateness import lateness_of_stream

    of, seen = lateness_of_stream(pipeline.site, stream)
    return {
        "stream": stream.name,
        **span(of),
        "events": seen.events,
        "known": seen.known,
        "p50_seconds": _at(seen.quantile(0.5)),
        "p99_seconds": _at(seen.quantile(0.99)),
        "p999_seconds": _at(seen.quantile(0.999)),
        "max_seconds": _at(seen.longest),
        "allowed": lateness_rule(pipeline, stream),
        "allowances": [_left(seen, allowance) for allowance in ALLOWANCES],
    }


def _left(seen: Lateness, allowance: timedelta) -> dict[str, Any]:
    left = seen.left(allowance)
    share = left / seen.known if seen.known else None
    return {"allowed_seconds": seconds(allowance), "left": left, "share": share}


def _at(delay: timedelta | None) -> float | None:
    return None if delay is None else seconds(delay)
