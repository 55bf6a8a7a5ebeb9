"""How late the events of a stream came, from its receipts, and which allowed lateness was chosen for today."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta

from stream_assets.core.lateness import Auto, Lateness
from stream_assets.core.window import TimeWindow
from stream_assets.lake.ledger.database import Database, text


class LatenessRecords:
    """Costs as many receipts as are asked for, however old the lake is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def seen(self, table: str, span: TimeWindow) -> Lateness:
        """Return how late the events came of the partitions of a stream's `table` that start in `span`.

        Receipts from before lateness was counted say nothing.
        """
        rows = self._database.rows(
            "select receipt -> '$.lateness' as lateness from current where tbl = ? and key_start >= ? and key_start < ?",
            (table, text(span.start), text(span.end)),
        )
        told = (json.loads(row["lateness"] or "null") for row in rows)
        return Lateness.total(Lateness.from_raw(raw) for raw in told if raw)

    def chosen(self, stream: str, rule: Auto, day: date, now: datetime, learn: Callable[[], Auto]) -> Auto:
        """Return `rule` with what was chosen for the local `day`: by whoever asks first, for everybody.

        What is too little to choose from is looked at again.
        """
        known = self._chosen(stream, rule, day)
        if known:
            return known
        with self._database.transaction():
            known = self._chosen(stream, rule, day)
            if known:
                return known
            learned = learn()
            if learned.chosen is None:
                return learned
            self._database.change(
                "insert or replace into allowance values (?, ?, ?, ?, ?, ?)",
                (stream, str(rule), day.isoformat(), learned.chosen.total_seconds(), learned.why, text(now)),
            )
        return learned

    def _chosen(self, stream: str, rule: Auto, day: date) -> Auto | None:
        row = self._database.row(
            "select seconds, why from allowance where stream = ? and rule = ? and day = ?",
            (stream, str(rule), day.isoformat()),
        )
        return Auto(rule.p, rule.max, timedelta(seconds=row["seconds"]), row["why"]) if row else None
