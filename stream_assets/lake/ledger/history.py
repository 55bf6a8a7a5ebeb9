"""What was published and done: each by itself for a while, then the sums of each day."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime

from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Receipt
from stream_assets.core.window import TimeWindow
from stream_assets.lake.ledger.current import Current
from stream_assets.lake.ledger.database import Database, instant, records, text
from stream_assets.lake.ledger.database import span as read_span

_PUBLISHED = """
    select substr(committed_at, 1, 10) as day, tbl, sum(kind not in ('delivered', 'removed') and revision = 1) as first,
        sum(kind not in ('delivered', 'removed') and revision > 1) as again, sum(kind = 'delivered') as equal,
        sum(kind = 'removed') as removed, sum(case when kind in ('delivered', 'removed') then 0 else rows end) as rows
    from publication where {} group by 1, 2"""
_WORKED = """
    select substr(requested_at, 1, 10) as day, automation, count(*) as runs, sum(state != 'done') as failed,
        coalesce(sum(cpu_seconds), 0) as cpu_seconds
    from work where {} group by 1, 2"""
_ENDED = "(state in ('done', 'failed') or lease_expires_at <= :until)"
"""What was lost has ended too: its process gives no sign of life any more."""


@dataclass(frozen=True, slots=True)
class Published:
    """What became of one table on one UTC day of commits.

    Attributes:
        first: partitions published for the first time, or adopted.
        again: later revisions.
        equal: made again, and unchanged.
        rows: in what was published.
    """

    day: date
    table: str
    first: int
    again: int
    equal: int
    removed: int
    rows: int


@dataclass(frozen=True, slots=True)
class Worked:
    """What one automation did on one UTC day of requests; `failed` are of `runs`, those that were lost among them."""

    day: date
    automation: str
    runs: int
    failed: int
    cpu_seconds: float


class HistoryRecords:
    """The ledger's records of what has happened. Each method is one transaction, or part of the caller's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def publish(self, receipt: Receipt, touched: Intervals, kind: str) -> int:
        """Record a publication, and return its sequence number."""
        spans = json.dumps([[text(s.start), text(s.end)] for s in touched])
        return self._insert(receipt, kind, spans, receipt.reason, receipt.run_id, receipt.committed_at)

    def add(self, current: Current, kind: str, reason: str, now: datetime) -> None:
        """Record something of a partition that is no new content: it was `delivered`, or `removed`."""
        self._insert(current, kind, "[]", reason, "", now)

    def _insert(self, of: Receipt | Current, kind: str, touched: str, reason: str, run_id: str, at: datetime) -> int:
        return self._database.change(
            "insert into publication (tbl, key_start, key_end, revision, kind, digest, rows, touched, reason, run_id, committed_at)"
            " values (?,?,?,?,?,?,?,?,?,?,?)",
            (
                of.table, text(of.span.start), text(of.span.end), of.revision, kind, str(of.digest), of.rows, touched, reason,
                run_id, text(at),
            ),
        )  # fmt: skip

    def made_at(self, table: str, span: TimeWindow) -> datetime | None:
        """Return when a partition was last made, also where it came out equal; None before."""
        where = "where tbl = :table and key_start = :start"
        row = self._database.row(
            f"select max(committed_at) as at from (select committed_at from publication {where}"
            f" union all select committed_at from current {where})",
            {"table": table, "start": text(span.start)},
        )
        return instant(row["at"]) if row and row["at"] else None

    def touched_since(self, seq: int, table: str) -> list[tuple[int, Intervals]]:
        """Return `(sequence number, event time touched)` of every publication of `table` after `seq`, unless it is folded."""
        rows = self._database.rows(
            "select seq, touched from publication where tbl = ? and seq > ? and touched != '[]' order by seq",
            (table, seq),
        )
        return [(row["seq"], _touched(row["touched"])) for row in rows]

    def newest_instant(self) -> datetime | None:
        """Return when the newest publications and work were recorded, at the latest; None before any."""
        newest = "select max({0}) as at from (select {0} from {1} order by {2} desc limit 100)"
        row = self._database.row(
            f"select max(at) as at from ({newest.format('committed_at', 'publication', 'seq')} union all"
            f" {newest.format('requested_at', 'work', 'id')})"
        )
        return instant(row["at"]) if row and row["at"] else None

    def fold(self, until: datetime) -> None:
        """Replace publications, and work that has ended, of before `until` by the sums of each day."""
        before = {"until": text(until)}
        worked = f"requested_at < :until and {_ENDED}"
        with self._database.transaction():
            # For a plain `max(seq)` SQLite would go through all that stays, from the newest on.
            last = self._database.row("select max(+seq) as seq from publication where committed_at < :until", before)
            self._database.change(
                f"insert into published {_PUBLISHED.format('committed_at < :until')} on conflict (day, tbl) do update set"
                " first = first + excluded.first, again = again + excluded.again, equal = equal + excluded.equal,"
                " removed = removed + excluded.removed, rows = rows + excluded.rows",
                before,
            )
            self._database.change("delete from publication where committed_at < :until", before)
            self._database.change(
                f"insert into worked {_WORKED.format(worked)} on conflict (day, automation) do update set"
                " runs = runs + excluded.runs, failed = failed + excluded.failed,"
                " cpu_seconds = cpu_seconds + excluded.cpu_seconds",
                before,
            )
            self._database.change(f"delete from work where {worked}", before)
            if last and last["seq"]:
                upto = str(max(last["seq"], self.folded_upto()))
                self._database.change("insert or replace into meta values ('folded_upto', ?)", (upto,))

    def folded_upto(self) -> int:
        """Return the number of the last publication that was folded: nobody is told any more what it touched; 0 for none."""
        row = self._database.row("select value from meta where key = 'folded_upto'")
        return int(row["value"]) if row else 0

    def published(self, since: date) -> list[Published]:
        """Return what became of each table on each UTC day from `since` on, oldest first: folded or not."""
        rows = self._database.rows(
            f"select day, tbl, sum(first) as first, sum(again) as again, sum(equal) as equal, sum(removed) as removed, sum(rows) as rows"
            f" from (select * from published union all {_PUBLISHED.format('true')}) where day >= ? group by 1, 2 order by 1, 2",
            (since.isoformat(),),
        )
        with records():
            return [
                Published(
                    date.fromisoformat(r["day"]), r["tbl"], r["first"], r["again"], r["equal"], r["removed"], r["rows"]
                )
                for r in rows
            ]

    def worked(self, since: date, now: datetime) -> list[Worked]:
        """Return what each automation did on each UTC day from `since` on, oldest first, of work that has ended: folded or not."""
        rows = self._database.rows(
            "select day, automation, sum(runs) as runs, sum(failed) as failed, sum(cpu_seconds) as cpu_seconds"
            f" from (select * from worked union all {_WORKED.format(_ENDED)}) where day >= :since group by 1, 2 order by 1, 2",
            {"since": since.isoformat(), "until": text(now)},
        )
        with records():
            return [
                Worked(date.fromisoformat(r["day"]), r["automation"], r["runs"], r["failed"], r["cpu_seconds"])
                for r in rows
            ]


def _touched(value: str) -> Intervals:
    with records():
        return Intervals.union_of(read_span(start, end) for start, end in json.loads(value))
