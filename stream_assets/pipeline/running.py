"""Work that has begun: who does it, why, and what it may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_assets.lake.ledger import Current, Lease

if TYPE_CHECKING:
    from stream_assets.lake.store import Lake


@dataclass(frozen=True, slots=True)
class Running:
    """Work that has begun, and holds its lease.

    Attributes:
        request: id of the request in the ledger.
        is_planned: whether the planner asked for it: then only what is due is made, the rest is confirmed.
        accepts_loss: whether somebody has said that events which the source no longer has may go.
        is_mending: whether files are not to be trusted: what comes out equal is published again.
    """

    lease: Lease
    run_id: str
    reason: str
    is_planned: bool
    accepts_loss: bool = False
    is_mending: bool = False

    @property
    def request(self) -> int:
        """Id of the work in the ledger."""
        return self.lease.id

    def trusts(self, lake: Lake, current: Current) -> bool:
        """Whether a partition of equal content may stay: its file is there, and nobody has found fault with its rows."""
        return not self.is_mending and lake.is_whole(current)
