"""Answers to SQL over the lake's tables."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from stream_assets.errors import LakeError, UsageError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from stream_assets.core.window import TimeWindow
    from stream_assets.pipeline.pipeline import Pipeline

_NO_COLUMN = ("Referenced column", "does not have a column named")
"""How DuckDB says that a column is not there."""
TRIES = 20
"""How often a query is asked again whose files were replaced while it ran."""


def ask(pipeline: Pipeline, query: str, span: TimeWindow) -> pa.Table:
    """Return the answer to `query`, in which every table of the lake is a view.

    Raises:
        UsageError: terminal; DuckDB does not understand the query.
        LakeError: terminal; a table has no partition yet, one of its files is lost or damaged, or they went on changing.
    """
    import duckdb

    if not query.strip("; \t\n"):
        raise UsageError("the query is empty: write SQL, such as 'select count(*) from events'")
    connection = duckdb.connect()
    # Days, and text that looks like a time, are those of the lake.
    connection.execute(f"set TimeZone = '{pipeline.calendar.zone}'")
    for attempt in range(1, TRIES + 1):
        try:
            lacking = _create_views(pipeline, connection, query, span)
        except (FileNotFoundError, duckdb.Error) as error:
            _refuse_lost(pipeline, query, span, error)
            if attempt == TRIES or not isinstance(error, FileNotFoundError | duckdb.IOException):
                raise _unanswered(error) from error
            continue
        try:
            relation = connection.sql(query)
            return _apart(relation.to_arrow_table()) if relation is not None else _nothing()
        except duckdb.IOException as error:
            _refuse_lost(pipeline, query, span, error)
            if attempt == TRIES:
                raise _unanswered(error) from error
        except duckdb.Error as error:
            if table := _unknown(lacking, error):
                raise LakeError(
                    f"{table} has no partition yet, so its columns are not known: `stream-assets run` fills it"
                ) from error
            tables = ", ".join(sorted({*pipeline.declarations.tables, *pipeline.lake.ledger.tables()}))
            there = f" The lake's tables are: {tables}" if isinstance(error, duckdb.CatalogException) else ""
            raise UsageError(f"the query is wrong: {_first(error)}{there}") from error
    raise LakeError("the lake's files were replaced faster than they could be read: ask again")


def _unknown(lacking: list[str], error: duckdb.Error) -> str | None:
    """Return the table that a query asks for columns that nobody knows yet; None where it is wrong for another reason."""
    import duckdb

    said = str(error)
    if isinstance(error, duckdb.CatalogException):
        return next((table for table in lacking if table in said), None)
    is_of_column = isinstance(error, duckdb.BinderException) and any(words in said for words in _NO_COLUMN)
    return lacking[0] if lacking and is_of_column else None


def _create_views(pipeline: Pipeline, connection: duckdb.DuckDBPyConnection, query: str, span: TimeWindow) -> list[str]:
    """Make a view of every table that the query may mean; return those that have nothing yet, whose columns nobody knows."""
    from stream_assets.events.schema import EMPTY
    from stream_assets.lake.views import create_view, empty_events

    lacking: list[str] = []
    for name in _meant(pipeline, query):
        table = pipeline.declarations.tables.get(name)
        empty = empty_events(pipeline.lake, table.stream.name) if table and table.stream else None
        is_of_files = create_view(pipeline.lake, connection, name, span, empty)
        if not is_of_files and (empty is None or empty.names == [*EMPTY.names, "day"]):
            lacking.append(name)
    return lacking


def _meant(pipeline: Pipeline, query: str) -> list[str]:
    """Return the tables that a query may mean: DuckDB opens every file of a view when it is made."""
    words = {word.lower() for word in re.findall(r"\w+", query)}
    every = sorted({*pipeline.declarations.tables, *pipeline.lake.ledger.tables()})
    return [name for name in every if words & {name, "tables", "show"}]


def _refuse_lost(pipeline: Pipeline, query: str, span: TimeWindow, error: Exception) -> None:
    known = pipeline.lake.ledger.tables()
    for table in (name for name in _meant(pipeline, query) if name in known):
        if lost := pipeline.lake.lost(table, span):
            more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
            said = f"{lost[0]}{more} is not there, so {table} cannot be read: run `stream-assets verify {table}`"
            raise LakeError(said) from error


def _unanswered(error: Exception) -> LakeError:
    return LakeError(f"the query could not be answered ({_first(error)}): run `stream-assets verify`")


def _apart(answer: pa.Table) -> pa.Table:
    """Give columns of one name different ones, as objects need them: `day`, `day_2`."""
    names: list[str] = []
    for name in answer.column_names:
        count = sum(
            known == name or (known.startswith(f"{name}_") and known[len(name) + 1 :].isdigit()) for known in names
        )
        names.append(f"{name}_{count + 1}" if name in names else name)
    return answer.rename_columns(names)


def _nothing() -> pa.Table:
    import pyarrow as pa

    return pa.table({})


def _first(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].split())


def answer_facts(answer: pa.Table) -> dict[str, Any]:
    """Return columns with their types, and rows as objects; times in ISO 8601, other values as JSON has them."""
    columns = [{"name": f.name, "type": str(f.type)} for f in answer.schema]
    rows = [{name: plain(value) for name, value in row.items()} for row in answer.to_pylist()]
    return {"columns": columns, "rows": rows}


def plain(value: Any) -> Any:
    """Return one value in JSON's types."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, Decimal):
        # DuckDB sums integers into wide ones, which arrive as decimals without a fraction.
        return int(value) if value.as_tuple().exponent == 0 else str(value)
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
