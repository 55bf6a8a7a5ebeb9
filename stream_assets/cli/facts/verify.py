"""What `verify` compared and found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stream_assets.cli.facts.values import span

if TYPE_CHECKING:
    from stream_assets.core.window import TimeWindow
    from stream_assets.pipeline.verify import Difference, Mended, Verification


def verify_facts(tables: list[str], asked: TimeWindow, found: Verification) -> dict[str, Any]:
    """Return counts, and every difference with the command that mends it."""
    return {
        "tables": tables,
        **span(asked),
        "windows": found.windows,
        "rows": found.rows,
        "files": found.files,
        "source_queries": found.queries,
        "partitions": found.partitions,
        "consumer_rows": found.consumer_rows,
        "skipped": dict(found.reasons),
        "is_good": found.is_good,
        "differences": [_difference(d) for d in found.differences],
    }


def mended_facts(before: Verification, done: list[Mended]) -> dict[str, Any]:
    """Return what differed before it was mended, and what was tried."""
    return {
        "before": [_difference(d) for d in before.differences],
        "mended": [
            {
                "table": m.table,
                "start": m.span.start.isoformat(),
                "end": m.span.end.isoformat(),
                "said": m.said,
                "is_done": m.is_done,
            }
            for m in done
        ],
    }


def _difference(d: Difference) -> dict[str, Any]:
    return {
        "check": d.check,
        "table": d.table,
        "start": d.span.start.isoformat(),
        "end": d.span.end.isoformat(),
        "said": d.said,
        "ids": list(d.ids),
        "mend": str(d.mend),
        "is_known": d.is_known,
    }
