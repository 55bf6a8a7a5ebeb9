"""Publications: what is in every table now."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Accepted, Receipt
from stream_assets.core.window import Calendar, Grain, TimeWindow
from stream_assets.errors import Conflict, LakeError
from stream_assets.lake.ledger.ages import AgeRecords
from stream_assets.lake.ledger.current import Current, current_of
from stream_assets.lake.ledger.database import Database, Row, instant, merged, text
from stream_assets.lake.ledger.gone import GoneRecords
from stream_assets.lake.ledger.history import HistoryRecords
from stream_assets.lake.ledger.lateness import LatenessRecords
from stream_assets.lake.ledger.place import place
from stream_assets.lake.ledger.reopened import ReopenedRecords
from stream_assets.lake.ledger.sources import SourceRecords
from stream_assets.lake.ledger.work import WorkRecords

FORMAT = "3"
_HAS_GAPS = "receipt ->> 'accepted' != '[]'"
"""As the index `current_by_gap` says it."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the present partitions of a table."""

    partitions: int
    rows: int
    duplicates: int
    rejected: int
    rows_read: int


class Ledger:
    """One lake's ledger.

    `work` holds requests, leases and failures; `sources` holds watermarks, cursors and known files; `ages` holds what has
    been looked at again, `lateness` how late events come, `history` what was published and done, `gone` what is
    not kept any longer, `reopened` what is no longer right.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path)
        self.transaction = self.database.transaction
        self.work = WorkRecords(self.database)
        self.sources = SourceRecords(self.database)
        self.ages = AgeRecords(self.database)
        self.lateness = LatenessRecords(self.database)
        self.history = HistoryRecords(self.database)
        self.gone = GoneRecords(self.database)
        self.reopened = ReopenedRecords(self.database)

    def create(self, calendar: Calendar, start: datetime, windows_from: datetime, now: datetime) -> None:
        """Make a new ledger: what is fixed when a lake is made is stored here. The first of several wins."""
        self.database.create()
        with self.transaction():
            if self.meta():
                return
            values = {
                "lake_id": uuid4().hex, "epoch": uuid4().hex, "format": FORMAT, "zone": calendar.zone,
                "start": text(start), "windows_from": text(windows_from), "created_at": text(now),
                **place(self.database.path.parent),
            }  # fmt: skip
            self.change_meta(values)

    def change_meta(self, values: Mapping[str, str]) -> None:
        """Set what is fixed: when the lake is made, and when a copy becomes a lake of its own."""
        self.database.change_many("insert or replace into meta values (?, ?)", values.items())

    def meta(self) -> dict[str, str]:
        """Return what was fixed when the lake was made, and how far things have been removed since; empty before."""
        return {row["key"]: row["value"] for row in self.database.rows("select key, value from meta")}

    def first(self, grain: Grain) -> datetime:
        """Return the start of the first partition of a grain: others may move it on while a lake is open."""
        key = "start" if grain == "day" else "windows_from"
        row = self.database.row("select value from meta where key = ?", (key,))
        return instant(row["value"] if row else "")

    def is_made(self) -> bool:
        """Whether the lake has been made: its ledger is there, and not just being created by somebody else."""
        if not self.database.path.exists():
            return False
        has_tables = self.database.row("select 1 from sqlite_master where name = 'meta'")
        return has_tables is not None and bool(self.meta())

    def register(self, table: str, grain: Grain, stream: str | None) -> None:
        """Remember a table and its grain.

        Raises:
            LakeError: terminal; the lake has a table of that name with another grain.
        """
        row = self.database.row("select grain, stream from tbl where name = ?", (table,))
        if row is None or (row["grain"] == grain and row["stream"] != stream):
            self.database.change(
                "insert into tbl values (?, ?, ?) on conflict (name) do update set stream = excluded.stream where grain = excluded.grain",
                (table, grain, stream),
            )
        elif row["grain"] != grain:
            raise LakeError(
                f"table {table!r} has grain {row['grain']!r} in this lake and cannot become {grain!r}: grain is part of what a "
                "table means. Give the consumer another name, or restore its grain"
            )

    def tables(self) -> dict[str, Grain]:
        """Return all tables that the lake has met, with their grains."""
        return {name: grain for name, (grain, _) in self.registered().items()}

    def registered(self) -> dict[str, tuple[Grain, str | None]]:
        """Return all tables that the lake has met, with their grains, and the stream whose events they hold, if any."""
        return {r["name"]: (r["grain"], r["stream"]) for r in self.database.rows("select name, grain, stream from tbl")}

    def stream_of(self, table: str) -> str | None:
        """Return the stream whose events `table` holds; None for a consumer's table, and for none."""
        row = self.database.row("select stream from tbl where name = ?", (table,))
        return row["stream"] if row else None

    def days_of(self, table: str) -> str | None:
        """Return the name of the table of days of the stream whose windows `table` holds; None for any other table."""
        row = self.database.row(
            "select name from tbl where stream = (select stream from tbl where name = ? and grain = '5 min') and grain = 'day'",
            (table,),
        )
        return row["name"] if row else None

    # What is there.

    def seq(self) -> int:
        """Return the sequence number of the newest publication."""
        # Not the newest row: that may have been folded.
        row = self.database.row("select seq from sqlite_sequence where name = 'publication'")
        return row["seq"] if row else 0

    def current(self, table: str, span: TimeWindow) -> list[Current]:
        """Return the present partitions of `table` that share an instant with `span`, oldest first."""
        rows = self.database.rows(f"{_INSIDE} order by key_start", _asked(table, span))
        return [current_of(row) for row in rows]

    def serving(self, table: str, days: str, span: TimeWindow) -> list[Current]:
        """Return what gives each event of `span` once, at one moment: the days of a stream, and windows outside them.

        Args:
            table: the stream.
            days: its table of days.
            span: event time.
        """
        rows = self.database.rows(
            f"select * from ({_INSIDE}) as part where coalesce((select day.key_end from current as day where day.tbl = :days"
            " and day.key_start <= part.key_start order by day.key_start desc limit 1), '') < part.key_end"
            f" union all {_INSIDE.replace(':table', ':days')} order by key_start",
            {**_asked(table, span), "days": days},
        )
        return [current_of(row) for row in rows]

    def files(self, table: str) -> frozenset[str]:
        """Return the files of all present partitions of `table`, relative to the lake's folder."""
        return frozenset(row["file"] for row in self.database.rows("select file from current where tbl = ?", (table,)))

    def revision(self, table: str, span: TimeWindow) -> int:
        """Return the revision of one partition, 0 where there is none."""
        return self.revision_and_seq(table, span)[0]

    def revisions(self) -> dict[str, int]:
        """Return the revisions of all present partitions by folder, relative to the lake's."""
        rows = self.database.rows("select file, revision from current")
        return {row["file"].rpartition("/")[0]: row["revision"] for row in rows}

    def revision_and_seq(self, table: str, span: TimeWindow) -> tuple[int, int]:
        """Return the revision of one partition and the sequence number it was published under, zeros for none."""
        row = self.database.row(
            "select revision, seq from current where tbl = ? and key_start = ?", (table, text(span.start))
        )
        return (row["revision"], row["seq"]) if row else (0, 0)

    def newest(self, table: str, *, with_rows: bool = False) -> Current | None:
        """Return the partition of `table` that was published last, if asked of those with rows; None without one.

        Independent of history.
        """
        rows = "and rows > 0" if with_rows else ""
        row = self.database.row(f"select * from current where tbl = ? {rows} order by seq desc limit 1", (table,))
        return current_of(row) if row else None

    def newest_with_rows(self, tables: Sequence[str]) -> datetime | None:
        """Return the end of the newest partition of `tables` that has rows, by event time; None without one."""
        newest = "select key_end from current where tbl = ? and rows > 0 order by key_start desc limit 1"
        ends = [row["key_end"] for table in tables if (row := self.database.row(newest, (table,)))]
        return max(map(instant, ends), default=None)

    def coverage(self, table: str) -> Intervals:
        """Return what has been delivered of `table`."""
        return merged(self.database.rows('select start, "end" from coverage where tbl = ?', (table,)))

    def coverage_of(self, tables: Iterable[str]) -> dict[str, Intervals]:
        """Return what has been delivered of those of `tables` that have something."""
        return _by_table(
            self.database.rows(
                'select tbl, start, "end" from json_each(?) wanted cross join coverage on tbl = wanted.value',
                (json.dumps(list(tables)),),
            )
        )

    def made_by_other_code(self, codes: Mapping[str, str], since: datetime) -> dict[str, Intervals]:
        """Return by table the partitions that start at `since` or later and that another code made than `codes` says."""
        # One query, however many tables there are; `cross join` has SQLite look each of them up by its key.
        rows = self.database.rows(
            'select tbl, key_start as start, key_end as "end" from json_each(?) wanted cross join current'
            " on tbl = wanted.key and key_start >= ? and code != wanted.value",
            (json.dumps(dict(codes)), text(since)),
        )
        return _by_table(rows)

    def count_other_code(self, table: str, code: str, since: datetime) -> int:
        """Return how many partitions of `table` that start at `since` or later another code made."""
        # Two ranges of this index: for `!=`, and by the primary key, SQLite would read all of the table.
        count = "select count(*) from current indexed by current_by_code where tbl = :table and key_start >= :since and code"
        values = {"table": table, "code": code, "since": text(since)}
        row = self.database.row(f"select ({count} < :code) + ({count} > :code) as n", values)
        return row["n"] if row else 0

    def accepted(self) -> list[tuple[str, Accepted]]:
        """Return what is sealed without data, as somebody accepted: table and gap. Its cost depends on how many there are."""
        rows = self.database.rows(f"select tbl, receipt from current where {_HAS_GAPS} order by tbl, key_start")
        return [(row["tbl"], gap) for row in rows for gap in Receipt.from_json(row["receipt"]).accepted]

    def totals(self, table: str) -> Totals:
        """Return the sums over all present partitions of `table`."""
        row = self.database.row(
            "select count(*) as n, coalesce(sum(rows), 0) as rows, coalesce(sum(receipt ->> 'duplicates'), 0) as duplicates,"
            " coalesce(sum(receipt ->> 'rejected'), 0) as rejected, coalesce(sum(receipt ->> 'rows_read'), 0) as rows_read from current where tbl = ?",
            (table,),
        )
        return (
            Totals(row["n"], row["rows"], row["duplicates"], row["rejected"], row["rows_read"])
            if row
            else Totals(0, 0, 0, 0, 0)
        )

    # What changes it. Each of these belongs into a transaction with the step on disk that it records.

    def record(self, receipt: Receipt, file: str, touched: Intervals, *, kind: str = "published") -> None:
        """Record one publication. `touched` is the event time whose content is new or other than before."""
        span, at = receipt.span, text(receipt.committed_at)
        row = (receipt.table, text(span.start), text(span.end), receipt.revision, str(receipt.digest), receipt.rows)
        seq = self.history.publish(receipt, touched, kind)
        self.database.change(
            "insert or replace into current values (?,?,?,?,?,?,?,?,?,?,?,?)",
            (*row, file, receipt.inputs_seq, receipt.code, at, receipt.to_json(), seq),
        )

    def start_above(self, seq: int) -> None:
        """Let the sequence go on after `seq`, so that no number in a receipt is taken for one that is given from now on."""
        row = self.database.row("select seq from sqlite_sequence where name = 'publication'")
        highest = max(seq, row["seq"] if row else 0)
        self.database.change("delete from sqlite_sequence where name = 'publication'")
        self.database.change("insert into sqlite_sequence (name, seq) values ('publication', ?)", (highest,))

    def recognise(self, currents: Iterable[Current], seq: int) -> None:
        """Record that partitions are made from what their inputs were at `seq`."""
        self.database.change_many(
            "update current set inputs_seq = ? where tbl = ? and key_start = ? and revision = ?",
            [(seq, c.table, text(c.span.start), c.revision) for c in currents],
        )

    def delivered(
        self, current: Current, inputs_seq: int, code: str, now: datetime, reason: str = "equal content"
    ) -> None:
        """Record that a partition was made again and came out equal: no file, and nothing downstream, moves.

        Raises:
            Conflict: transient; another writer published the partition meanwhile. Nothing is recorded.
        """
        self._refuse_other(current)
        self.database.change(
            "update current set inputs_seq = ?, code = ? where tbl = ? and key_start = ?",
            (inputs_seq, code, current.table, text(current.span.start)),
        )
        self.history.add(current, "delivered", reason, now)

    def _refuse_other(self, current: Current) -> None:
        if self.revision(current.table, current.span) != current.revision:
            raise Conflict(
                f"{current.table} {current.span} was published by another writer meanwhile (not revision {current.revision} any "
                "more): the work is planned again"
            )

    def remove(self, current: Current, reason: str, now: datetime) -> None:
        """Record that a partition is there no longer, since it is not kept; the caller uncovers it. Its readers have no news.

        Raises:
            Conflict: transient; another writer published the partition meanwhile. Nothing is recorded.
        """
        self._refuse_other(current)
        self.database.change(
            "delete from current where tbl = ? and key_start = ?", (current.table, text(current.span.start))
        )
        self.history.add(current, "removed", reason, now)

    def cover(self, table: str, spans_: Iterable[TimeWindow], covered: Intervals) -> None:
        """Replace what is delivered of `table` inside the partitions `spans_` by `covered`."""
        replaced = Intervals.union_of(spans_)
        hull = replaced.hull
        if hull is None:
            return
        near = (table, text(hull.end), text(hull.start))
        rows = self.database.rows('select start, "end" from coverage where tbl = ? and start <= ? and "end" >= ?', near)
        after = (merged(rows) - replaced) | covered
        self.database.change('delete from coverage where tbl = ? and start <= ? and "end" >= ?', near)
        self.database.change_many(
            "insert into coverage values (?, ?, ?)", [(table, text(s.start), text(s.end)) for s in after]
        )

    def settle(self, table: str, span: TimeWindow, read_at: int) -> None:
        """Strike out what was reopened up to the mark `read_at` inside `span`, and the failures there: both have been mended.

        A day of a stream mends its windows too.
        """
        for name in {table, self.stream_of(table) or table}:
            self.reopened.strike(name, span, read_at)
            self.work.clear_failures(name, span)


def _by_table(rows: Iterable[Row]) -> dict[str, Intervals]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["tbl"], []).append(row)
    return {table: merged(rows) for table, rows in found.items()}


_INSIDE = "select * from current where tbl = :table and key_start < :end and key_start >= :reach and key_end > :start"


def _asked(table: str, span: TimeWindow) -> dict[str, str]:
    # No partition is longer than a day of 25 hours: lets the query use the primary key.
    reach = span.start - timedelta(hours=26)
    return {"table": table, "start": text(span.start), "end": text(span.end), "reach": text(reach)}
