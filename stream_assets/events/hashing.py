"""Row hashes, and the digests that they add up to.

A row hash is 128 bits in two lanes. Each cell that is not null is mixed with its column's name and type
class, the cells of a row are added, and the sum is mixed once more, so that values cannot change places
between rows unseen. Nulls and `arrival_time` contribute nothing; the order of rows, columns and struct fields
has no effect. It guards against accidents, not against somebody who builds collisions on purpose.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa

from stream_assets.core.digest import Digest
from stream_assets.events.cells import cells
from stream_assets.events.mixing import U64, Words, mix, word
from stream_assets.events.schema import ARRIVAL_TIME, EVENT_ID

BLOCK_ROWS = 1 << 14
_LOW_START, _HIGH_START = word("row, low lane"), word("row, high lane")


@dataclass(frozen=True, slots=True)
class EventHashes:
    """Row hashes of events (two lanes), and 64 bits of each event id: equal ids have equal words."""

    low: Words
    high: Words
    ids: Words


def hash_rows(table: pa.Table, *, skip: Collection[str] = (ARRIVAL_TIME,)) -> tuple[Words, Words]:
    """Return the row hashes of `table` as two arrays of unsigned 64-bit words (low, high), in row order.

    Equal by value is equal by hash: see `cells` for what one value is. Columns named in `skip` are left out.

    Raises:
        SourceError: terminal; a column of a type that cannot be hashed.
    """
    hashes = _hash(table, skip)
    return hashes.low, hashes.high


def hash_events(table: pa.Table) -> EventHashes:
    """Return the row hashes of canonical events, and the words of their ids, in one pass.

    Raises:
        SourceError: terminal; a column of a type that cannot be hashed.
    """
    return _hash(table, (ARRIVAL_TIME,))


def _hash(table: pa.Table, skip: Collection[str]) -> EventHashes:
    hashed = [place for place, name in enumerate(table.column_names) if name not in skip]
    low, high, ids = (np.zeros(table.num_rows, U64) for _ in range(3))
    start = 0
    for batch in table.select(hashed).to_batches(max_chunksize=BLOCK_ROWS):
        stop = start + batch.num_rows
        low_sum = np.full(batch.num_rows, _LOW_START, U64)
        high_sum = np.full(batch.num_rows, _HIGH_START, U64)
        columns: list[Any] = cast("Any", batch).columns
        for place, name in enumerate(batch.schema.names):
            low_cells, high_cells = cells(columns[place]).keyed(name)
            low_sum += low_cells
            high_sum += high_cells
            if name == EVENT_ID:
                ids[start:stop] = low_cells
        low[start:stop] = mix(low_sum)
        high[start:stop] = mix(high_sum)
        start = stop
    return EventHashes(low, high, ids)


def digest(table: pa.Table, *, skip: Collection[str] = (ARRIVAL_TIME,)) -> Digest:
    """Return the digest of all rows of `table`; that of no rows is `Digest()`.

    Raises:
        SourceError: terminal; a column of a type that cannot be hashed.
    """
    return total(*hash_rows(table, skip=skip))


def total(low: Words, high: Words) -> Digest:
    """Return the sum of row hashes."""
    return Digest(int(low.sum(dtype=U64)), int(high.sum(dtype=U64)))
