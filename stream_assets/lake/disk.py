"""The few calls to the operating system that publishing rests on (see the publishing facts in the README).

Linux only: `renameat2` and `syncfs` have no counterpart in Python's standard library.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from stream_assets.errors import LakeError, LakeUnavailable, StreamAssetsError

_NOREPLACE, _EXCHANGE = 1, 2
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)

_PASSES = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EBUSY,
    errno.ENOENT, errno.ESTALE,
}  # fmt: skip
"""What may be otherwise a minute later; a folder in staging that somebody removed (ENOENT) is made again."""


@contextmanager
def lake_errors(where: Path) -> Generator[None]:
    """Turn what the operating system says of a lake's folder into the lake's errors.

    Raises:
        LakeUnavailable: transient; a full disk or quota, too many open files, an input or output error.
        LakeError: terminal; not writable, or something else lies where a folder should be.
    """
    try:
        yield
    except StreamAssetsError:
        raise
    except OSError as error:
        said = f"{where} cannot be written ({error.strerror or error})"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise LakeUnavailable(f"{said}: make room there; nothing was published, and it is tried again") from error
        if error.errno in _PASSES:
            raise LakeUnavailable(f"{said}: nothing was published, and it is tried again") from error
        raise LakeError(
            f"{said}: the lake's folders must be writable, and nothing else may lie in their place"
        ) from error


def move_new(source: Path, target: Path) -> None:
    """Move a folder to a name that must be free, in one step.

    Raises:
        FileExistsError: the name is taken.
    """
    _renameat2(source, target, _NOREPLACE)


def exchange(first: Path, second: Path) -> None:
    """Let two folders trade names in one step: a reader finds either, never neither."""
    _renameat2(first, second, _EXCHANGE)


def _renameat2(source: Path, target: Path, flags: int) -> None:
    result = _libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(flags))
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(source), None, str(target))


def sync_file_system(folder: Path) -> None:
    """Write everything of the file system that holds `folder` to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Write a folder's list of names to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_name(draft: Path, path: Path) -> None:
    """Let a file that is written take the name `path`, of another one too, in one step that a power cut cannot undo by half."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def hold(folder: Path) -> int:
    """Mark a folder as in use until the returned descriptor is closed, or its process ends, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return descriptor


def is_held(folder: Path) -> bool:
    """Whether somebody, in any process, holds the folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def refuse_without_exchange(folder: Path) -> None:
    """Try a real exchange of two folders.

    Raises:
        LakeError: terminal; the file system cannot exchange names in one step, so a lake there could be read torn.
    """
    first, second = folder / f".try-{uuid4().hex}", folder / f".try-{uuid4().hex}"
    try:
        first.mkdir()
        second.mkdir()
        exchange(first, second)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise LakeError(
                f"the file system of {folder} cannot exchange two folders in one step (a network file system?): "
                "put the lake on a local disk with ext4, xfs or btrfs"
            ) from error
        raise
    finally:
        for path in (first, second):
            if path.exists():
                path.rmdir()
