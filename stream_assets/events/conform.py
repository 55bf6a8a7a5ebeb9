"""Brings the batches of a source to the canonical columns, and sets aside the rows that cannot be.

A row that cannot be conformed never stops the others: it is kept with the reason and the raw row.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_assets.core.window import EPOCH, utc
from stream_assets.errors import DeclarationError, SourceError, printable
from stream_assets.events import instants, raw
from stream_assets.events.buffers import array_of, offsets_of, plain
from stream_assets.events.schema import (
    AROUND,
    ARRIVAL_TIME,
    DEEPEST,
    EVENT_ID,
    EVENT_TIME,
    INSTANT,
    REJECTED,
    RESERVED,
    empty,
)

_MICROSECOND = timedelta(microseconds=1)
_AHEAD = timedelta(days=1)
# What datetime can hold: years 1 to 9999.
_FIRST = (datetime.min.replace(tzinfo=EPOCH.tzinfo) - EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=EPOCH.tzinfo) - EPOCH) // _MICROSECOND


@dataclass(frozen=True, slots=True)
class Names:
    """The source's own names of the columns that make an event; `arrival` may be unknown.

    Attributes:
        zone: time zone of the times that say none; empty: they are rejected.
    """

    id: str = EVENT_ID
    time: str = EVENT_TIME
    arrival: str | None = ARRIVAL_TIME
    zone: str = ""

    def __post_init__(self) -> None:
        names = [self.id, self.time, *([] if self.arrival is None else [self.arrival])]
        if not all(names) or len(set(names)) < len(names):
            raise DeclarationError(
                f"id, time and arrival must name different columns, not {', '.join(map(repr, names))}"
            )


@dataclass(frozen=True, slots=True)
class Conformed:
    """Events in the canonical columns, and the rows that could not become events.

    Attributes:
        table: the events.
        rejected: the rows that could not become events (schema `REJECTED`).
        around: for each of `rejected` what the source gave under `AROUND`, else null.
    """

    table: pa.Table
    rejected: pa.Table
    around: pa.ChunkedArray[Any]


def conform(batch: pa.RecordBatch | pa.Table, names: Names, where: object, now: datetime) -> Conformed:
    """Return the rows of `batch` as canonical events, in their order.

    The table has `event_id` (any type that is not nested), `event_time` (`timestamp[us, UTC]`, not null),
    `arrival_time` (the same type, nullable, only if the source has it), then the other columns in the
    source's order, without `AROUND`. Dictionary, run-end, view and extension encodings are undone.

    Rejected are rows whose id is null or empty; whose event time is null, without a time zone, not readable, before
    1970 or more than one day after `now`, or shown twice or never by the clocks of `names.zone`; whose arrival time is there but has no time zone or cannot be read.

    Args:
        batch: rows as the source gives them.
        names: the source's names of id, event time and arrival time.
        where: what the batch is from; for messages.
        now: the present instant.

    Raises:
        SourceError: terminal; id or time column missing, a reserved or doubled column name, a nested id, a column that
            is nested too deep.
    """
    places = _places(batch.schema, names, where)
    latest = (utc(now) + _AHEAD - EPOCH) // _MICROSECOND
    pieces = batch.to_batches() if isinstance(batch, pa.Table) else [batch]
    done = [_conform(piece, places, names.zone, latest) for piece in pieces or _blank(batch.schema)]
    if len(done) == 1:
        return done[0]
    return Conformed(
        pa.concat_tables([d.table for d in done]),
        pa.concat_tables([d.rejected for d in done]),
        _chunked([chunk for d in done for chunk in d.around.chunks]),
    )


def reasons(rejected: pa.Table) -> dict[str, int]:
    """Return how many rows were rejected for each reason, the most frequent first."""
    found = cast("list[str]", rejected.column("reason").to_pylist())
    return dict(Counter(found).most_common())


def _places(schema: pa.Schema, names: Names, where: object) -> dict[str, int]:
    """Return the place of every column by its canonical name, in canonical order."""
    present = schema.names
    for role, name in (("id", names.id), ("time", names.time)):
        if name not in present:
            raise SourceError(
                f"{where} has no column {name!r}: name the {role} column of the source with {role}=; "
                f"there are {', '.join(map(repr, present)) or 'no columns'}"
            )
    arrival = names.arrival if names.arrival is not None and names.arrival in present else ARRIVAL_TIME
    renamed: dict[str, str] = {names.id: EVENT_ID, names.time: EVENT_TIME, arrival: ARRIVAL_TIME}
    found = {EVENT_ID: present.index(names.id), EVENT_TIME: present.index(names.time)}
    if arrival in present:
        found[ARRIVAL_TIME] = present.index(arrival)
    for place, name in enumerate(present):
        if name == AROUND:
            continue
        canonical = renamed.get(name, name)
        if canonical in RESERVED:
            raise SourceError(
                f"{where} has a column {name!r}, a name that the lake's folders use: rename it in the source"
            )
        if found.setdefault(canonical, place) != place:
            raise SourceError(f"{where} would have two columns {canonical!r}: rename or drop one of them in the source")
    kind: Any = schema.types[found[EVENT_ID]]
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_nested(kind) and not pa.types.is_run_end_encoded(kind):
        raise SourceError(f"{where} has ids of type {kind} in {names.id!r}: an id is text, a number or bytes")
    for name, column in zip(present, schema.types, strict=True):
        if _is_deep(column):
            raise SourceError(
                f"{where} has a column {name!r} that is nested more than {DEEPEST} deep: write it as text"
            )
    return found


def _is_deep(kind: Any, levels: int = DEEPEST) -> bool:
    """Whether a type is nested more than `levels` deep."""
    if levels < 0:
        return True
    return any(_is_deep(kind.field(place).type, levels - 1) for place in range(kind.num_fields))


def _conform(batch: pa.RecordBatch, places: dict[str, int], zone: str, latest: int) -> Conformed:
    arrays: list[Any] = cast("Any", batch).columns
    columns: dict[str, Any] = {name: plain(arrays[place]) for name, place in places.items()}
    source_names = {name: batch.schema.names[place] for name, place in places.items()}
    times, wrong = instants.read_instants(columns[EVENT_TIME], zone)
    readable = (wrong == 0) & (times >= _FIRST) & (times <= _LAST)
    verdicts: list[tuple[npt.NDArray[np.bool_], str]] = []
    ids = columns[EVENT_ID]
    if ids.null_count:
        verdicts.append((np.asarray(ids.is_null()), f"{source_names[EVENT_ID]} is null"))
    if _is_variable(ids.type):
        verdicts.append((np.diff(offsets_of(ids)) == 0, f"{source_names[EVENT_ID]} is empty"))
    verdicts += _verdicts(wrong, source_names[EVENT_TIME], columns[EVENT_TIME].type)
    verdicts.append((times < 0, f"{source_names[EVENT_TIME]} is before 1970"))
    verdicts.append((times > latest, f"{source_names[EVENT_TIME]} is more than a day in the future"))
    columns[EVENT_TIME] = array_of(times, INSTANT)
    if ARRIVAL_TIME in columns:
        arrivals, late = instants.read_instants(columns[ARRIVAL_TIME], zone)
        late = np.where(late == instants.NULL, np.uint8(0), late)
        verdicts += _verdicts(late, source_names[ARRIVAL_TIME], columns[ARRIVAL_TIME].type)
        unknown = np.asarray(columns[ARRIVAL_TIME].is_null()) if columns[ARRIVAL_TIME].null_count else None
        columns[ARRIVAL_TIME] = array_of(arrivals, INSTANT, nulls=unknown)
    fields = [pa.field(name, column.type, nullable=name != EVENT_TIME) for name, column in columns.items()]
    table = pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))
    verdicts = [(rows, reason) for rows, reason in verdicts if rows.any()]
    if not verdicts:
        return Conformed(table, empty(REJECTED), _chunked([]))
    # The first verdict counts, so that every rejected row has one reason.
    which: npt.NDArray[np.int64] = np.select([rows for rows, _ in verdicts], range(1, len(verdicts) + 1), 0)
    out = np.flatnonzero(which)
    rows = batch.take(pa.array(out, pa.int64()))
    around = cast("Any", pa).nulls(len(out), INSTANT)
    if AROUND in rows.schema.names:
        around = cast("Any", rows.column(AROUND)).cast(INSTANT)
        rows = rows.drop_columns([AROUND])
    shown = pa.array([reason for _, reason in verdicts], pa.string()).take(pa.array(which[out] - 1, pa.int64()))
    when = pa.array(times[out], pa.int64(), mask=~readable[out]).view(INSTANT)
    rejected = pa.table([shown, when, raw.as_json(rows)], schema=REJECTED)
    return Conformed(table.filter(pa.array(which == 0, pa.bool_())), rejected, _chunked([around]))


def _chunked(instants: list[pa.Array[Any]]) -> pa.ChunkedArray[Any]:
    return cast("Any", pa).chunked_array(instants, INSTANT)


def _is_variable(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)


def _verdicts(problems: instants.Problems, name: str, kind: pa.DataType) -> list[tuple[npt.NDArray[np.bool_], str]]:
    if not problems.any():
        return []
    return [
        (problems == instants.NULL, f"{name} is null"),
        (problems == instants.NO_ZONE, f"{name} has no time zone"),
        (problems == instants.UNREADABLE, f"{name} cannot be read as an instant"),
        (problems == instants.NO_TIME, printable(f"{name} is {kind}, not an instant")),
        (problems == instants.REPEATED, f"{name} is a time that the clocks of its zone show twice"),
        (problems == instants.SKIPPED, f"{name} is a time that the clocks of its zone never show"),
    ]


def _blank(schema: pa.Schema) -> list[pa.RecordBatch]:
    arrow = cast("Any", pa)
    return [arrow.RecordBatch.from_arrays([arrow.nulls(0, kind) for kind in schema.types], schema=schema)]
