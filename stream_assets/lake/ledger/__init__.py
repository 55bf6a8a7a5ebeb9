"""The ledger: the lake's small SQLite database of everything that was published, asked for, and known of sources.

The planner reads the ledger alone. All instants are UTC text in ISO 8601, which sorts in time order. Every change
is one transaction (`BEGIN IMMEDIATE`, WAL, `synchronous=FULL`); several processes may hold the ledger at once.
"""

from stream_assets.lake.ledger.ages import Aged
from stream_assets.lake.ledger.current import Current
from stream_assets.lake.ledger.database import Database
from stream_assets.lake.ledger.ledger import FORMAT, Ledger
from stream_assets.lake.ledger.place import is_other_place, place
from stream_assets.lake.ledger.sources import FileRecord, SourceRecords
from stream_assets.lake.ledger.work import Claim, Lease

__all__ = [
    "FORMAT",
    "Aged",
    "Claim",
    "Current",
    "Database",
    "FileRecord",
    "Lease",
    "Ledger",
    "SourceRecords",
    "is_other_place",
    "place",
]
