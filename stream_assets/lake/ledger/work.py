"""Requests, leases, failures, automations and reader places."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from stream_assets.core.planning import Failure, InFlight, Work
from stream_assets.core.window import TimeWindow
from stream_assets.lake.ledger.database import Database, Row, instant, names, records, span, text

REQUESTED = timedelta(minutes=5)
"""How long a request that nobody has begun counts as in flight."""
LEASE = timedelta(minutes=1)
"""How long running work that gives no sign of life counts as in flight; it gives one every third of it."""
BACKOFF = timedelta(seconds=30)
BACKOFF_LIMIT = timedelta(minutes=15)
TERMINAL_TRIES = 3
AWAKE = timedelta(minutes=10)
"""An automation that looked less than this long ago has been awake all the while."""
SAID_EVERY = timedelta(minutes=1)
"""How often an automation that looks again and again says so; `heal` may take one for silent so much too early."""


_LIVES = "lease_expires_at > ? and lease_expires_at <= ?"
"""A lease that ends later than any can was given before the clock was set back: whoever lives renews it."""


def _lives(now: datetime) -> tuple[str, str]:
    return text(now), text(now + REQUESTED)


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim on work, or on those of its tables that one step of it does: alive while it is renewed."""

    id: int
    owner: str


Steps = dict[str, tuple[str, datetime]]
"""By table that is being done, who does it and until when that one counts as alive: steps of one run may run at once."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One row of the work log, for `status` and for sensors.

    Attributes:
        state: `requested`, `running`, `done`, or `failed`: it broke off, or went through and `error` says how much failed.
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
        return ends is not None and not _is_alive(ends, now)


class WorkRecords:
    """The ledger's records of who does what. Each method is one transaction, or part of the caller's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Requests and leases.

    def request(self, work: Work, now: datetime) -> Lease:
        """Record that `work` has been asked for, before it is; it is in flight for five minutes, or until it begins."""
        tables, reason = work.tables, work.reason
        id = self._insert(work.automation, work.grain, tables, work.span, work.is_catch_up, reason, now)
        return Lease(id, "")

    def begin(
        self, id: int | None, automation: str, grain: str, tables: tuple[str, ...], span: TimeWindow, now: datetime
    ) -> Lease:
        """Take over `tables` of the request `id`, or make a claim without one (a click, the command line)."""
        owner = uuid4().hex
        with self._database.transaction():
            row = self._row(id) if id is not None else None
            if row is None:
                row = self._row(self._insert(automation, grain, tables, span, False, "asked by a person", now))
            assert row is not None
            steps = _steps(row) | dict.fromkeys(tables, (owner, now + LEASE))
            self._keep_steps(row["id"], steps, now + LEASE)
            remaining = dict.fromkeys([*names(row["remaining"]), *tables])
            self._database.change("update work set remaining = ? where id = ?", (json.dumps([*remaining]), row["id"]))
        return Lease(row["id"], owner)

    def _row(self, id: int) -> Row | None:
        return self._database.row("select * from work where id = ?", (id,))

    def _keep_steps(self, id: int, steps: Steps, until: datetime) -> None:
        self._database.change(
            "update work set state = 'running', owner = ?, lease_expires_at = ? where id = ?",
            (_said(steps), text(until), id),
        )

    def _insert(
        self, automation: str, grain: str, tables: tuple[str, ...], span: TimeWindow, is_catch_up: bool, reason: str,
        now: datetime,
    ) -> int:  # fmt: skip
        return self._database.change(
            'insert into work (automation, grain, tables, remaining, start, "end", is_catch_up, reason, state, owner, requested_at, lease_expires_at)'
            " values (?,?,?,?,?,?,?,?,'requested','{}',?,?)",
            (
                automation, grain, json.dumps(tables), json.dumps(tables), text(span.start), text(span.end), is_catch_up, reason,
                text(now), text(now + REQUESTED),
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
        with self._database.transaction():
            row = self._row(lease.id)
            steps = _steps(row) if row else {}
            mine = {table: (owner, now + LEASE) for table, (owner, _) in steps.items() if owner == lease.owner}
            if mine:
                self._keep_steps(lease.id, steps | mine, now + LEASE)

    def finish(
        self, lease: Lease, table: str, now: datetime, *, error: str | None = None, cpu_seconds: float = 0.0
    ) -> None:
        """Record that one table of the work is done. The lease is free after the last one, or after a failure.

        Between two tables (steps of one Dagster run, in any order) the work stays in flight for five minutes, and beside
        another step as long as that lives. Somebody else who has taken the table over since keeps it.
        """
        with self._database.transaction():
            row = self._row(lease.id)
            if row is None:
                return
            steps, remaining = _steps(row), names(row["remaining"])
            if steps.get(table, (lease.owner,))[0] == lease.owner:
                steps.pop(table, None)
                remaining = [*steps] if error else [t for t in remaining if t != table]
                self._end(row["id"], steps, remaining, error or row["error"], now)
            self._database.change(
                "update work set cpu_seconds = coalesce(cpu_seconds, 0) + ? where id = ?", (cpu_seconds, lease.id)
            )

    def note_failed(self, id: int, said: str) -> None:
        """Note that partitions of one table failed: the work goes on with what can be made, and is `failed` at its end."""
        self._database.change("update work set error = coalesce(error || '; ', '') || ? where id = ?", (said, id))

    def drop(self, id: int, error: str, now: datetime) -> None:
        """Give work back that will not go on, but what a step of it is doing; what is finished stays as it is."""
        with self._database.transaction():
            row = self._row(id)
            if row is None or row["state"] not in ("requested", "running"):
                return
            alive = {table: step for table, step in _steps(row).items() if _is_alive(step[1], now)}
            self._end(id, alive, [*alive], row["error"] or error, now)

    def _end(self, id: int, steps: Steps, remaining: list[str], error: str | None, now: datetime) -> None:
        """Let work go on whose `steps` are being done, or end, or wait for the `remaining` tables."""
        state = "running" if steps else "requested" if remaining else "failed" if error else "done"
        until = max((until for _, until in steps.values()), default=now + REQUESTED if state == "requested" else None)
        self._database.change(
            "update work set state = ?, owner = ?, remaining = ?, error = ?, finished_at = ?, lease_expires_at = ? where id = ?",
            (state, _said(steps), json.dumps(remaining), error, text(now), text(until) if until else None, id),
        )

    def is_in_flight(self, id: int, now: datetime) -> bool:
        """Whether the work with this id holds a living lease."""
        row = self._database.row(f"select 1 from work where id = ? and {_LIVES}", (id, *_lives(now)))
        return row is not None

    def in_flight(self, now: datetime) -> tuple[InFlight, ...]:
        """Return all work with a living lease, without those of its tables whose step gives no sign of life any more."""
        rows = self._database.rows(
            f"select * from work where state in ('requested', 'running') and {_LIVES}", _lives(now)
        )
        found = ((r, _alive_tables(r, now)) for r in rows)
        return tuple(InFlight(tables, _span(r), bool(r["is_catch_up"])) for r, tables in found if tables)

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
        for row in self._database.rows("select * from failure order by tbl, start"):
            found.setdefault(row["tbl"], []).append(_failure(row))
        return {table: tuple(failures) for table, failures in found.items()}

    # Automations.

    def tick(self, automation: str, now: datetime) -> None:
        """Record that an automation has looked."""
        self._database.change(
            "insert into automation values (?, ?, ?) on conflict (name) do update set"
            " awake_since = case when ticked < ? then excluded.awake_since else awake_since end, ticked = excluded.ticked",
            (automation, text(now), text(now), text(now - AWAKE)),
        )

    def stay_awake(self, automation: str, now: datetime) -> None:
        """Record that an automation has looked, where that has not been said for a minute: most looks write nothing."""
        known = self.ticks().get(automation)
        if known is None or not timedelta(0) <= now - known[0] < SAID_EVERY:
            self.tick(automation, now)

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


def _steps(row: Row) -> Steps:
    """Read who does which table. Other text is of before there was more than one; whoever wrote it is gone by now."""
    with records():
        if not row["owner"].startswith("{"):
            return {}
        return {table: (owner, instant(until)) for table, (owner, until) in json.loads(row["owner"]).items()}


def _said(steps: Steps) -> str:
    return json.dumps({table: (owner, text(until)) for table, (owner, until) in steps.items()})


def _is_alive(until: datetime, now: datetime) -> bool:
    return now < until <= now + REQUESTED


def _alive_tables(row: Row, now: datetime) -> tuple[str, ...]:
    steps = _steps(row)
    return tuple(t for t in names(row["remaining"]) if t not in steps or _is_alive(steps[t][1], now))


def _claim(r: Row) -> Claim:
    return Claim(
        r["id"], r["automation"], tuple(names(r["tables"])), _span(r), r["state"], instant(r["requested_at"]),
        instant(r["finished_at"]) if r["finished_at"] else None, r["error"], r["cpu_seconds"],
        instant(r["lease_expires_at"]) if r["lease_expires_at"] and r["state"] in ("requested", "running") else None,
    )  # fmt: skip


def _failure(r: Row) -> Failure:
    return Failure(
        _span(r), r["error"], r["tries"], instant(r["at"]), instant(r["next_try_at"]) if r["next_try_at"] else None,
        bool(r["transient"]), r["code"], instant(r["upto"]) if r["upto"] else None,
    )  # fmt: skip


def _span(row: Row) -> TimeWindow:
    return span(row["start"], row["end"])
