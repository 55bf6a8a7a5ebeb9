"""Publishing: partitions are staged, synced, and exchanged with the old ones inside one ledger transaction.

The order is write, sync, exchange, sync the parents, commit: so the ledger is never ahead of the disk, and a crash
anywhere leaves the old partition, or a whole new one that the next publication adopts (rolls forward).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import pyarrow as pa

from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Receipt
from stream_assets.core.window import Grain
from stream_assets.errors import Conflict
from stream_assets.lake.disk import exchange, move_new, sync_file_system, sync_folder
from stream_assets.lake.layout import Layout
from stream_assets.lake.ledger import Ledger
from stream_assets.lake.parquet import read_receipt, write_part

KEEP_REPLACED = timedelta(hours=1)
"""A replaced partition stays readable in staging this long: readers may have opened its folder."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A partition that is written but not visible yet.

    Attributes:
        folder: where it lies in staging; its only file is `file`.
        touched: event time whose content is new or other than before.
        read_at: when its inputs were read; what was reopened until then is mended by it.
    """

    receipt: Receipt
    grain: Grain
    folder: Path
    file: str
    touched: Intervals
    read_at: datetime


class Publisher:
    """Stages partitions and publishes them together. Use as a context manager: what was not committed is swept."""

    def __init__(self, layout: Layout, ledger: Ledger) -> None:
        self._layout = layout
        self._ledger = ledger
        self._staged: list[Staged] = []
        self._folder = layout.staging / uuid4().hex

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for staged in self._staged:
            shutil.rmtree(staged.folder, ignore_errors=True)
        with suppress(OSError):
            self._folder.rmdir()

    def __len__(self) -> int:
        return len(self._staged)

    def stage(
        self,
        grain: Grain,
        schema: pa.Schema,
        tables: Iterable[pa.Table],
        receipt: Callable[[], Receipt],
        *,
        touched: Callable[[Receipt], Intervals],
        read_at: datetime,
    ) -> Receipt:
        """Write a partition into staging, and return its receipt.

        Args:
            grain: of the partition's table.
            schema: of the file.
            tables: its rows, in order; each becomes a row group at least.
            receipt: called after the last row was written. Its revision is the one to publish: the revision that was
                read, plus one.
            touched: event time whose content is new or other than before.
            read_at: when the inputs were read.
        """
        folder = self._folder / f"{len(self._staged):06d}"
        folder.mkdir(parents=True)
        draft = folder / "part.parquet"
        try:
            said = write_part(draft, schema, tables, receipt)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        name = self._layout.part(said.revision, said.digest)
        draft.rename(folder / name)
        self._staged.append(Staged(said, grain, folder, name, touched(said), read_at))
        return said

    def commit(self) -> list[Receipt]:
        """Publish everything staged, in one transaction, and return the receipts. All or nothing.

        Raises:
            Conflict: transient; another writer published one of the partitions first. Nothing was published.
        """
        if not self._staged:
            return []
        sync_file_system(self._folder)
        for staged in self._staged:
            self._target(staged).parent.mkdir(parents=True, exist_ok=True)
        with self._ledger.transaction():
            for staged in self._staged:
                self._refuse_other_revision(staged)
            for staged in self._staged:
                self._move(staged)
            for parent in {self._target(s).parent for s in self._staged}:
                sync_folder(parent)
                sync_folder(parent.parent)
            self._record()
        receipts = [s.receipt for s in self._staged]
        self._staged.clear()
        return receipts

    def _record(self) -> None:
        by_table: dict[str, list[Staged]] = {}
        for staged in self._staged:
            by_table.setdefault(staged.receipt.table, []).append(staged)
            file = (self._target(staged) / staged.file).relative_to(self._layout.root)
            self._ledger.record(staged.receipt, str(file), staged.touched)
            self._ledger.settle(staged.receipt.table, staged.receipt.span, staged.read_at)
        for table, all_staged in by_table.items():
            covered = Intervals.union_of(c for s in all_staged for c in s.receipt.covered)
            self._ledger.cover(table, [s.receipt.span for s in all_staged], covered)

    def _target(self, staged: Staged) -> Path:
        return self._layout.partition(staged.receipt.table, staged.grain, staged.receipt.span)

    def _refuse_other_revision(self, staged: Staged) -> None:
        wanted = staged.receipt.revision
        known = self._ledger.revision(staged.receipt.table, staged.receipt.span)
        on_disk = max((r for r in map(self._layout.revision_of, _names(self._target(staged))) if r), default=0)
        if known != wanted - 1 or on_disk > known:
            raise Conflict(
                f"{staged.receipt.table} {staged.receipt.span} was published by another writer meanwhile "
                f"(revision {max(known, on_disk)}, not {wanted - 1}): the work is planned again"
            )

    def _move(self, staged: Staged) -> None:
        target = self._target(staged)
        if target.exists():
            exchange(staged.folder, target)
        else:
            move_new(staged.folder, target)


def adopt_newer(layout: Layout, ledger: Ledger, table: str, folder: Path) -> Receipt | None:
    """Roll the ledger forward to a whole file on disk that is newer than its record (a crash before the commit).

    Returns:
        The adopted receipt; None where the ledger knows the file.
    """
    for name in _names(folder):
        revision = layout.revision_of(name)
        if revision is None:
            continue
        receipt = read_receipt(folder / name)
        if revision <= ledger.revision(table, receipt.span) or receipt.table != table:
            return None
        with ledger.transaction():
            ledger.record(receipt, str((folder / name).relative_to(layout.root)), receipt.covered, kind="adopted")
            ledger.cover(table, [receipt.span], receipt.covered)
        return receipt
    return None


def sweep(layout: Layout, now: datetime) -> int:
    """Remove what has lain in staging for an hour, and return how many folders that were."""
    swept = 0
    for folder in layout.staging.iterdir() if layout.staging.exists() else ():
        if datetime.fromtimestamp(folder.stat().st_mtime, now.tzinfo) < now - KEEP_REPLACED:
            shutil.rmtree(folder, ignore_errors=True)
            swept += 1
    return swept


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
