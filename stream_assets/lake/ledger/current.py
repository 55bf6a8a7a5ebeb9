"""What is in a table now."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from stream_assets.core.digest import Digest
from stream_assets.core.receipt import Receipt
from stream_assets.core.window import TimeWindow
from stream_assets.errors import LakeError
from stream_assets.lake.ledger.database import Row, instant, records, span


@dataclass(frozen=True)
class Current:
    """The present publication of a partition. `file` is relative to the lake's folder, `said` its receipt as JSON."""

    table: str
    span: TimeWindow
    revision: int
    digest: Digest
    rows: int
    file: str
    inputs_seq: int
    code: str
    committed_at: datetime
    said: str

    @cached_property
    def receipt(self) -> Receipt:
        """What the partition says of itself.

        Raises:
            LakeError: terminal; it cannot be read.
        """
        return Receipt.from_json(self.said)

    @property
    def columns(self) -> str:
        """Which columns of which types its file has, as its receipt says; empty where it does not."""
        with records():
            return str(json.loads(self.said).get("columns", ""))


def current_of(row: Row) -> Current:
    """Read a row of `current`.

    Raises:
        LakeError: terminal; the ledger is damaged.
    """
    with records():
        current = Current(
            row["tbl"], span(row["key_start"], row["key_end"]), row["revision"], Digest.parse(row["digest"]), row["rows"],
            row["file"], row["inputs_seq"], row["code"], instant(row["committed_at"]), row["receipt"],
        )  # fmt: skip
        if current.file.startswith("/") or ".." in current.file.split("/"):
            raise LakeError(
                f"the ledger names a file outside of the lake ({current.file}): it is damaged, or of another lake"
            )
        return current
