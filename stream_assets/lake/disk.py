"""The few calls to the operating system that publishing rests on (see the publishing facts in the README).

Linux only: `renameat2` and `syncfs` have no counterpart in Python's standard library.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from stream_assets.errors import LakeError, LakeUnavailable, StreamAssetsError

MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = {
    "nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "coda", "ceph", "9p", "glusterfs", "lustre", "gpfs", "beegfs",
    "ocfs2", "gfs2", "orangefs", "pvfs2",
}  # fmt: skip
_NOREPLACE, _EXCHANGE = 1, 2
_STATX_BYTES, _STATX_BIRTH = 256, 0x800
_STATX = struct.Struct("=I76xqI")
"""What is known (a mask), and the birth in seconds and nanoseconds (`struct statx`, linux/stat.h)."""
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


def identity(folder: Path) -> str:
    """Return what a folder keeps when it is moved or mounted elsewhere, and what no copy of it has: `number:birth`.

    The number within the file system alone would not do: the top folders of two disks have the same. A file system
    that knows no births gives zero.
    """
    answer = ctypes.create_string_buffer(_STATX_BYTES)
    if _libc.statx(_AT_FDCWD, os.fsencode(folder), 0, _STATX_BIRTH, answer) != 0:
        return f"{folder.stat().st_ino}:0"
    known, seconds, nanoseconds = _STATX.unpack_from(answer.raw)
    return f"{folder.stat().st_ino}:{seconds * 10**9 + nanoseconds if known & _STATX_BIRTH else 0}"


def file_system(folder: Path) -> str:
    """Return the type of the file system that holds `folder`, as the kernel names it: `ext4`, `nfs4`, `fuse.sshfs`."""
    folder, found, longest = folder.resolve(), "", -1
    for line in MOUNTS.read_text().splitlines():
        facts, _, types = line.partition(" - ")
        # The kernel writes spaces and the like in octal. Of several mounts in one place the last one is seen.
        place = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), facts.split()[4]))
        if folder.is_relative_to(place) and len(place.parts) >= longest:
            found, longest = types.split()[0], len(place.parts)
    return found


def why_unfit(kind: str) -> str:
    """Return why no lake can be on a file system of that type; nothing where one can."""
    if kind in _NETWORK or kind == "fuse" or kind.startswith("fuse."):
        return (
            f"it is a network file system ({kind}), on which folders cannot be exchanged in one step and a ledger's memory is not "
            "shared between hosts: put the lake on a local disk with ext4 or xfs"
        )
    return ""


def refuse_unfit(folder: Path) -> None:
    """Refuse a file system that cannot keep the lake's promises.

    Raises:
        LakeError: terminal; a network file system.
    """
    if why := why_unfit(file_system(folder)):
        raise LakeError(f"no lake can be in {folder}: {why}")


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
