"""What was read of a window, and what the receipts of windows and days say of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.core.digest import Digest
from stream_assets.core.lateness import EDGES, Lateness
from stream_assets.core.receipt import Accepted, Latency, Receipt, WindowFact
from stream_assets.core.window import EPOCH, TimeWindow
from stream_assets.events.buffers import numbers_of
from stream_assets.events.schema import ARRIVAL_TIME, EVENT_TIME, INSTANT
from stream_assets.lake.ledger import Current

_MICROSECOND = timedelta(microseconds=1)
_EDGES = np.array([edge // _MICROSECOND for edge in EDGES])


@dataclass(frozen=True, slots=True)
class WindowContent:
    """The events of one window as they are published, and what was left out.

    Attributes:
        discarded: values of columns that the stream's drift policy leaves out.
        discarded_columns: their names.
        rejected_in: name of the file that keeps the rejected rows; None for none.
        is_fresh: whether the source said so just now; else it was copied from the lake.
        accepted: who accepted that it is sealed without data, and why; empty for any other.
    """

    window: TimeWindow
    table: pa.Table
    digest: Digest
    duplicates: int
    rejected: int
    rows_read: int
    discarded: int = 0
    discarded_columns: tuple[str, ...] = ()
    rejected_in: str | None = None
    is_fresh: bool = False
    accepted: str = ""

    @property
    def fact(self) -> WindowFact:
        """What a day's receipt says of the window."""
        return WindowFact(
            self.window.start, self.table.num_rows, self.digest, self.duplicates, self.rejected, self.discarded
        )


def of_day(receipt: Receipt, fact: WindowFact, rows: pa.Table) -> WindowContent:
    """Return one window of a sealed day as its file has it."""
    read_then = fact.rows + fact.duplicates + fact.rejected
    return WindowContent(
        fact.window, rows, fact.digest, fact.duplicates, fact.rejected, read_then, fact.discarded,
        accepted=accepted(receipt, fact.window),
    )  # fmt: skip


def accepted(receipt: Receipt, window: TimeWindow) -> str:
    """Return who accepted that a window is sealed without data, and why; empty where nobody did."""
    return next((a.said for a in receipt.accepted if a.span.overlaps(window)), "")


def delivered(day: Current | None, own: dict[datetime, Current]) -> dict[datetime, tuple[int, Digest]]:
    """Return rows and digest of every window that readers have been given so far: by the day, else by its own file."""
    if day:
        return {f.start: (f.rows, f.digest) for f in day.receipt.windows}
    return {start: (c.rows, c.digest) for start, c in own.items()}


def counts_of(receipt: Receipt) -> tuple[Digest, int, int]:
    """Return what two publications of equal content have in common."""
    return receipt.digest, receipt.rows, receipt.rejected


def has_events_of(current: Current, content: WindowContent) -> bool:
    """Whether a publication has the events that were read."""
    return (current.digest, current.rows) == (content.digest, content.table.num_rows)


def latency_of(table: pa.Table, at: datetime) -> Latency | None:
    """Return how long the events of `table` waited from event time to `at`, in seconds."""
    if not table.num_rows:
        return None
    micros = _micros(table.column(EVENT_TIME))
    waited = at.timestamp() - micros / 1e6
    p50, p95, most = np.percentile(waited, [50, 95, 100])
    return Latency(round(float(p50), 3), round(float(p95), 3), round(float(most), 3))


def lateness_of(table: pa.Table, window: TimeWindow, arrived: datetime | None = None) -> Lateness:
    """Return how late the events of `table` came, all of `window`.

    Args:
        table: the events, with their arrival times where they have some.
        window: whose end they are late for.
        arrived: when all of them came, if they have no arrival times of their own.
    """
    rows = table.num_rows
    times: Any = table.column(EVENT_TIME)
    if ARRIVAL_TIME in table.column_names:
        arrivals: Any = table.column(ARRIVAL_TIME)
        known: Any = pc.is_valid(arrivals)
        times, arrivals = times.filter(known), _micros(arrivals.filter(known))
    elif arrived is not None:
        arrivals = np.full(rows, (arrived - EPOCH) // _MICROSECOND)
    else:
        return Lateness(rows)
    if not len(arrivals):
        return Lateness(rows)
    delays = arrivals - _micros(times.cast(INSTANT))
    overdue = arrivals - (window.end - EPOCH) // _MICROSECOND
    return Lateness(rows, _counts(delays), _counts(overdue), int(delays.max()) * _MICROSECOND)


def _counts(micros: npt.NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(map(int, np.bincount(np.searchsorted(_EDGES, micros))))


def bounds(table: pa.Table) -> tuple[datetime | None, datetime | None]:
    """Return the first and the last event time of `table`."""
    if not table.num_rows:
        return None, None
    micros = _micros(table.column(EVENT_TIME))
    return EPOCH + int(micros.min()) * _MICROSECOND, EPOCH + int(micros.max()) * _MICROSECOND


def _micros(times: pa.ChunkedArray[Any]) -> npt.NDArray[np.int64]:
    return numbers_of(cast("Any", times).cast(pa.int64()), np.int64)


class DaySummary:
    """What a day's receipt says, gathered while its windows pass by."""

    def __init__(self) -> None:
        self.facts: list[WindowFact] = []
        self.rows = self.duplicates = self.rejected = self.rows_read = self.discarded = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.accepted: list[Accepted] = []
        self.lateness = Lateness()
        self._waits: list[tuple[int, Latency]] = []

    def add(self, content: WindowContent, at: datetime) -> None:
        """Count one window of the day in; windows come in order. `at`: when it becomes queryable."""
        self.facts.append(content.fact)
        if content.accepted:
            self._accept(Accepted(content.window, content.accepted))
        self.rows += content.table.num_rows
        self.duplicates += content.duplicates
        self.rejected += content.rejected
        self.rows_read += content.rows_read
        self.lateness += lateness_of(content.table, content.window)
        self.discarded += content.discarded
        first, last = bounds(content.table)
        self.first = self.first or first
        self.last = last or self.last
        waited = latency_of(content.table, at)
        if waited:
            self._waits.append((content.table.num_rows, waited))

    def _accept(self, gap: Accepted) -> None:
        """Neighbours that were accepted together are one."""
        before = self.accepted[-1] if self.accepted else None
        if before and before.said == gap.said and before.span.end == gap.span.start:
            gap = Accepted(TimeWindow(before.span.start, gap.span.end), gap.said)
            self.accepted.pop()
        self.accepted.append(gap)

    @property
    def latency(self) -> Latency | None:
        """Median of the windows' medians and 95th percentiles, weighted by rows; the maximum is exact."""
        if not self._waits:
            return None
        weights = [rows for rows, _ in self._waits]
        return Latency(
            _weighted_median([w.p50 for _, w in self._waits], weights),
            _weighted_median([w.p95 for _, w in self._waits], weights),
            max(w.max for _, w in self._waits),
        )


def _weighted_median(values: list[float], weights: list[int]) -> float:
    order = np.argsort(values)
    running = np.cumsum(np.asarray(weights)[order])
    return float(np.asarray(values)[order][np.searchsorted(running, running[-1] / 2)])
