"""What the ledger knows of looking again: up to which publication of a table each age has been looked at."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.lake.ledger.database import Database, Row, instant, text


@dataclass(frozen=True, slots=True)
class Aged:
    """What of one table has reached an age and has not been looked at since.

    Attributes:
        upto: number of the last publication that it takes in; hand it to `move`, once what was found is reopened.
        is_new: whether `upto` says more than is recorded.
        spans: event time that those publications filled or changed.
    """

    table: str
    age: timedelta
    upto: int
    is_new: bool
    spans: Intervals


class AgeRecords:
    """Marks are numbers of publications, which are in the order of commits; instants of sealing are not quite.

    So nothing is ever behind a mark that it was not looked at for. What it costs depends on what is due.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, table: str, age: timedelta, now: datetime, known_before: datetime) -> Aged:
        """Return what of `table` was made `age` ago or earlier and has not been looked at since at that age.

        A partition that is made for the first time counts whole, later what changed in it; what came out equal does not
        count. Where nothing is recorded yet, what was made before `known_before` counts as looked at.
        """
        recorded = self._mark(table, age)
        mark = self._newest(table, known_before) if recorded is None else recorded
        young = self._database.row(
            "select seq from publication where tbl = ? and seq > ? and committed_at > ? and committed_at <= ? order by seq limit 1",
            (table, mark, text(now - age), text(now)),
        )
        upto = young["seq"] - 1 if young else max(mark, self._newest(table, now))
        rows = self._database.rows(
            "select key_start, key_end, revision, touched from publication"
            " where tbl = ? and seq > ? and seq <= ? and kind not in ('delivered', 'removed')",
            (table, mark, upto),
        )
        return Aged(table, age, upto, upto != recorded, Intervals.union_of(s for row in rows for s in _filled(row)))

    def move(self, looked_at: Iterable[Aged]) -> None:
        """Record what has been looked at; belongs into the transaction that reopens what was found. No mark goes back."""
        self._database.change_many(
            "insert into looked_at values (?, ?, ?) on conflict (tbl, age) do update set seq = max(seq, excluded.seq)",
            [(aged.table, _seconds(aged.age), aged.upto) for aged in looked_at],
        )

    def _mark(self, table: str, age: timedelta) -> int | None:
        row = self._database.row("select seq from looked_at where tbl = ? and age = ?", (table, _seconds(age)))
        return row["seq"] if row else None

    def _newest(self, table: str, until: datetime) -> int:
        row = self._database.row(
            "select seq from publication where tbl = ? and committed_at <= ? order by seq desc limit 1",
            (table, text(until)),
        )
        return row["seq"] if row else 0


def _filled(row: Row) -> list[TimeWindow]:
    if row["revision"] == 1:
        return [TimeWindow(instant(row["key_start"]), instant(row["key_end"]))]
    return [TimeWindow(instant(start), instant(end)) for start, end in json.loads(row["touched"])]


def _seconds(age: timedelta) -> int:
    return age // timedelta(seconds=1)
