# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
"""Rejected rows that become events, because the source's declaration or the policy was corrected.

What was released once is made anew of its raw rows each time: an event that comes out elsewhere is moved, so what a wrong
declaration has released is mended by the right one. The steps, each of which may be the last one before a crash: what is
released is written down as pending, and is read for its windows from then on; what the lake has of them is published
again; the rejected rows are dropped; nothing is pending any more. The next release goes on from any of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import EPOCH, TimeWindow
from stream_assets.errors import Conflict, SourceError
from stream_assets.events.conform import Conformed, Names, conform
from stream_assets.events.drift import Drift
from stream_assets.events.hashing import hash_rows
from stream_assets.events.raw import from_json
from stream_assets.events.released import by_window
from stream_assets.events.schema import ARRIVAL_TIME, EMPTY, EVENT_ID, EVENT_TIME, align, empty, unify
from stream_assets.lake.released import PENDING, RAW, TO_COME, TO_GO
from stream_assets.pipeline.outcome import Outcome
from stream_assets.pipeline.pipeline import Pipeline
from stream_assets.pipeline.readmit import Readmit
from stream_assets.pipeline.running import Running
from stream_assets.pipeline.site import Site

_MICROSECOND = timedelta(microseconds=1)
_ROW = "stream_assets.row"
_REASON = "rejected rows were released"
_OUTSIDE = "event_time is outside of the days that the lake keeps"
_NOTHING = EMPTY.append(pa.field(_ROW, pa.int64()))
_FAULTS = (SourceError, pa.ArrowException, ValueError, TypeError, ArithmeticError, AttributeError, KeyError)


@dataclass(frozen=True, slots=True)
class Released:
    """What became of rejected rows.

    Attributes:
        rows: rows that are events now.
        moved: events released before that are others now, or lie elsewhere.
        windows: where both lie.
        left: rows that stay rejected, by reason.
        outcomes: of the partitions that were published for it; windows that are not sealed yet get theirs when they are.
    """

    rows: int = 0
    moved: int = 0
    windows: Intervals = field(default_factory=Intervals)
    left: Counter[str] = field(default_factory=Counter[str])
    outcomes: tuple[Outcome, ...] = ()

    def __add__(self, other: Released) -> Released:
        return Released(
            self.rows + other.rows, self.moved + other.moved, self.windows | other.windows, self.left + other.left,
            self.outcomes + other.outcomes,
        )  # fmt: skip


def release(pipeline: Pipeline, stream: StreamSpec, span: TimeWindow) -> Released:
    """Make events of the rejected rows of the windows in `span`, where that works now.

    All that was released before is looked at again first, wherever it lies: what conforms to another event now is moved,
    what no longer conforms stays. Then day by day, with a lease and at most the rows of one day in memory at a time.

    Released events are kept as a part of what is read for their windows, whatever the source gives later. Sealed windows
    are published at once, from what the lake has of them and from these; a closed day as a whole. Again, it changes
    nothing twice; stopped anywhere, it goes on where it was. Two at once are as two in a row.

    Raises:
        Conflict: transient; other writers were faster three times in a row.
        LakeError: terminal; the lake cannot be written.
    """
    lake, total = pipeline.lake, Released()
    for day in map(lake.calendar.day, lake.released.state(stream.name)):
        with pipeline.running(stream.name, day, reason=_REASON) as running:
            total += _Release(pipeline.site, stream, running).again(day)
    rejected = lake.beside.windows(stream.name, span)
    for day, windows in groupby(rejected, lambda window: lake.calendar.day_around(window.start)):
        with pipeline.running(stream.name, day, reason=_REASON) as running:
            total += _Release(pipeline.site, stream, running).rejected(day, list(windows))
    return total


class _Release:
    """The steps of a release, for the rows of one day."""

    def __init__(self, site: Site, stream: StreamSpec, running: Running) -> None:
        self._site = site
        self._stream = stream
        self._running = running
        self._beside = site.lake.beside
        self._released = site.lake.released

    def again(self, day: TimeWindow) -> Released:
        """Release again what lies in one day."""
        return self._site.planned_again(self._stream.daily, day, lambda: self._again(day))

    def rejected(self, day: TimeWindow, windows: Sequence[TimeWindow]) -> Released:
        """Release the rejected rows of windows of one day."""
        return self._site.planned_again(self._stream.daily, day, lambda: self._rejected(windows))

    def _again(self, span: TimeWindow) -> Released:
        day = self._site.lake.calendar.day_of(span.start)
        kept = self._released.kept(self._stream.name, day)
        if kept is None:
            return Released()
        name, rows = kept
        pending = rows.column(PENDING).to_numpy().copy()
        events, _ = self._conformed(rows.column(RAW))
        places = events.column(_ROW).to_numpy()
        is_moved = (pending[places] != TO_GO) & _differ(rows.take(pa.array(places, pa.int64())), events)
        moved = events.filter(pa.array(is_moved))
        pending[places[is_moved]] = TO_GO

        def refuse_other() -> None:
            if self._released.state(self._stream.name).get(day) != name:
                raise Conflict(f"{self._stream.name} {day}: others have released rows meanwhile: it is looked at again")

        files: dict[date, str | None] = {day: name}
        if moved.num_rows:
            files = self._write(moved, rows.column(RAW), {day: _with(rows, PENDING, pending)}, refuse_other)
        outcomes = self._publish(files, {}, lambda: None)
        self._settle(files)
        return Released(moved=moved.num_rows, windows=_windows(moved), outcomes=outcomes)

    def _rejected(self, windows: Sequence[TimeWindow]) -> Released:
        stream = self._stream.name
        kept = {window: self._beside.named(stream, window) for window in windows}
        rows = pa.concat_tables(those for _, those in kept.values())
        events, reasons = self._conformed(rows.column("raw"))
        left: dict[TimeWindow, pa.Table] = {}
        start = 0
        for window, (_, those) in kept.items():
            end = start + those.num_rows
            places = [place for place in range(start, end) if place in reasons]
            if len(places) < those.num_rows:
                left[window] = _with(rows.take(pa.array(places, pa.int64())), "reason", [reasons[p] for p in places])
            start = end

        def refuse_other() -> None:
            if any(self._beside.name(stream, window) != kept[window][0] for window in left):
                raise Conflict(f"{stream}: others have read rejected rows meanwhile: they are looked at again")

        files = self._write(events, rows.column("raw"), {}, refuse_other) if left else {}
        outcomes = self._publish(files, {w: rest.num_rows for w, rest in left.items()}, refuse_other)
        for window, rest in left.items():
            with self._site.ledger.transaction():
                if self._beside.name(stream, window) == kept[window][0]:
                    self._beside.keep(stream, window, self._beside.write(stream, window, rest))
        self._settle(files)
        return Released(events.num_rows, 0, _windows(events), Counter(reasons.values()), outcomes)

    def _conformed(self, raws: pa.ChunkedArray[Any]) -> tuple[pa.Table, dict[int, str]]:
        """Return what can be an event now, with its place in `raws`, and by place why the others cannot."""
        texts: Any = raws.to_pylist()
        events, reasons = _Attempt(self._site, self._stream).conform(texts)
        fitting = [events.slice(0, 0)]
        for day, part in self._by_day(events).items():
            there = self._released.kept(self._stream.name, day)
            try:
                _together([there[1]] if there else [], part)
            except SourceError as error:
                places: Any = part.column(_ROW).to_pylist()
                reasons |= dict.fromkeys(places, str(error))
            else:
                fitting.append(part)
        return pa.concat_tables(fitting), reasons

    def _by_day(self, events: pa.Table) -> dict[date, pa.Table]:
        parts: dict[date, list[pa.Table]] = {}
        for window, part in by_window(events):
            parts.setdefault(self._site.lake.calendar.day_of(window.start), []).append(part)
        return {day: pa.concat_tables(tables) for day, tables in parts.items()}

    def _write(
        self, events: pa.Table, raws: pa.ChunkedArray[Any], marked: Mapping[date, pa.Table], refuse_other: Callable[[], None]
    ) -> dict[date, str | None]:  # fmt: skip
        """Write down what is released, and what is to go for it; returns the files of the days that this concerns.

        Where an event comes to is written before the place that it leaves: it is never nowhere.
        """
        new = _with(events.drop_columns([_ROW]), RAW, raws.take(events.column(_ROW)).combine_chunks())
        parts = self._by_day(_with(new, PENDING, np.full(new.num_rows, TO_COME, np.int8)))
        files: dict[date, str | None] = {}
        with self._site.ledger.transaction():
            refuse_other()
            for day in sorted({*parts, *marked}, key=lambda day: day in marked):
                kept = self._released.kept(self._stream.name, day)
                there = [marked[day]] if day in marked else [kept[1]] if kept else []
                rows = _together(there, _not_in(parts[day], there) if day in parts else new.slice(0, 0))
                is_same = kept is not None and day not in marked and rows.num_rows == kept[1].num_rows
                files[day] = kept[0] if kept and is_same else self._released.put(self._stream.name, day, rows)
        return files

    def _publish(
        self, files: Mapping[date, str | None], rejected: Mapping[TimeWindow, int], refuse_other: Callable[[], None]
    ) -> tuple[Outcome, ...]:
        """Publish the windows that have anything pending in `files`, and those with fewer rejected rows."""
        kept = [rows for day in files if (found := self._released.kept(self._stream.name, day)) for rows in found[1:]]
        pending = [_windows(rows.filter(pc.field(PENDING) != 0)) for rows in kept]
        windows = Intervals.union_of(span for spans in [Intervals.of(*rejected), *pending] for span in spans)
        if not windows:
            return ()
        readmit = Readmit(self._site, self._stream, self._running, rejected, refuse_other)
        return tuple(readmit.windows_from_lake(windows))

    def _settle(self, files: Mapping[date, str | None]) -> None:
        """Nothing is pending any more, but where others have written meanwhile: they may have published nothing yet."""
        with self._site.ledger.transaction():
            for day, name in files.items():
                kept = self._released.kept(self._stream.name, day)
                if kept and kept[0] == name and kept[1].column(PENDING).to_numpy().any():
                    live = kept[1].filter(pc.field(PENDING) != TO_GO)
                    self._released.put(self._stream.name, day, _with(live, PENDING, np.zeros(live.num_rows, np.int8)))


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
        self._events: list[pa.Table] = []

    def conform(self, raws: Sequence[str]) -> tuple[pa.Table, dict[int, str]]:
        """Return what can be an event now, with its place in `raws`, and by place why the others cannot."""
        reasons = self._conform([(place, json.loads(text)) for place, text in enumerate(raws)])
        events = [e for e in self._events if e.num_rows]
        schema = unify([e.schema for e in events]) if events else _NOTHING
        return pa.concat_tables([empty(schema), *(align(e, schema) for e in events)]), reasons

    def _conform(self, rows: Sequence[tuple[int, dict[str, Any]]]) -> dict[int, str]:
        """Return by place why rows cannot be events; halves are tried where one of many is at fault."""
        if not rows:
            return {}
        try:
            conformed = self._conformed(rows)
            taken = self._drift.take(conformed.table.drop_columns([_ROW]))
            unify([e.schema for e in [*self._events, taken]])
        except _FAULTS as error:
            if len(rows) == 1:
                return {rows[0][0]: str(error)}
            middle = len(rows) // 2
            return self._conform(rows[:middle]) | self._conform(rows[middle:])
        reasons = [(json.loads(r["raw"])[_ROW], r["reason"]) for r in conformed.rejected.to_pylist()]
        events, outside = self._within(conformed.table)
        self._events.append(events)
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


def _with(table: pa.Table, name: str, values: Any) -> pa.Table:
    """Return `table` with other values in a column of ours, or with the column."""
    kind = {"reason": pa.string(), RAW: pa.string(), PENDING: pa.int8()}[name]
    column = pa.field(name, kind), pa.array(values, kind)
    place = table.schema.get_field_index(name)
    return table.append_column(*column) if place < 0 else table.set_column(place, *column)


def _together(there: Sequence[pa.Table], more: pa.Table) -> pa.Table:
    tables = [*there, more]
    schema = unify([table.schema for table in tables])
    return pa.concat_tables([align(table, schema) for table in tables])


def _not_in(events: pa.Table, there: Sequence[pa.Table]) -> pa.Table:
    """Return those of `events` whose raw rows are not released `there` already, each once."""
    known = {raw for rows in there for raw in rows.filter(pc.field(PENDING) != TO_GO).column(RAW).to_pylist()}
    places: list[int] = []
    for place, raw in enumerate(events.column(RAW).to_pylist()):
        if raw not in known:
            known.add(raw)
            places.append(place)
    return events.take(pa.array(places, pa.int64()))


def _differ(before: pa.Table, after: pa.Table) -> npt.NDArray[np.bool_]:
    """Return of each row whether it is another event now, or has arrived at another time."""
    pairs = [(*hash_rows(t, skip=(ARRIVAL_TIME, RAW, PENDING, _ROW)), _arrivals(t)) for t in (before, after)]
    return np.logical_or.reduce([old != new for old, new in zip(*pairs, strict=True)])


def _arrivals(events: pa.Table) -> npt.NDArray[np.int64]:
    if ARRIVAL_TIME not in events.column_names:
        return np.full(events.num_rows, -1)
    micros: Any = events.column(ARRIVAL_TIME).cast(pa.int64())
    return micros.fill_null(-1).to_numpy()


def _windows(events: pa.Table) -> Intervals:
    return Intervals.of(*(window for window, _ in by_window(events)))
