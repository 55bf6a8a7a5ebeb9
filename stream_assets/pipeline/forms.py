# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""How a consumer's inputs arrive and its result is taken: pandas, Arrow or DuckDB."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from stream_assets.core.declaration import Form
from stream_assets.errors import ConsumerError

if TYPE_CHECKING:
    import duckdb


def connect(spill: Path) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB in memory whose answers do not depend on the machine's time zone.

    Args:
        spill: folder for what does not fit in memory.
    """
    import duckdb

    connection = duckdb.connect(config={"temp_directory": str(spill)})
    connection.execute("set TimeZone = 'UTC'")
    return connection


def to_form(table: pa.Table, form: Form, spill: Path) -> Any:
    """Return `table` as a consumer's annotation wants it."""
    if form == "arrow":
        return table
    if form == "duckdb":
        return connect(spill).from_arrow(table)
    return table.to_pandas()


def kept(argument: Any) -> Any:
    """Return what `changed` compares with: of a pandas frame a copy that costs nothing until the frame is changed."""
    return argument.copy(deep=False) if _is_frame(argument) else None


def changed(argument: Any, before: Any) -> str | None:
    """Say how a consumer changed what it was given; None where it did not. Only pandas frames can be changed.

    Before pandas 3 (which copies on write) a value that was set in place is not noticed; nobody else sees it either.
    """
    if before is None:
        return None
    added = [c for c in argument.columns if c not in before.columns]
    lost = [c for c in before.columns if c not in argument.columns]
    if added or lost:
        return f"added {', '.join(map(str, added))}" if added else f"removed {', '.join(map(str, lost))}"
    if len(argument) != len(before):
        return f"left {len(argument)} of {len(before)} rows"
    values = [str(c) for c in before.columns if not _is_same(argument[c], before[c])]
    return f"changed the values of {', '.join(values)}" if values else None


def _is_same(column: Any, before: Any) -> bool:
    is_plain = isinstance(column.dtype, np.dtype) and isinstance(before.dtype, np.dtype)
    is_shared = is_plain and np.may_share_memory(column.to_numpy(), before.to_numpy())
    return is_shared or bool(column.equals(before))


def from_result(result: Any, where: str) -> pa.Table:
    """Return what a consumer returned as an Arrow table.

    Raises:
        ConsumerError: terminal; no `pd.DataFrame`, `pa.Table` or `duckdb.DuckDBPyRelation`, or an index that would be lost.
    """
    if isinstance(result, pa.Table):
        return result
    kind = f"{type(result).__module__}.{type(result).__name__}"
    if hasattr(result, "fetch_arrow_table") or kind.endswith("DuckDBPyRelation"):
        return result.to_arrow_table()
    if not _is_frame(result):
        raise ConsumerError(
            f"{where}: it returned {kind}; return a pd.DataFrame, a pa.Table or a duckdb.DuckDBPyRelation"
        )
    if any(name is not None for name in result.index.names):
        raise ConsumerError(
            f"{where}: it returned a frame whose index {list(result.index.names)} would be lost: add .reset_index(), "
            "or group with as_index=False"
        )
    if not all(isinstance(name, str) for name in result.columns):
        raise ConsumerError(f"{where}: it returned columns whose names are no text: {list(result.columns)}")
    try:
        return pa.Table.from_pandas(result, preserve_index=False).replace_schema_metadata(None)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ConsumerError(f"{where}: a column holds values of more than one kind: {error}") from error


def _is_frame(value: Any) -> bool:
    kind = type(value)
    return kind.__module__.startswith("pandas") and kind.__name__ == "DataFrame"
