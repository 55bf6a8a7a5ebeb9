# pyright: reportUnknownMemberType=false
"""Rejected rows that have become events, because the source's declaration or the policy was corrected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.window import EPOCH, GRID, TimeWindow
from stream_assets.errors import SourceError
from stream_assets.events.conform import Conformed, Names, conform
from stream_assets.events.drift import Drift
from stream_assets.events.raw import from_json
from stream_assets.events.schema import ARRIVAL_TIME, EVENT_ID, EVENT_TIME, REJECTED, align, unify
from stream_assets.pipeline.outcome import Outcome, silent
from stream_assets.pipeline.readmit import Readmit
from stream_assets.pipeline.running import Running
from stream_assets.pipeline.site import Site

_MICROSECOND = timedelta(microseconds=1)
_ROW = "stream_assets.row"
_OUTSIDE = "event_time is outside of the days that the lake keeps"
_FAULTS = (SourceError, pa.ArrowException, ValueError, TypeError, ArithmeticError, AttributeError, KeyError)


@dataclass(frozen=True, slots=True)
class Released:
    """What became of rejected rows.

    Attributes:
        rows: rows that are events now.
        windows: the windows that they lie in.
        left: rows that stay rejected, by reason.
        outcomes: of the partitions that were published for it; windows that are not sealed yet get theirs when they are.
    """

    rows: int
    windows: tuple[TimeWindow, ...]
    left: dict[str, int]
    outcomes: tuple[Outcome, ...]


def release(site: Site, stream: StreamSpec, span: TimeWindow, running: Running) -> Released:
    """Make events of the rejected rows of the windows in `span`, where that works now; what was released stays so.

    Released events are kept as a part of what is read for their windows, whatever the source gives later. Sealed windows
    are published at once, from what the lake has of them and from these; a closed day as a whole. A crash in between
    leaves rows rejected that are released already: again, it changes nothing twice.

    Raises:
        Conflict: transient; other writers were faster three times in a row.
        LakeError: terminal; the lake cannot be written.
    """
    beside = site.lake.beside
    kept = {window: beside.read(stream.name, window) for window in beside.windows(stream.name, span)}
    attempt = _Attempt(site, stream)
    left: dict[TimeWindow, pa.Table] = {}
    by_window: dict[TimeWindow, list[pa.Table]] = {}
    count = 0
    for window, rows in kept.items():
        left[window] = attempt.conform(rows)
        count += rows.num_rows - left[window].num_rows
    for events in attempt.events:
        for window, part in _dealt(events):
            by_window.setdefault(window, []).append(part)
    for window, parts in by_window.items():
        schema = unify([part.schema for part in parts])
        beside.release(stream.name, window, pa.concat_tables([align(part, schema) for part in parts]))
    reasons = Counter[str](str(r) for rows in left.values() for r in rows.column("reason").to_pylist())
    outcomes: list[Outcome] = []
    changed = {w: rows.num_rows for w, rows in left.items() if rows.num_rows < kept[w].num_rows}
    if changed or by_window:
        readmit = Readmit(site, stream, running, silent)
        outcomes = readmit.windows_from_lake(sorted({*by_window, *changed}), changed)
    for window in changed:
        beside.keep(stream.name, window, beside.write(stream.name, window, left[window]))
    return Released(count, tuple(sorted(by_window)), dict(reasons.most_common()), tuple(outcomes))


class _Attempt:
    """Makes events of raw rows as the stream is declared now."""

    def __init__(self, site: Site, stream: StreamSpec) -> None:
        self._names: Names = site.sources[stream.name].names
        self._name = stream.name
        self._now = site.clock.now()
        known = site.columns(stream.name, TimeWindow(site.lake.start, site.lake.start))
        self._drift = Drift(stream.drift, known)
        own = {EVENT_ID: self._names.id, EVENT_TIME: None, ARRIVAL_TIME: None}
        self._kinds = {own.get(n, n): kind for n, kind in known.kinds.items() if own.get(n, n)}
        end = site.lake.calendar.midnight(stream.end) if stream.end else None
        self._first, self._last = site.lake.start, end
        self.events: list[pa.Table] = []

    def conform(self, rows: pa.Table) -> pa.Table:
        """Take what can be an event now, and return the rows that cannot, with the reason of today."""
        raws: Any = rows.column("raw").to_pylist()
        reasons = self._conform([(place, json.loads(text)) for place, text in enumerate(raws)])
        places = sorted(reasons)
        left = rows.take(pa.array(places, pa.int64()))
        shown = pa.array([reasons[place] for place in places], pa.string())
        return left.set_column(0, REJECTED.field("reason"), shown)

    def _conform(self, rows: Sequence[tuple[int, dict[str, Any]]]) -> dict[int, str]:
        """Return by place why rows cannot be events; halves are tried where one of many is at fault."""
        try:
            conformed = self._conformed(rows)
            taken = self._drift.take(conformed.table.drop_columns([_ROW]))
            unify([e.schema for e in [*self.events, taken]])
        except _FAULTS as error:
            if len(rows) == 1:
                return {rows[0][0]: str(error)}
            middle = len(rows) // 2
            return self._conform(rows[:middle]) | self._conform(rows[middle:])
        reasons = [(json.loads(r["raw"])[_ROW], r["reason"]) for r in conformed.rejected.to_pylist()]
        events, outside = self._within(conformed.table)
        self.events.append(events.drop_columns([_ROW]))
        return dict([*reasons, *((place, _OUTSIDE) for place in outside)])

    def _conformed(self, rows: Sequence[tuple[int, dict[str, Any]]]) -> Conformed:
        table = from_json([row for _, row in rows], self._kinds)
        for name in (self._names.id, self._names.time):
            if name not in table.column_names:
                table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
        table = table.append_column(_ROW, pa.array([place for place, _ in rows], pa.int64()))
        return conform(table, self._names, f"a rejected row of {self._name!r}", self._now)

    def _within(self, events: pa.Table) -> tuple[pa.Table, list[int]]:
        """Return the events of the days that the lake keeps, and the places of the others."""
        times = events.column(EVENT_TIME).cast(pa.int64()).to_numpy()
        inside = times >= (self._first - EPOCH) // _MICROSECOND
        if self._last is not None:
            inside &= times < (self._last - EPOCH) // _MICROSECOND
        outside: Any = events.filter(pa.array(~inside)).column(_ROW).to_pylist()
        return events.filter(pa.array(inside)), outside


def _dealt(events: pa.Table) -> list[tuple[TimeWindow, pa.Table]]:
    micros = events.column(EVENT_TIME).cast(pa.int64()).to_numpy()
    numbers = micros // (GRID // _MICROSECOND)
    found: list[tuple[TimeWindow, pa.Table]] = []
    for number in np.unique(numbers):
        start = EPOCH + int(number) * GRID
        found.append((TimeWindow(start, start + GRID), events.filter(pa.array(numbers == number))))
    return found
