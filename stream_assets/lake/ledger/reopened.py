"""What is no longer right: late events came, or inputs changed."""

from __future__ import annotations

from datetime import datetime

from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import Reopened
from stream_assets.core.window import TimeWindow
from stream_assets.lake.ledger.database import Database, Row, instant, merged, spans, text

_INSERT = 'insert into reopened (tbl, start, "end", reason, since, latest, not_before) values (?,?,?,?,?,?,?)'


class ReopenedRecords:
    """The ledger's records of what is reopened. Those who change them do it in a transaction of their own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> dict[str, tuple[Reopened, ...]]:
        """Return all spans that are no longer right, by table, oldest first."""
        found: dict[str, list[Reopened]] = {}
        for row in self._database.rows("select * from reopened order by tbl, start"):
            span = next(spans([row]))
            item = Reopened(span, row["reason"], instant(row["since"]), instant(row["not_before"]))
            found.setdefault(row["tbl"], []).append(item)
        return {table: tuple(items) for table, items in found.items()}

    def mark(self) -> int:
        """Return a number that grows with everything that is reopened: who reads now has seen what was reopened under it.

        Clocks would not do: one that is set back tells of a later moment as of an earlier one.
        """
        row = self._database.row("select seq from sqlite_sequence where name = 'reopened'")
        return row["seq"] if row else 0

    def add(self, table: str, spans_: Intervals, reason: str, since: datetime, not_before: datetime) -> None:
        """Record that content of `table` inside `spans_` is no longer right.

        Where that is recorded already it stays due as it was, but only what is read from now on mends it: a reader that is
        under way has not seen what came now.
        """
        if spans_.hull is None:
            return
        known, mark = self._inside(table, spans_.hull), self.mark() + 1
        for row in known:
            self._again(row, spans_, mark)
        facts = (reason, text(since), mark, text(not_before))
        self._database.change_many(
            _INSERT, [(table, text(s.start), text(s.end), *facts) for s in spans_ - merged(known)]
        )

    def _inside(self, table: str, span: TimeWindow) -> list[Row]:
        return self._database.rows(
            'select * from reopened where tbl = ? and start < ? and "end" > ?',
            (table, text(span.end), text(span.start)),
        )

    def _again(self, row: Row, spans_: Intervals, mark: int) -> None:
        whole = next(spans([row]))
        hit = spans_.clip(whole)
        if not hit:
            return
        self._database.change("delete from reopened where id = ?", (row["id"],))
        for part, seen in [(p, mark) for p in hit] + [(p, row["latest"]) for p in Intervals.of(whole) - hit]:
            self._insert(row["tbl"], part, row["reason"], row["since"], seen, row["not_before"])

    def _insert(self, table: str, span: TimeWindow, reason: str, since: str, latest: int, not_before: str) -> None:
        values = (table, text(span.start), text(span.end), reason, since, latest, not_before)
        self._database.change(_INSERT, values)

    def strike(self, table: str, span: TimeWindow, read_at: int) -> None:
        """Strike out what was reopened of `table` up to the mark `read_at` inside `span`."""
        for row in self._inside(table, span):
            if row["latest"] > read_at:
                continue
            self._database.change("delete from reopened where id = ?", (row["id"],))
            for rest in Intervals.of(*spans([row])) - Intervals.of(span):
                self._insert(table, rest, row["reason"], row["since"], row["latest"], row["not_before"])
