# pyright: reportUnknownMemberType=false
"""DuckDB views of a lake's tables, made from the ledger's own list of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from stream_assets.core.window import Grain, TimeWindow
from stream_assets.events.schema import EMPTY
from stream_assets.lake.parquet import unified
from stream_assets.lake.part import LakeFile
from stream_assets.lake.relation import quoted, text
from stream_assets.lake.store import Lake

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


def create_view(
    lake: Lake, connection: duckdb.DuckDBPyConnection, table: str, span: TimeWindow, empty: pa.Schema | None = None
) -> bool:
    """Create or replace the view `table` over its partitions in `span`; whether there was a file to make it of.

    Columns: those of all its files, then `day` (date, local) and for a consumer of 5-minute grain `window_start`
    (timestamp with time zone). A stream's name gives each of its events once, over sealed days and other windows.

    Args:
        lake: where the files lie.
        connection: that gets the view.
        table: a stream, its days, or a consumer.
        span: partitions outside of it are left out.
        empty: columns of the view where there is no file yet; None: no view then.
    """
    files = [f for f in lake.files(table, span) if f.wanted] if table in lake.ledger.tables() else []
    if not files:
        if empty is not None:
            connection.register(table, empty.empty_table())
        return False
    grains: dict[Grain, list[LakeFile]] = {"day": [], "5 min": []}
    known = lake.ledger.tables()
    for file in files:
        grains[known[file.current.table]].append(file)
    is_mixed = all(grains.values())
    parts = [_select(lake, grain, found, with_start=not is_mixed) for grain, found in grains.items() if found]
    connection.execute(f"create or replace view {quoted(table)} as {' union all by name '.join(parts)}")
    return True


def _select(lake: Lake, grain: Grain, files: Sequence[LakeFile], *, with_start: bool) -> str:
    paths = ", ".join(text(str(f.path)) for f in files)
    # A column of the files may have any name that can be guessed.
    file = f"file_{uuid4().hex}"
    columns = f"* exclude ({file}), {_key(file, 'day', '[0-9-]+')}::date as day"
    if grain == "5 min" and with_start:
        columns += (
            f", timezone('UTC', strptime({_key(file, 'window_start', '[0-9TZ]+')}, '%Y%m%dT%H%MZ')) as window_start"
        )
    return f"select {columns} from read_parquet([{paths}], union_by_name = true, hive_partitioning = false, filename = '{file}')"


def _key(file: str, name: str, value: str) -> str:
    """Read a key from a file's path: of the last folder, since those above the lake may look like keys too."""
    return f"regexp_extract({file}, '(?s).*/{name}=({value})/', 1)"


def empty_events(lake: Lake, stream: str) -> pa.Schema:
    """Return the columns of a view of a stream's events that has none: those it had last, and `day`."""
    import pyarrow as pa

    tables = (stream, lake.ledger.days_of(stream) or stream)
    schemas = [s for s in map(lake.last_schema, tables) if s is not None]
    return (unified(schemas) if schemas else EMPTY).append(pa.field("day", pa.date32()))
