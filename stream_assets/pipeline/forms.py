"""How a consumer's inputs arrive and its result is taken: pandas, Arrow or DuckDB."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from stream_assets.core.declaration import Form
from stream_assets.errors import ConsumerError


def to_form(table: pa.Table, form: Form) -> Any:
    """Return `table` as a consumer's annotation wants it."""
    if form == "arrow":
        return table
    if form == "duckdb":
        import duckdb

        return duckdb.connect().from_arrow(table)
    return table.to_pandas()


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
    if not kind.startswith("pandas") or not kind.endswith("DataFrame"):
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
