"""What `verify` compared and found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stream_assets.cli.facts.values import span

if TYPE_CHECKING:
    from stream_assets.core.window import TimeWindow
    from stream_assets.pipeline.verify import Verification


def verify_facts(tables: list[str], asked: TimeWindow, found: Verification) -> dict[str, Any]:
    """Return counts, and every difference with the command that mends it."""
    return {
        "tables": tables,
        **span(asked),
        "windows": found.windows,
        "rows": found.rows,
        "files": found.files,
        "source_queries": found.queries,
        "is_good": found.is_good,
        "differences": [
            {
                "check": d.check,
                "table": d.table,
                "start": d.span.start.isoformat(),
                "end": d.span.end.isoformat(),
                "said": d.said,
                "ids": list(d.ids),
                "mend": d.mend,
                "is_known": d.is_known,
            }
            for d in found.differences
        ],
    }
