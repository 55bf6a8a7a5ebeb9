"""Where 5-minute partitions begin, moved on: what the ledger has to forget with it."""

from __future__ import annotations

from datetime import datetime

from stream_assets.core.window import TimeWindow
from stream_assets.lake.ledger import Ledger
from stream_assets.lake.ledger.database import text


def advance(ledger: Ledger, windows_from: datetime) -> None:
    """Let 5-minute partitions begin at `windows_from`, which never goes back; belongs into a transaction.

    What was to be made again before it is given up, but for late events of streams: their days take them in.
    """
    if windows_from <= ledger.first("5 min"):
        return
    before = TimeWindow(ledger.first("day"), windows_from)
    for table in (name for name, grain in ledger.tables().items() if grain == "5 min"):
        if ledger.stream_of(table):
            ledger.work.clear_failures(table, before)
        else:
            ledger.settle(table, before, ledger.reopened.mark())
    ledger.change_meta({"windows_from": text(windows_from)})
