"""Examines a lake's disk and its ledger, also where the lake cannot be opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from stream_assets.core.check import Check, Level
from stream_assets.errors import LakeError, LakeUnavailable
from stream_assets.lake.custody import damage
from stream_assets.lake.disk import file_system, is_held, refuse_without_exchange, why_unfit

LITTLE_ROOM, NO_ROOM = 5 << 30, 100 << 20
FEW_FILES, NO_FILES = 20_000, 1_000
LEFT_OVER = timedelta(hours=2)
"""What lies in staging for longer than this has not been swept, so nothing has run since."""

_WEAK = {
    "btrfs": "listings of a folder miss a name now and then while partitions are replaced in it",
    "tmpfs": "listings of large folders miss a name now and then, and all is gone when the machine stops",
    "ramfs": "all is gone when the machine stops",
    "virtiofs": "it is shared with another host, and only one of them may use the lake",
}


def examine(root: Path, now: datetime) -> Iterator[Check]:
    """Yield what can be said of the lake in `root` without opening it. Reads the whole ledger, and changes nothing."""
    yield _file_system(root)
    yield _exchange(root)
    yield from _room(root)
    yield _ledger(root)
    yield _staging(root, now)


def _file_system(root: Path) -> Check:
    kind = file_system(root)
    if why := why_unfit(kind):
        return Check("file system", "problem", f"{root}: {why}", "move the lake to a local disk")
    if kind in _WEAK:
        todo = "let readers that must miss nothing take their files from `stream-assets files`, or use ext4 or xfs"
        return Check("file system", "warning", f"{kind}: {_WEAK[kind]}", todo)
    return Check("file system", "ok", kind)


def _exchange(root: Path) -> Check:
    try:
        refuse_without_exchange(root)
    except (LakeError, OSError) as error:
        return Check("exchange", "problem", str(error), "make the folder writable, on a local disk with ext4 or xfs")
    return Check("exchange", "ok", "two folders trade names in one step")


def _room(root: Path) -> Iterator[Check]:
    disk = os.statvfs(root)
    free = disk.f_bavail * disk.f_frsize
    yield Check(
        "room", _level(free, LITTLE_ROOM, NO_ROOM), f"{_size(free)} free", "make room" if free < LITTLE_ROOM else ""
    )
    if disk.f_files:  # btrfs has no such limit
        level = _level(disk.f_favail, FEW_FILES, NO_FILES)
        said = f"{disk.f_favail:,} more files and folders fit on the disk"
        yield Check("files", level, said, "" if level == "ok" else "remove files, or move the lake to a larger disk")


def _level(left: int, little: int, none: int) -> Level:
    return "problem" if left < none else "warning" if left < little else "ok"


def _ledger(root: Path) -> Check:
    path = root / "_ledger.sqlite"
    if not path.exists():
        return Check(
            "ledger", "problem", f"{path} is not there", "stream-assets ledger rebuild, or ledger restore FILE"
        )
    try:
        found = damage(path)
    except LakeUnavailable as error:
        return Check("ledger", "problem", str(error), "see to that, and ask again")
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        said, todo = f"{path} is damaged: {found[0]}{more}", "stream-assets ledger rebuild, or ledger restore FILE"
        return Check("ledger", "problem", said, todo)
    sizes = {side: _bytes(path.with_name(path.name + side)) for side in ("", "-wal")}
    return Check("ledger", "ok", f"whole, {_size(sizes[''])}, and {_size(sizes['-wal'])} not yet merged into it")


def _staging(root: Path, now: datetime) -> Check:
    staging = root / "_staging"
    old = [
        path
        for path in (staging.iterdir() if staging.is_dir() else ())
        if path.is_dir() and path.stat().st_mtime < (now - LEFT_OVER).timestamp() and not is_held(path)
    ]
    if not old:
        return Check("staging", "ok", "nothing is left over")
    said = f"{len(old)} folders are left over from more than {LEFT_OVER // timedelta(hours=1)} hours ago"
    return Check("staging", "warning", said, "any run sweeps them: stream-assets run")


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"
