"""The planner: a pure function of declarations, ledger, watermark and clock. Nothing else decides what runs.

> A wanted partition is **due** when what it should contain by now differs from what its receipt says it contains,
> and all it should contain is there.
"""

from stream_assets.core.planning.due import Horizon, Rule, horizons
from stream_assets.core.planning.plan import HEAL, Plan, Work, plan
from stream_assets.core.planning.state import Failure, InFlight, LedgerState, Reopened, TableState

__all__ = [
    "HEAL",
    "Failure",
    "Horizon",
    "InFlight",
    "LedgerState",
    "Plan",
    "Reopened",
    "Rule",
    "TableState",
    "Work",
    "horizons",
    "plan",
]
