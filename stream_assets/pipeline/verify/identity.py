# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Events whose id is in two windows: the promise S7 knows an event by both, so such a one is counted twice."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from stream_assets.core.declaration import Table
from stream_assets.core.window import EPOCH, GRID, TimeWindow
from stream_assets.errors import LakeError
from stream_assets.events.schema import EVENT_ID, EVENT_TIME
from stream_assets.lake.store import Lake
from stream_assets.pipeline.forms import connect
from stream_assets.pipeline.verify.difference import Findings, Mend

MOST_IDS = 10
MEMORY = "1GB"
"""What does not fit in it is spilled: a group is 24 bytes, whatever the ids are."""

_WORD = f'hash("{EVENT_ID}")'
_WINDOW = f'epoch_us("{EVENT_TIME}") // {GRID.total_seconds() * 1e6:.0f}'
_CORRECT_SOURCE = Mend("by hand", "let the source give each in one window only, and verify again")
_VERIFY_AGAIN = Mend("by hand", "mend what cannot be read, and verify again")


def find_in_two_windows(found: Findings, table: Table, span: TimeWindow, within: TimeWindow) -> None:
    """Name the ids that are in two windows of `span`, the later one in `within`.

    Ids are grouped by 64-bit hashes first, and what shares one is confirmed by value.
    """
    assert table.stream is not None
    lake = found.site.lake
    with lake.scratch() as folder, connect(folder) as connection:
        connection.execute(f"set memory_limit = '{MEMORY}'; set preserve_insertion_order = false")
        try:
            events = lake.relation(connection, table.stream.name, span, [EVENT_ID, EVENT_TIME])
            twice = _twice(events, within) if events is not None else []
        except (LakeError, OSError, pa.ArrowException, duckdb.Error) as error:
            # What DuckDB says of damaged bytes names no file.
            why = "" if isinstance(error, LakeError) else _damage(lake, table.stream.name, span)
            said = f"ids were not compared ({why or f'{type(error).__name__}: {error}'})"
            found.add("identity", table.name, within, said, _VERIFY_AGAIN)
            return
    if twice:
        said = tuple(f"{id} in {' and '.join(windows)}" for id, windows in twice[:MOST_IDS])
        many = f"{len(twice)} ids are" if len(twice) > 1 else "one id is"
        found.add("identity", table.name, within, f"{many} in more than one window", _CORRECT_SOURCE, ids=said)


def _damage(lake: Lake, stream: str, span: TimeWindow) -> str:
    try:
        return lake.damage(lake.files(stream, span), [EVENT_ID, EVENT_TIME])
    except OSError as error:
        return str(error)


def _twice(events: duckdb.DuckDBPyRelation, within: TimeWindow) -> list[tuple[str, list[str]]]:
    first, last = (((instant - EPOCH) // GRID) for instant in (within.start, within.end))
    words = events.aggregate(f"{_WORD} as word, min({_WINDOW}) as first, max({_WINDOW}) as last", _WORD)
    suspects = words.filter(f"first != last and last >= {first} and last < {last}").select("word").fetchall()
    if not suspects:
        return []
    listed = ", ".join(str(word) for (word,) in suspects[:1000])
    confirmed: list[tuple[Any, list[int]]] = (
        events.filter(f"{_WORD} in ({listed})")
        .aggregate(f'"{EVENT_ID}" as id, list_sort(list(distinct {_WINDOW})) as windows', f'"{EVENT_ID}"')
        .filter("len(windows) > 1")
        .order("id")
        .fetchall()
    )
    return [(str(id), [f"{EPOCH + GRID * w:%Y-%m-%dT%H:%MZ}" for w in windows]) for id, windows in confirmed]
