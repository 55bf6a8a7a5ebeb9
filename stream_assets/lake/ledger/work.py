"""Requests, leases, failures, automations and reader places."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from stream_assets.core.planning import Failure, InFlight, Work
from stream_assets.core.window import TimeWindow
from stream_assets.lake.ledger.database import Database, Row, instant, names, span, text

REQUESTED = timedelta(minutes=5)
"""How long a request that nobody has begun counts as in flight."""
LEASE = timedelta(minutes=1)
"""How long running work that gives no sign of life counts as in flight; it gives one every third of it."""
BACKOFF = timedelta(seconds=30)
BACKOFF_LIMIT = timedelta(minutes=15)
TERMINAL_TRIES = 3
AWAKE = timedelta(minutes=10)
"""An automation that looked less than this long ago has been awake all the while."""


_LIVES = "lease_expires_at > ? and lease_expires_at <= ?"
"""A lease that ends later than any can was given before the clock was set back: whoever lives renews it."""


def _lives(now: datetime) -> tuple[str, str]:
    return text(now), text(now + REQUESTED)


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim on work: alive while it is renewed."""

    id: int
    owner: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One row of the work log, for `status` and for sensors.

    Attributes:
        state: `requested`, `running`, `done` or `failed`.
        lease_expires_at: until when it counts as in flight; work that nobody gives a sign of any more has been lost.
    """

    id: int
    automation: str
    tables: tuple[str, ...]
    span: TimeWindow
    state: str
    requested_at: datetime
    finished_at: datetime | None
    error: str | None
    cpu_seconds: float | None
    lease_expires_at: datetime | None = None

    def is_lost(self, now: datetime) -> bool:
        """Whether its process is gone: what it did not do is planned again."""
        ends = self.lease_expires_at
        return ends is not None and not now < ends <= now + REQUESTED


class WorkRecords:
    """The ledger's records of who does what. Each method is one transaction, or part of the caller's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Requests and leases.

    def request(self, work: Work, now: datetime) -> Lease:
        """Record that `work` has been asked for, before it is; it is in flight for five minutes, or until it begins."""
        owner = uuid4().hex
        with self._database.transaction():
            row = self._insert(
                work.automation,
                work.grain,
                work.tables,
                work.span,
                work.is_catch_up,
                work.reason,
                "requested",
                owner,
                now,
                REQUESTED,
            )
        return Lease(row, owner)

    def begin(
        self, id: int | None, automation: str, grain: str, tables: tuple[str, ...], span: TimeWindow, now: datetime
    ) -> Lease:
        """Take over the request `id`, or make a claim without one (a click, the command line)."""
        owner = uuid4().hex
        with self._database.transaction():
            known = self._database.row("select id from work where id = ?", (id,)) if id is not None else None
            if known is None:
                id = self._insert(
                    automation, grain, tables, span, False, "asked by a person", "running", owner, now, LEASE
                )
            else:
                self._database.change(
                    "update work set state = 'running', owner = ?, lease_expires_at = ? where id = ?",
                    (owner, text(now + LEASE), id),
                )
        assert id is not None
        return Lease(id, owner)

    def _insert(
        self, automation: str, grain: str, tables: tuple[str, ...], span: TimeWindow, is_catch_up: bool, reason: str,
        state: str, owner: str, now: datetime, lease: timedelta,
    ) -> int:  # fmt: skip
        return self._database.change(
            'insert into work (automation, grain, tables, remaining, start, "end", is_catch_up, reason, state, owner, requested_at, lease_expires_at)'
            " values (?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                automation, grain, json.dumps(tables), json.dumps(tables), text(span.start), text(span.end), is_catch_up, reason, state,
                owner, text(now), text(now + lease),
            ),
        )  # fmt: skip

    def waiting(self, now: datetime) -> tuple[int, ...]:
        """Return the ids of work in flight that nobody is doing: asked for, or between two of its tables."""
        rows = self._database.rows(f"select id from work where state = 'requested' and {_LIVES}", _lives(now))
        return tuple(row["id"] for row in rows)

    def keep(self, id: int, now: datetime) -> None:
        """Let waiting work count as in flight for five more minutes."""
        self._database.change(
            "update work set lease_expires_at = ? where id = ? and state = 'requested'", (text(now + REQUESTED), id)
        )

    def renew(self, lease: Lease, now: datetime) -> None:
        """Give a sign of life."""
        self._database.change(
            "update work set lease_expires_at = ? where id = ? and owner = ? and state = 'running'",
            (text(now + LEASE), lease.id, lease.owner),
        )

    def finish(
        self, lease: Lease, table: str, now: datetime, *, error: str | None = None, cpu_seconds: float = 0.0
    ) -> None:
        """Record that one table of the work is done. The lease is free after the last one, or after a failure.

        Between two tables (steps of one Dagster run, in any order) the work stays in flight for five minutes.
        """
        with self._database.transaction():
            row = self._database.row("select remaining, error from work where id = ?", (lease.id,))
            remaining = [t for t in names(row["remaining"]) if t != table] if row else []
            error = error or (row["error"] if row else None)
            state = "failed" if error else "requested" if remaining else "done"
            self._database.change(
                "update work set state = ?, remaining = ?, error = ?, finished_at = ?, lease_expires_at = ?,"
                " cpu_seconds = coalesce(cpu_seconds, 0) + ? where id = ?",
                (
                    state, json.dumps(remaining), error, text(now), text(now + REQUESTED) if state == "requested" else None,
                    cpu_seconds, lease.id,
                ),
            )  # fmt: skip

    def drop(self, id: int, error: str, now: datetime) -> None:
        """Give work back that will not go on, whichever of its tables is done; what is finished stays as it is."""
        self._database.change(
            "update work set state = 'failed', error = coalesce(error, ?), finished_at = ?, lease_expires_at = null"
            " where id = ? and state in ('requested', 'running')",
            (error, text(now), id),
        )

    def is_in_flight(self, id: int, now: datetime) -> bool:
        """Whether the work with this id holds a living lease."""
        row = self._database.row(f"select 1 from work where id = ? and {_LIVES}", (id, *_lives(now)))
        return row is not None

    def in_flight(self, now: datetime) -> tuple[InFlight, ...]:
        """Return all work with a living lease."""
        rows = self._database.rows(
            f"select * from work where state in ('requested', 'running') and {_LIVES}", _lives(now)
        )
        return tuple(InFlight(tuple(names(r["remaining"])), _span(r), bool(r["is_catch_up"])) for r in rows)

    def recent(self, limit: int = 20) -> list[Claim]:
        """Return the newest rows of the work log, newest first."""
        rows = self._database.rows("select * from work order by id desc limit ?", (limit,))
        return [_claim(r) for r in rows]

    def unfinished(self) -> list[Claim]:
        """Return the work that has been asked for or begun and not ended, lost or not, oldest first."""
        rows = self._database.rows("select * from work where state in ('requested', 'running') order by id")
        return [_claim(r) for r in rows]

    def p95_run_time(self, newest: int = 200) -> dict[str, timedelta]:
        """Return by automation the 95th percentile, from request to end, of its newest live runs; empty before any."""
        found: dict[str, list[timedelta]] = {}
        for r in self._database.rows(
            "select automation, requested_at, finished_at from work where state = 'done' and is_catch_up = 0 order by id desc limit ?",
            (newest,),
        ):
            found.setdefault(r["automation"], []).append(instant(r["finished_at"]) - instant(r["requested_at"]))
        return {name: sorted(times)[int(0.95 * (len(times) - 1))] for name, times in found.items()}

    # Failures.

    def fail(
        self,
        table: str,
        span: TimeWindow,
        error: str,
        now: datetime,
        *,
        transient: bool,
        code: str = "",
        upto: datetime | None = None,
    ) -> Failure:
        """Record one more failure of a partition.

        A transient one is tried again for ever, after 30 s, 1 min, ... at most 15 minutes; a terminal one pauses the
        partition after the third time in a row.
        """
        with self._database.transaction():
            row = self._database.row(
                "select tries from failure where tbl = ? and start = ? and code = ? and transient = ?",
                (table, text(span.start), code, transient),
            )
            tries = (row["tries"] if row else 0) + 1
            wait = min(BACKOFF_LIMIT, BACKOFF * 2 ** min(tries - 1, 10))
            next_try_at = None if not transient and tries >= TERMINAL_TRIES else now + wait
            failure = Failure(span, error, tries, now, next_try_at, transient, code, upto)
            self._database.change(
                "insert or replace into failure values (?,?,?,?,?,?,?,?,?,?)",
                (
                    table, text(span.start), text(span.end), error, tries, text(now),
                    text(next_try_at) if next_try_at else None, transient, code, text(upto) if upto else None,
                ),
            )  # fmt: skip
        return failure

    def clear_failures(self, table: str, span: TimeWindow) -> int:
        """Forget the failures of `table` that touch `span`, and return how many there were."""
        where = 'from failure where tbl = ? and start < ? and "end" > ?'
        values = (table, text(span.end), text(span.start))
        count = self._database.row(f"select count(*) as n {where}", values)
        if count and count["n"]:
            self._database.change(f"delete {where}", values)
        return count["n"] if count else 0

    def failures(self) -> dict[str, tuple[Failure, ...]]:
        """Return all failures that stand, by table."""
        found: dict[str, list[Failure]] = {}
        for r in self._database.rows("select * from failure order by tbl, start"):
            found.setdefault(r["tbl"], []).append(
                Failure(
                    _span(r), r["error"], r["tries"], instant(r["at"]),
                    instant(r["next_try_at"]) if r["next_try_at"] else None, bool(r["transient"]), r["code"],
                    instant(r["upto"]) if r["upto"] else None,
                )
            )  # fmt: skip
        return {table: tuple(failures) for table, failures in found.items()}

    # Automations.

    def tick(self, automation: str, now: datetime) -> None:
        """Record that an automation has looked."""
        self._database.change(
            "insert into automation values (?, ?, ?) on conflict (name) do update set"
            " awake_since = case when ticked < ? then excluded.awake_since else awake_since end, ticked = excluded.ticked",
            (automation, text(now), text(now), text(now - AWAKE)),
        )

    def ticks(self) -> dict[str, tuple[datetime, datetime]]:
        """Return by automation when it last looked, and since when it has been looking without a break."""
        rows = self._database.rows("select * from automation")
        return {r["name"]: (instant(r["ticked"]), instant(r["awake_since"])) for r in rows}

    # Reader places of sources.

    def take_place(self, stream: str, places: int, now: datetime, lease: timedelta) -> str | None:
        """Take one of the places of those who read a source at once; None while all are taken."""
        with self._database.transaction():
            dead = (text(now), text(now + max(lease, REQUESTED)))
            self._database.change("delete from reader where expires_at <= ? or expires_at > ?", dead)
            row = self._database.row("select count(*) as n from reader where stream = ?", (stream,))
            if row and row["n"] >= places:
                return None
            place = uuid4().hex
            self._database.change("insert into reader values (?, ?, ?)", (place, stream, text(now + lease)))
        return place

    def keep_place(self, stream: str, place: str, now: datetime, lease: timedelta) -> None:
        """Hold a place for longer; also one that somebody took for dead when the clock was set back."""
        self._database.change("insert or replace into reader values (?, ?, ?)", (place, stream, text(now + lease)))

    def leave_place(self, place: str) -> None:
        """Give a place back."""
        self._database.change("delete from reader where id = ?", (place,))


def _claim(r: Row) -> Claim:
    return Claim(
        r["id"], r["automation"], tuple(names(r["tables"])), _span(r), r["state"], instant(r["requested_at"]),
        instant(r["finished_at"]) if r["finished_at"] else None, r["error"], r["cpu_seconds"],
        instant(r["lease_expires_at"]) if r["lease_expires_at"] and r["state"] in ("requested", "running") else None,
    )  # fmt: skip


def _span(row: Row) -> TimeWindow:
    return span(row["start"], row["end"])
