"""A small disk of its own for the lake, which can be filled up."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

SIZE = 1 << 30
IN_PRIVATE = "STREAM_ASSETS_CHAOS_MOUNTS"


def with_private_mounts() -> bool:
    """Start this program again where what it mounts is seen by it alone, and goes with it; whether that has been done.

    Does not return where it can be done now. False without the rights to mount.
    """
    if IN_PRIVATE in os.environ:
        return True
    unshare = shutil.which("unshare")
    if unshare and shutil.which("mkfs.ext4"):
        private = [unshare, "--mount", "--propagation", "private"]
        if subprocess.run([*private, "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0:
            os.environ[IN_PRIVATE] = "1"
            os.execv(unshare, [*private, *sys.orig_argv])
    return False


class Disk:
    """An ext4 file system in a file, mounted at `folder`; where that cannot be, `folder` as it is, which is never full.

    tmpfs would not do: its listings may lack names (the README's publishing facts).
    """

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        self.is_small = with_private_mounts() and self._mount(image)

    def _mount(self, image: Path) -> bool:
        with image.open("wb") as file:
            file.truncate(SIZE)
        commands = (["mkfs.ext4", "-q", "-m", "0", image], ["mount", "-o", "loop", image, self.folder])
        return all(subprocess.run(c, check=False, stderr=subprocess.DEVNULL).returncode == 0 for c in commands)

    def fill(self) -> None:
        """Leave no room, not even for a page."""
        if not self.is_small:
            return
        descriptor = os.open(self._ballast, os.O_CREAT | os.O_WRONLY)
        try:
            step, at = SIZE, 0
            while step >= 1 << 12:
                try:
                    os.posix_fallocate(descriptor, at, step)
                    at += step
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    # What was allocated of a failed step is kept by ext4: the next one counts from there.
                    at = max(at, os.fstat(descriptor).st_size)
                    step //= 2
        finally:
            os.close(descriptor)

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Let go of the file system; processes that still have it open keep it until they end."""
        if self.is_small:
            subprocess.run(["umount", "--lazy", self.folder], check=False, stderr=subprocess.DEVNULL)
