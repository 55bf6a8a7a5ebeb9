"""The planner: a pure function of declarations, ledger, watermark and clock. Nothing else decides what runs.

> A wanted partition is **due** when what it should contain by now differs from what its receipt says it contains,
> and all it should contain is there.
"""

from stream_assets.core.planning.due import Horizon, Rule, horizons
from stream_assets.core.planning.plan import Plan, plan
from stream_assets.core.planning.retention import held
from stream_assets.core.planning.state import Failure, InFlight, LedgerState, Reopened, TableState
from stream_assets.core.planning.work import HEAL, RECORDS, Removes, Work, removal_of

__all__ = [
    "HEAL",
    "RECORDS",
    "Failure",
    "Horizon",
    "InFlight",
    "LedgerState",
    "Plan",
    "Removes",
    "Reopened",
    "Rule",
    "TableState",
    "Work",
    "held",
    "horizons",
    "plan",
    "removal_of",
]
