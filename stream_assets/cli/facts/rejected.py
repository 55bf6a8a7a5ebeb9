"""Rejected rows: which there are, and what became of those that were released."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stream_assets.cli.facts.values import span, spans

if TYPE_CHECKING:
    from stream_assets.core.declaration import StreamSpec
    from stream_assets.core.window import TimeWindow
    from stream_assets.pipeline.pipeline import Pipeline
    from stream_assets.pipeline.release import Released


def rejected_rows(
    pipeline: Pipeline, streams: Sequence[StreamSpec], asked: TimeWindow, *, with_rows: bool
) -> dict[str, Any]:
    """Return by stream and window how many rows are kept as rejected and why, and if asked the rows themselves."""
    return {"streams": [_stream(pipeline, stream, asked, with_rows=with_rows) for stream in streams]}


def _stream(pipeline: Pipeline, stream: StreamSpec, asked: TimeWindow, *, with_rows: bool) -> dict[str, Any]:
    beside = pipeline.lake.beside
    windows: list[dict[str, Any]] = []
    total: Counter[str] = Counter()
    for window in beside.windows(stream.name, asked):
        rows = beside.read(stream.name, window).to_pylist()
        reasons = Counter(row["reason"] for row in rows)
        total += reasons
        facts = {
            "key": pipeline.calendar.key(window, "5 min"),
            **span(window),
            "rows": len(rows),
            "reasons": dict(reasons.most_common()),
        }
        windows.append(facts | ({"raw": [{"reason": r["reason"], "row": r["raw"]} for r in rows]} if with_rows else {}))
    return {
        "stream": stream.name,
        "rows": sum(w["rows"] for w in windows),
        "reasons": dict(total.most_common()),
        "windows": windows,
        "kept_in": str(pipeline.lake.layout.all_rejected(stream.name)),
    }


def released_facts(pipeline: Pipeline, stream: StreamSpec, done: Released) -> dict[str, Any]:
    """Return what became of the rejected rows of one stream."""
    return {
        "stream": stream.name,
        "released": done.rows,
        "moved": done.moved,
        "windows": spans(done.windows),
        "published": [
            {"table": o.table, "key": pipeline.calendar.key(o.span, pipeline.table(o.table).grain)}
            for o in done.outcomes
            if o.state == "published"
        ],
        "left": sum(done.left.values()),
        "left_reasons": done.left,
    }
