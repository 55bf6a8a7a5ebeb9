"""Publishing: partitions are staged, synced, and exchanged with the old ones inside one ledger transaction.

The order is write, sync, exchange, sync the parents, commit: so the ledger is never ahead of the disk, and a crash
anywhere leaves the old partition, or a whole new one that the next publication adopts (rolls forward). A failure that
is no crash (a full disk) exchanges back before anybody else may write.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self
from uuid import uuid4

import pyarrow as pa

from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Receipt
from stream_assets.core.window import Grain, TimeWindow
from stream_assets.errors import Conflict, LakeError
from stream_assets.lake.disk import (
    exchange,
    hold,
    is_held,
    lake_errors,
    move_new,
    sync_file_system,
    sync_folder,
)
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
        read_at: the ledger's mark when its inputs were read; what was reopened until then is mended by it.
        inputs: tables of the lake that it was made from -> event time that was read of each.
        mends: event time of it that was made anew, and whose reopening it settles.
    """

    receipt: Receipt
    grain: Grain
    folder: Path
    file: str
    touched: Intervals
    read_at: int
    inputs: Mapping[str, Intervals]
    mends: Intervals


class Publisher:
    """Stages partitions and publishes them together. Use as a context manager: what was not committed is removed.

    Its folder in staging is held while it lives, so that no sweep takes it away, however long the work lasts.
    """

    def __init__(self, layout: Layout, ledger: Ledger) -> None:
        self._layout = layout
        self._ledger = ledger
        self._staged: list[Staged] = []
        self._folder = layout.staging / uuid4().hex
        self._folders = 0
        self._hold: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for staged in self._staged:
            # What was exchanged out lies where the new one lay; readers may have it open.
            if (staged.folder / staged.file).exists():
                shutil.rmtree(staged.folder, ignore_errors=True)
        with suppress(OSError):
            self._folder.rmdir()
        if self._hold is not None:
            os.close(self._hold)
            self._hold = None

    def __len__(self) -> int:
        return len(self._staged)

    @property
    def tables(self) -> frozenset[str]:
        """Names of the tables of what is staged."""
        return frozenset(s.receipt.table for s in self._staged)

    def spans(self, *tables: str) -> Intervals:
        """Return what of `tables` is staged."""
        return Intervals.of(*(s.receipt.span for s in self._staged if s.receipt.table in tables))

    def mends(self, table: str) -> Intervals:
        """Return what of `table` is staged and was made anew."""
        return Intervals.union_of(m for s in self._staged if s.receipt.table == table for m in s.mends)

    def holds(self, table: str, span: TimeWindow) -> bool:
        """Whether a partition is staged."""
        return any((s.receipt.table, s.receipt.span) == (table, span) for s in self._staged)

    def stage(
        self,
        grain: Grain,
        schema: pa.Schema,
        tables: Iterable[pa.Table],
        receipt: Callable[[], Receipt],
        *,
        touched: Callable[[Receipt], Intervals],
        read_at: int,
        inputs: Mapping[str, Intervals] = MappingProxyType({}),
        mends: Intervals | None = None,
    ) -> Receipt:
        """Write a partition into staging, and return its receipt.

        Args:
            grain: of the partition's table.
            schema: of the file.
            tables: its rows, in order; each becomes a row group at least.
            receipt: called after the last row was written. Its revision is the one to publish: the revision that was
                read, plus one.
            touched: event time whose content is new or other than before.
            read_at: the ledger's mark when nothing of the inputs had been read yet.
            inputs: tables of the lake that it was made from -> event time that was read of each. What was published
                there since the receipt's `inputs_seq` reopens the partition at once.
            mends: event time of the partition that was made anew, if not all of it.

        Raises:
            LakeUnavailable: transient; the disk is full.
            LakeError: terminal; the lake cannot be written.
        """
        with lake_errors(self._layout.staging):
            folder = self._new_folder()
            try:
                said = write_part(folder / "part.parquet", schema, tables, receipt)
                name = self._layout.part(said.revision, said.digest)
                (folder / "part.parquet").rename(folder / name)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        self._staged.append(
            Staged(said, grain, folder, name, touched(said), read_at, inputs, mends or Intervals.of(said.span))
        )
        return said

    def _new_folder(self) -> Path:
        if self._hold is None:
            self._layout.staging.mkdir(exist_ok=True)
            self._folder.mkdir()
            self._hold = hold(self._folder)
        # A number is never used twice: what was exchanged out stays under the old ones.
        self._folders += 1
        folder = self._folder / f"{self._folders:06d}"
        folder.mkdir()
        return folder

    def drop(self, span: TimeWindow, *tables: str) -> None:
        """Take what lies in `span` of `tables` out of staging: it is not published."""
        for staged in [s for s in self._staged if s.receipt.table in tables and span.covers(s.receipt.span)]:
            self._staged.remove(staged)
            shutil.rmtree(staged.folder, ignore_errors=True)

    def commit(self, together: Callable[[], None] = lambda: None) -> list[Receipt]:
        """Publish everything staged, in one transaction, and return the receipts. All or nothing.

        Args:
            together: records in the ledger what belongs into the same transaction.

        Raises:
            Conflict: transient; another writer published one of the partitions first, or a crash left a newer one, which
                is adopted now. Nothing was published.
            LakeUnavailable: transient; the disk is full, or the ledger stayed locked. Nothing was published.
            LakeError: terminal; the lake cannot be written, or has no such table of that grain.
        """
        if not self._staged:
            return []
        try:
            with lake_errors(self._layout.root):
                for staged in self._staged:
                    self._target(staged).parent.mkdir(parents=True, exist_ok=True)
                # Files, their folders, and the new folders above their targets.
                sync_file_system(self._folder)
                with self._ledger.transaction(self._move_back):
                    self._refuse_other_table()
                    for staged in self._staged:
                        self._refuse_other_revision(staged)
                        self._refuse_torn_day(staged.receipt)
                    self._record()
                    together()
                    for staged in self._staged:
                        self._move(staged)
                    for parent in {self._target(s).parent for s in self._staged}:
                        sync_folder(parent)
        except Conflict:
            for staged in self._staged:
                adopt_newer(self._layout, self._ledger, staged.receipt.table, staged.grain, staged.receipt.span)
            raise
        receipts = [s.receipt for s in self._staged]
        self._staged.clear()
        return receipts

    def _refuse_other_table(self) -> None:
        grains = self._ledger.tables()
        for table, grain in {(s.receipt.table, s.grain) for s in self._staged}:
            if grains.get(table) != grain:
                raise LakeError(
                    f"the lake has no table {table!r} of grain {grain!r}: register it first; nothing was published"
                )

    def _record(self) -> None:
        by_table: dict[str, list[Staged]] = {}
        for staged in self._staged:
            by_table.setdefault(staged.receipt.table, []).append(staged)
            file = (self._target(staged) / staged.file).relative_to(self._layout.root)
            self._ledger.record(staged.receipt, str(file), staged.touched)
            for span in staged.mends:
                self._ledger.settle(staged.receipt.table, span, staged.read_at)
            self._reopen_outdated(staged)
        for table, all_staged in by_table.items():
            covered = Intervals.union_of(c for s in all_staged for c in s.receipt.covered)
            self._ledger.cover(table, [s.receipt.span for s in all_staged], covered)

    def _reopen_outdated(self, staged: Staged) -> None:
        """Whoever told the ledger's readers of changed inputs meanwhile could not name a partition that was not there yet."""
        receipt = staged.receipt
        for table, read in staged.inputs.items():
            is_forgotten = receipt.inputs_seq < self._ledger.history.folded_upto()
            changes = self._ledger.history.touched_since(receipt.inputs_seq, table)
            if is_forgotten or any(touched & read for _, touched in changes):
                at = receipt.committed_at
                self._ledger.reopened.add(receipt.table, receipt.covered, f"{table} changed", at, at)

    def _target(self, staged: Staged) -> Path:
        return self._layout.partition(staged.receipt.table, staged.grain, staged.receipt.span)

    def _refuse_other_revision(self, staged: Staged) -> None:
        wanted = staged.receipt.revision
        known, seq = self._ledger.revision_and_seq(staged.receipt.table, staged.receipt.span)
        on_disk = _newest(self._layout, self._target(staged))[0]
        is_newer = on_disk > known and not _is_leaving(self._layout, self._ledger, self._target(staged))
        if known != wanted - 1 or is_newer:
            raise Conflict(
                f"{staged.receipt.table} {staged.receipt.span} was published by another writer meanwhile "
                f"(revision {max(known, on_disk)}, not {wanted - 1}): the work is planned again"
            )
        if 0 < staged.receipt.inputs_seq < seq:
            raise Conflict(
                f"{staged.receipt.table} {staged.receipt.span} was published by another writer after these inputs were read "
                f"(publication {seq}, read at {staged.receipt.inputs_seq}): the work is planned again"
            )

    def _refuse_torn_day(self, receipt: Receipt) -> None:
        """While a day of a stream is sealed, each of its windows that has a file of its own has the day's content there."""
        staged = {(s.receipt.table, s.receipt.span.start): s.receipt for s in self._staged}
        daily = self._ledger.days_of(receipt.table)
        stream = self._ledger.stream_of(receipt.table)
        if daily:
            days = [d.receipt for d in self._ledger.current(daily, receipt.span) if (daily, d.span.start) not in staged]
            windows = [receipt]
        elif stream:
            days = [receipt]
            known = self._ledger.current(stream, receipt.span)
            windows = [staged.get((stream, w.span.start), w.receipt) for w in known]
        else:
            return
        for day in days:
            facts = {f.start: (f.rows, f.digest) for f in day.windows}
            for window in windows:
                if facts.get(window.span.start) != (window.rows, window.digest):
                    raise Conflict(
                        f"{window.table} {window.span} and its day {day.table} {day.span} were about to differ, since another "
                        "writer published one of them meanwhile: the work is planned again"
                    )

    def _move(self, staged: Staged) -> None:
        target = self._target(staged)
        if target.exists():
            exchange(staged.folder, target)
        else:
            move_new(staged.folder, target)

    def _move_back(self) -> None:
        """Take back those that were moved. What cannot be is adopted by the next publication, as after a crash."""
        for staged in self._staged:
            target = self._target(staged)
            is_moved = (target / staged.file).exists() and not (staged.folder / staged.file).exists()
            if (
                not is_moved
                or self._ledger.revision(staged.receipt.table, staged.receipt.span) >= staged.receipt.revision
            ):
                continue
            with suppress(OSError):
                if staged.folder.exists():
                    exchange(target, staged.folder)
                else:
                    move_new(target, staged.folder)


def _is_leaving(layout: Layout, ledger: Ledger, folder: Path) -> bool:
    return str(folder.relative_to(layout.root)) in ledger.gone.leaving()


def newer(layout: Layout, ledger: Ledger, table: str, grain: Grain, span: TimeWindow) -> tuple[Receipt, Path] | None:
    """Return the file on disk that is newer than the ledger's record, with its receipt; None without one.

    What was removed, and a crash kept from leaving its place, is not newer.

    Raises:
        LakeError: terminal; the newer file is not whole, or is not of this partition.
    """
    folder = layout.partition(table, grain, span)
    revision, name = _newest(layout, folder)
    if revision <= ledger.revision(table, span) or _is_leaving(layout, ledger, folder):
        return None
    receipt = read_receipt(folder / name)
    if (receipt.table, receipt.span.start, receipt.revision) != (table, span.start, revision):
        raise LakeError(
            f"{folder / name} says of itself that it is {receipt.table} {receipt.span}, revision {receipt.revision}: "
            "move it out of the lake"
        )
    return receipt, folder / name


def adopt_newer(layout: Layout, ledger: Ledger, table: str, grain: Grain, span: TimeWindow) -> Receipt | None:
    """Roll the ledger forward to a whole file on disk that is newer than its record (a crash before the commit).

    Returns:
        The adopted receipt; None where the ledger knows the file, or another writer is about to record it.

    Raises:
        LakeError: terminal; the newer file is not whole, or is not of this partition.
    """
    if _newest(layout, layout.partition(table, grain, span))[0] <= ledger.revision(table, span):
        return None
    # A writer between its exchange and its commit holds the lock: only inside of it is what is seen the last word.
    with ledger.transaction():
        found = newer(layout, ledger, table, grain, span)
        if found is None:
            return None
        receipt, path = found
        ledger.record(receipt, str(path.relative_to(layout.root)), receipt.covered, kind="adopted")
        ledger.cover(table, [receipt.span], receipt.covered)
        if receipt.inputs_seq:
            # Whoever told of changed inputs meanwhile did not see it.
            ledger.reopened.add(
                table, receipt.covered, "adopted after a crash", receipt.committed_at, receipt.committed_at
            )
    return receipt


def sweep(layout: Layout, now: datetime) -> int:
    """Remove what nobody holds and nothing has changed in for an hour in staging, and return how many folders that were.

    An exchange changes the folder around the two names, so what was exchanged out counts from then.
    """
    swept = 0
    for folder in layout.staging.iterdir() if layout.staging.exists() else ():
        with suppress(FileNotFoundError):
            if (
                folder.is_dir()
                and datetime.fromtimestamp(_changed(folder), now.tzinfo) < now - KEEP_REPLACED
                and not is_held(folder)
            ):
                shutil.rmtree(folder, ignore_errors=True)
                swept += 1
    return swept


def _changed(folder: Path) -> float:
    """Return when anything was last written in a folder: in it, in those inside, or in a file that is still growing."""
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))


def _newest(layout: Layout, folder: Path) -> tuple[int, str]:
    """Return revision and name of the newest part in a folder; revision 0 without one."""
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return 0, ""
    return max(((layout.revision_of(name) or 0, name) for name in names), default=(0, ""))
