"""How a consumer stands against its promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stream_assets.cli.facts.values import at, seconds

if TYPE_CHECKING:
    from stream_assets.pipeline.promises import Standing


def standing_facts(standing: Standing) -> dict[str, Any]:
    """Return what every command says of a promise. Where nothing is there yet, nothing is complete, and there is no lag."""
    return {
        "standing": str(standing),
        "stands": standing.stands,
        "is_kept": standing.is_kept,
        "is_empty": standing.is_empty,
        "is_awaited": standing.is_awaited,
        "complete_through": None if standing.is_empty else at(standing.complete_through),
        "lag_seconds": None if standing.is_empty else seconds(standing.lag),
        "held_by": standing.held_by,
    }
