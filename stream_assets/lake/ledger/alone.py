"""Holding a ledger's file alone while it is replaced."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from stream_assets.errors import LakeError

_PENDING, _LENGTH = 0x40000000, 512
"""Bytes on which SQLite locks: every connection in WAL mode holds a shared lock in them until it is closed."""
_FLOCK = struct.Struct("hhqqi4x")
_SIDES = ("", "-wal")


@contextmanager
def alone(path: Path) -> Generator[None]:
    """Keep every other process away from the ledger `path`, whole or not, or not there; it waits, as for any change.

    No connection of this process may be open: the locks of a process are one.

    Raises:
        LakeError: terminal; another process has it open, or is replacing it.
    """
    with ExitStack() as held:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        held.callback(os.close, folder)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LakeError(f"the ledger {path} is being replaced by another process: wait for it") from None
        if path.exists():
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            held.callback(os.close, file)
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _LENGTH, _PENDING)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                raise LakeError(
                    f"the ledger {path} is open in process {_holder(file)}: stop what uses the lake (Dagster, `stream-assets run`), "
                    "and call again"
                ) from None
        yield


def _holder(file: int) -> int:
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _PENDING, _LENGTH, 0)
    return _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))[4]


def put_in_place(new: Path, path: Path, now: datetime) -> Path | None:
    """Let the whole, closed ledger `new` take the place of `path`, and return where the old one is kept; None without one.

    A crash in between leaves no ledger, or the new one: never the new one with changes of the old one beside it.
    """
    kept = _free(path.with_name(f"{path.name}.before-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"))
    is_kept = False
    for side in _SIDES:
        old = path.with_name(path.name + side)
        if old.exists():
            old.rename(kept.with_name(kept.name + side))
            is_kept = True
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    new.rename(path)
    return kept if is_kept else None


def _free(path: Path) -> Path:
    found, number = path, 1
    while any(found.with_name(found.name + side).exists() for side in _SIDES):
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found
