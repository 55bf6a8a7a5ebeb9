"""A small disk of its own, which a test fills or makes read-only."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_READ_ONLY, _REMOUNT, _DETACH = 1, 32, 2
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def mounted(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system of that size; where that is not allowed, the test is skipped."""
    folder.mkdir()
    if _libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=%dm" % megabytes) != 0:
        pytest.skip(f"a small disk cannot be mounted ({os.strerror(ctypes.get_errno())})")
    try:
        yield folder
    finally:
        _libc.umount2(os.fsencode(folder), _DETACH)


@contextmanager
def filled(disk: Path, room: int) -> Iterator[None]:
    """Leave `room` bytes on `disk`."""
    ballast = disk / "ballast"
    left = os.statvfs(disk)
    ballast.write_bytes(b"\0" * max(0, left.f_bavail * left.f_frsize - room))
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """Let nobody write; no file of `disk` may be open for writing."""
    _remount(disk, _READ_ONLY)
    try:
        yield
    finally:
        _remount(disk, 0)


def _remount(disk: Path, flags: int) -> None:
    if _libc.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", _REMOUNT | flags, None) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(disk))
