# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Parquet files with a receipt in the footer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stream_assets.core.receipt import Receipt
from stream_assets.errors import LakeError
from stream_assets.events.columns import EXACT, Columns
from stream_assets.events.schema import empty
from stream_assets.lake.encoding import encoding_of

RECEIPT = b"stream_assets.receipt"
COMPRESSION = "zstd"
COMPRESSION_LEVEL = 1
ROW_GROUP_ROWS = 10_000
"""A row group is a window, or as many as make so many rows: what is read of a day file is windows, by its receipt.

Measured (`row_groups` of the benchmarks) against groups of a window of 30,000 events: a third of that reads no fewer
bytes for an hour, since neighbours come along; four windows are scanned 0.9 times as long, but one window is read as
four. Without Bloom filters: one on the id takes a twentieth of the bytes and finds one id in 0.4 of the time, and all that
the pipeline asks of ids is asked of whole windows. Statistics stay as pyarrow writes them: engines skip by event time.
"""


def write_part(path: Path, schema: pa.Schema, tables: Iterable[pa.Table], receipt: Callable[[], Receipt]) -> Receipt:
    """Write one partition, a row group for each of `tables` (small ones together), then the receipt into the footer.

    Args:
        path: a new file; its folder is there.
        schema: of the file; columns that a table lacks become null.
        tables: in the order of the rows. Memory holds one at a time, and small ones until they make a row group.
        receipt: called once, after the last table.
    """
    metadata = {k: v for k, v in (schema.metadata or {}).items() if k != RECEIPT}
    groups = _row_groups(fit(table, schema) for table in tables)
    first = next(groups, empty(schema))
    with pq.ParquetWriter(
        path, schema.with_metadata(metadata), compression=COMPRESSION, compression_level=COMPRESSION_LEVEL,
        **encoding_of(first),
    ) as writer:  # fmt: skip
        for group in chain([first] if first.num_rows else [], groups):
            writer.write_table(group)
        said = replace(receipt(), columns=_named(schema))
        writer.add_key_value_metadata({RECEIPT.decode(): said.to_json()})
    return said


def _named(schema: pa.Schema) -> str:
    return hashlib.blake2b(schema.remove_metadata().serialize(), digest_size=8).hexdigest()


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(t.num_rows for t in waiting) >= ROW_GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting.clear()
    if any(t.num_rows for t in waiting):
        yield pa.concat_tables(waiting)


def fit(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `table` with the columns and types of `schema`: missing columns are null, types only widen."""
    if table.schema.equals(schema, check_metadata=False):
        return table
    present = set(table.column_names)
    columns: list[Any] = [
        table.column(f.name).cast(f.type) if f.name in present else pa.nulls(table.num_rows, f.type) for f in schema
    ]
    return pa.table(columns, schema=schema)


def read_receipt(path: Path) -> Receipt:
    """Return the receipt in a file's footer; raises as `receipt_of` and `read_footer` do."""
    return receipt_of(read_footer(path), path)


def read_footer(path: Path) -> pq.FileMetaData:
    """Return a file's footer.

    Raises:
        FileNotFoundError: it was replaced.
        LakeError: terminal; the file is no Parquet file.
    """
    try:
        return pq.read_metadata(path)
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise LakeError(f"{path} is no whole Parquet file ({error}): run `stream-assets verify`") from error


def receipt_of(footer: pq.FileMetaData, path: Path) -> Receipt:
    """Return the receipt in the footer of `path`.

    Raises:
        LakeError: terminal; it has none.
    """
    metadata: dict[bytes, bytes] = footer.metadata or {}
    if RECEIPT not in metadata:
        raise LakeError(f"{path} has no receipt: it was not published by stream_assets. Move it out of the lake")
    return Receipt.from_json(metadata[RECEIPT])


def columns_of(footer: pq.FileMetaData) -> Columns:
    """Return the columns of a file that have a value, as its footer says."""
    columns = Columns()
    if not footer.num_rows:
        return columns
    schema: pa.Schema = footer.schema.to_arrow_schema()
    stats: dict[str, list[Any]] = {name: [] for name in schema.names}
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            name = chunk.path_in_schema
            while name not in stats:  # a name may have dots of its own
                name = name.rpartition(".")[0]
            stats[name].append(chunk.statistics)
    for f in schema:
        said = stats[f.name]
        # What says nothing of its nulls, such as a list, counts as having values.
        if not pa.types.is_null(f.type) and not all(
            s is not None and s.has_null_count and not s.num_values for s in said
        ):
            ends = [end for s in said if s is not None and s.has_min_max for end in (s.min, s.max)]
            is_large = pa.types.is_integer(f.type) and any(abs(end) > EXACT for end in ends)
            columns = columns.plus(Columns({f.name: f.type}, frozenset([f.name] if is_large else [])))
    return columns


def unified(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """Return one schema with the columns of all, types widened where they differ.

    Raises:
        LakeError: terminal; a column changed to a type that cannot hold it.
    """
    plain = [schema.remove_metadata() for schema in schemas]
    try:
        return pa.unify_schemas(plain, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        found = re.search(r"Field (.*) has incompatible types: (.*) vs (.*)", str(error))
        what = f"column {found[1]!r} is {found[2]} and {found[3]} there" if found else str(error)
        raise LakeError(
            f"the partitions read have columns that do not fit together: {what}. Give it one type throughout the source, "
            "and what was read otherwise is made again"
        ) from error
