"""What `prove` measured of each lane."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from stream_assets.cli.facts.values import span

if TYPE_CHECKING:
    from stream_assets.pipeline.prove import Proof


def prove_facts(proof: Proof) -> dict[str, Any]:
    """Return what each lane did, and every partition that they made differently."""
    return {
        "consumer": proof.consumer,
        **span(proof.span),
        "events": proof.events,
        "late": proof.late,
        "lanes": [asdict(lane) for lane in proof.lanes],
        "is_equal": proof.is_equal,
        "differences": [
            {"lane": d.lane, **span(d.span), "said": d.said, "rows": list(d.rows), "is_failure": d.is_failure}
            for d in proof.differences
        ],
    }
