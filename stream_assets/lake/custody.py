"""Copies of the ledger: checked, written under load, and put back."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import Calendar
from stream_assets.errors import LakeError, UsageError
from stream_assets.lake.disk import lake_errors, sync_file_system, sync_folder
from stream_assets.lake.horizon import advance
from stream_assets.lake.layout import Layout
from stream_assets.lake.ledger import FORMAT, Ledger
from stream_assets.lake.ledger.alone import alone, put_in_place
from stream_assets.lake.rebuild import adopt_all


def damage(path: Path) -> list[str]:
    """Return what is wrong with a ledger's file; nothing for a whole one."""
    ledger = Ledger(path)
    try:
        return ledger.database.damage() or ([] if ledger.is_made() else [f"{path} has nothing of a lake in it"])
    except LakeError as error:
        return [str(error)]
    finally:
        ledger.database.close()


def backup(layout: Layout, file: Path) -> None:
    """Write a consistent copy of the ledger to `file` in one step, replacing what was there; others may write meanwhile.

    Of a lake that is written meanwhile the files may be ahead of it: `restore` adopts what is newer on disk.

    Raises:
        UsageError: terminal; `file` lies in the lake, where its next loss would take both, or in no folder.
        LakeUnavailable: transient; the disk is full.
        LakeError: terminal; the ledger is damaged, or the folder cannot be written.
    """
    file = file.expanduser().resolve()
    if file.is_relative_to(layout.root):
        raise UsageError(f"{file} lies in the lake itself: name a file elsewhere")
    if not file.parent.is_dir():
        raise UsageError(f"there is no folder {file.parent} for the backup: create it, or name a file elsewhere")
    draft = file.with_name(f".{file.name}-{uuid4().hex}")
    try:
        with lake_errors(file):
            Ledger(layout.ledger).database.copy_to(draft)
            if found := damage(draft):
                raise LakeError(f"the ledger {layout.ledger} is damaged, so no backup was written: {found[0]}")
            draft.replace(file)
            sync_folder(file.parent)
    finally:
        _remove(draft)


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of a backup that was put in place.

    Attributes:
        kept: where the ledger before is kept; None where there was none.
        adopted: partitions by table that were published after the backup was made.
        broken: newer files that are no whole partition, each with what is wrong; they lie where they lay.
    """

    kept: Path | None
    adopted: Counter[str]
    broken: list[tuple[Path, str]]


def restore(root: Path, file: Path, now: datetime) -> Restored:
    """Put a backup of this lake's ledger in place in one step, rolled forward to what has been published since.

    Consumers' partitions that were adopted count as older than their inputs: see `pipeline/recognise.py`.

    Raises:
        LakeError: terminal; another process has the ledger open, or `file` is damaged, of another lake or release.
        LakeUnavailable: transient; the disk is full.
    """
    path = root / "_ledger.sqlite"
    draft = root / "_ledger.sqlite.restored"
    with lake_errors(root), alone(path):
        shutil.copyfile(file, draft)
        try:
            _refuse(draft, file, root / "_lake.json")
            ledger = Ledger(draft)
            _advance(ledger, root, now)
            adopted = adopt_all(Layout(root, Calendar(ledger.meta()["zone"])), ledger)
            ledger.database.close()
            sync_file_system(root)
            kept = put_in_place(draft, path, now)
            sync_folder(root)
            return Restored(kept, adopted.partitions, adopted.broken)
        finally:
            _remove(draft)


def _refuse(draft: Path, file: Path, marker: Path) -> None:
    with draft.open("rb") as copied:
        if copied.read(16) != b"SQLite format 3\0":
            raise LakeError(f"{file} is no ledger: choose a file that `stream-assets ledger backup` wrote")
    if found := damage(draft):
        raise LakeError(f"{file} is no whole ledger: {found[0].replace(str(draft), str(file))}")
    backup = Ledger(draft)
    meta = backup.meta()
    backup.database.close()
    if meta["format"] != FORMAT:
        raise LakeError(
            f"{file} is of another release (format {meta['format']}, not {FORMAT}): use `stream-assets ledger rebuild`"
        )
    said = json.loads(marker.read_text())["lake_id"] if marker.exists() else meta["lake_id"]
    if said != meta["lake_id"]:
        raise LakeError(
            f"{file} is the ledger of {meta['lake_id']}, and this lake is {said}: choose a backup of this lake"
        )


def _advance(ledger: Ledger, root: Path, now: datetime) -> None:
    """Let a backup of before something went, or the horizon was advanced, say what the lake says now."""
    marker = root / "_lake.json"
    said: dict[str, str] = json.loads(marker.read_text()) if marker.exists() else {}
    with ledger.transaction():
        if "windows_from" in said:
            advance(ledger, datetime.fromisoformat(said["windows_from"]))
        ledger.gone.take_borders(said)
        for stream, daily in ((name, days) for name in ledger.tables() if (days := ledger.days_of(name))):
            gone = ledger.gone.borders()["kept_from"].get(stream, ledger.first("day"))
            sealed = ledger.coverage(daily)
            for table in (stream, daily):
                hull = ledger.coverage(table).hull
                for current in ledger.current(table, hull) if hull else ():
                    may_go = current.span.end <= gone or (table == stream and sealed.covers(current.span))
                    if may_go and not (root / current.file).exists():
                        ledger.remove(current, "it went after this backup was made", now)
                        ledger.cover(table, [current.span], Intervals())


def _remove(draft: Path) -> None:
    for side in ("", "-wal", "-shm"):
        draft.with_name(draft.name + side).unlink(missing_ok=True)
