"""What is in a table now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stream_assets.core.digest import Digest
from stream_assets.core.receipt import Receipt
from stream_assets.core.window import TimeWindow
from stream_assets.errors import LakeError
from stream_assets.lake.ledger.database import Row, instant, records, span


@dataclass(frozen=True, slots=True)
class Current:
    """The present publication of a partition. `file` is relative to the lake's folder."""

    table: str
    span: TimeWindow
    revision: int
    digest: Digest
    rows: int
    file: str
    inputs_seq: int
    code: str
    committed_at: datetime
    receipt: Receipt


def current_of(row: Row) -> Current:
    """Read a row of `current`.

    Raises:
        LakeError: terminal; the ledger is damaged.
    """
    with records():
        current = Current(
            row["tbl"], span(row["key_start"], row["key_end"]), row["revision"], Digest.parse(row["digest"]), row["rows"],
            row["file"], row["inputs_seq"], row["code"], instant(row["committed_at"]), Receipt.from_json(row["receipt"]),
        )  # fmt: skip
        if current.file.startswith("/") or ".." in current.file.split("/"):
            raise LakeError(
                f"the ledger names a file outside of the lake ({current.file}): it is damaged, or of another lake"
            )
        return current
