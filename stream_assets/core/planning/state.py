"""What the planner is told of the world: the ledger's state at one moment, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow


@dataclass(frozen=True, slots=True)
class Reopened:
    """A span of sealed content that is no longer what it should be: a late event, or inputs that changed.

    Attributes:
        since: when it was noticed.
        not_before: when it may be healed; closed days heal at most once an hour.
    """

    span: TimeWindow
    reason: str
    since: datetime
    not_before: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failure of a partition.

    Attributes:
        span: the partition.
        next_try_at: when it is tried again; None: paused until inputs or code change, or until someone says `retry`.
        code: of the consumer that failed; another code is tried at once.
        upto: end of the input that it was made from; more input is tried at once.
    """

    span: TimeWindow
    error: str
    tries: int
    at: datetime
    next_try_at: datetime | None
    transient: bool
    code: str = ""
    upto: datetime | None = None

    @property
    def is_paused(self) -> bool:
        """Whether only a change, or a person, moves it."""
        return self.next_try_at is None

    def waits(self, now: datetime) -> bool:
        """Whether the clock alone does not let it be tried again yet."""
        # A failure of the future was met before the clock was set back, and so was its wait.
        return self.next_try_at is None or self.at <= now < self.next_try_at


@dataclass(frozen=True, slots=True)
class InFlight:
    """Work that holds a living lease."""

    tables: tuple[str, ...]
    span: TimeWindow
    is_catch_up: bool


@dataclass(frozen=True, slots=True)
class TableState:
    """What the ledger says of one table.

    Attributes:
        coverage: what has been delivered: sealed windows or days, and of an open day's partition the windows in it.
        outdated: open partitions that another code made.
    """

    coverage: Intervals = Intervals()
    reopened: tuple[Reopened, ...] = ()
    failures: tuple[Failure, ...] = ()
    outdated: Intervals = Intervals()


EMPTY = TableState()


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Everything that the planner reads.

    Attributes:
        start: local midnight of the first day kept.
        windows_from: local midnight of the first day that 5-minute partitions exist for.
        kept_from: per stream from which days have been removed, local midnight of the first that has not.
        rejected_from: the same of rejected rows.
        newest: per stream, the end of the newest partition that has rows.
        history_from: local midnight of the first day of which the ledger has each publication by itself.
        watermarks: per stream, the highest ever seen.
        paused: consumers that a person has paused.
        stopped: automations that a person has stopped.
        ticked: per automation, when it last looked.
        heal_awake_since: when `heal` began to tick without a break of ten minutes; None where it never ticked.
        first_seen: per consumer, when the lake first met it.
    """

    start: datetime
    windows_from: datetime
    watermarks: Mapping[str, datetime]
    tables: Mapping[str, TableState] = field(default_factory=dict[str, TableState])
    in_flight: tuple[InFlight, ...] = ()
    paused: frozenset[str] = frozenset()
    stopped: frozenset[str] = frozenset()
    ticked: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    heal_awake_since: datetime | None = None
    first_seen: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    kept_from: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    rejected_from: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    newest: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    history_from: datetime | None = None

    def table(self, name: str) -> TableState:
        """Return what is known of `name`, empty for a table that has nothing yet."""
        return self.tables.get(name, EMPTY)
