# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""How a consumer's inputs arrive and its result is taken: pandas, Arrow or DuckDB."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
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
        return connect(spill).from_arrow(_without_halves(table))
    return table.to_pandas()


def _without_halves(table: pa.Table) -> pa.Table:
    """Return `table` with floats of 32 bits in the place of 16, which DuckDB does not take from Arrow."""
    if pa.float16() not in table.schema.types:
        return table
    fields = [f.with_type(pa.float32()) if f.type == pa.float16() else f for f in table.schema]
    return table.cast(pa.schema(fields))


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


_MISSING = tuple(
    re.compile(said, re.DOTALL)
    for said in (
        r"""Field "(?P<name>.*)" does not exist""",  # Arrow, of a table
        r"No match for FieldRef\.Name\((?P<name>.*?)\) in ",  # Arrow, of an expression
        r"""\["?'?(?P<name>[^\]]*?)'?"?\] not in index""",  # pandas, of several
        r"""(?:Column|Label)\(s\) \[["'](?P<name>.*?)["'].*\] do not exist""",  # pandas, of an aggregation
        r"Column not found: (?P<name>.*)",
        r"'DataFrame' object has no attribute '(?P<name>.*)'",
        r"""Referenced column "(?P<name>.*?)" """,  # DuckDB
    )
)
"""How the engines say that a column is not there; most errors of pandas have the bare name."""


def missing_column(error: Exception, inputs: Mapping[str, Any]) -> str | None:
    """Say which column of which input an error is about; None where it is about something else."""
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    matches = (pattern.search(text) for pattern in _MISSING)
    # A dictionary of the function's own raises the same error, from another place.
    place = traceback.extract_tb(error.__traceback__)[-1].filename
    bare = text if isinstance(error, KeyError) and "pandas" in Path(place).parts else None
    name = next((match["name"] for match in matches if match), bare)
    there = {i: [str(c) for c in _columns(argument)] for i, argument in inputs.items()}
    if name is None or not there or any(name in columns for columns in there.values()):
        return None
    if len(there) == 1:
        (only, columns), *_ = there.items()
        return f"its input {only!r} has no column {name!r}; it has: {', '.join(columns)}"
    has = "; ".join(f"{i!r} has {', '.join(columns)}" for i, columns in there.items())
    return f"no input of it has a column {name!r}: {has}"


def _columns(argument: Any) -> Any:
    return argument.column_names if isinstance(argument, pa.Table) else argument.columns


def _is_frame(value: Any) -> bool:
    kind = type(value)
    return kind.__module__.startswith("pandas") and kind.__name__ == "DataFrame"
