"""Which files are in the folder now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stream_assets.errors import SourceError, SourceUnavailable
from stream_assets.sources.files import SUFFIXES
from stream_assets.sources.protocol import FileFact, FileVersion, SourceState

if TYPE_CHECKING:
    from stream_assets.sources.files import FileEvents

_LAKE = "_lake.json"
"""What lies in the root of every lake (`lake.layout`, which sources never import)."""

_DEEPEST = 64
"""Folders in folders: each is listed inside the listing of the one around it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was when the folder was listed; `name` is relative to the folder, with `/`.

    Attributes:
        problem: why it cannot be opened; it is read as a file of which nothing can be, and stops no more than that.
    """

    folder: Path
    name: str
    size: int
    mtime_ns: int
    problem: str = ""

    @property
    def path(self) -> Path:
        """Where the file is; made when it is asked for, since most files are only compared."""
        return self.folder / self.name

    def is_version(self, known: FileVersion | FileFact | None) -> bool:
        """Whether what is known is about the version that was there."""
        return known is not None and (self.size, self.mtime_ns) == (known.size, known.mtime_ns)


def list_files(source: FileEvents, state: SourceState | None) -> list[Found]:
    """Return the source's files by name.

    Args:
        source: the folder.
        state: where files of it are known, a missing folder is an outage.

    Raises:
        SourceUnavailable: transient; a folder that was there is missing, or changes while it is listed.
        SourceError: terminal; no such folder, not readable, a lake, or files of other suffixes alone.
    """
    root = source.folder
    if not root.is_dir():
        if root.exists():
            raise SourceError(f"{root} is a file: the source's path must be the folder that the files land in")
        if state and state.versions():
            raise SourceUnavailable(f"the folder {root} is gone, and was there before: is its disk mounted?")
        raise SourceError(f"there is no folder {root}: create it, or point the source's path at the right one")
    suffixes = SUFFIXES[source.format]
    real = root.resolve()
    found: dict[str, Found] = {}
    others = 0
    try:
        for name, entry in _walk(root, ""):
            file = _found(name, entry, root, real, is_ours=name.lower().endswith(suffixes))
            if file is None:
                others += 1
            elif entry.is_symlink() and not file.problem:
                # A link and its target in the folder are one file.
                found.setdefault(file.path.resolve().relative_to(real).as_posix(), file)
            else:
                found[name] = file
    except FileNotFoundError as error:
        raise SourceUnavailable(f"{error.filename} went away while {root} was listed: try again") from error
    except PermissionError as error:
        raise SourceError(f"{error.filename} may not be read by this user: give it the permission") from error
    except OSError as error:
        raise SourceUnavailable(f"{root} cannot be listed: {error.strerror}") from error
    if others and not found:
        raise SourceError(
            f"{root} has files ({others}), none of which ends in {', '.join(suffixes)}: is the format "
            f"{source.format!r} right?"
        )
    return sorted(found.values(), key=lambda file: file.name)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield what is no folder, and folders that are too deep; those that links point at are listed where they stand."""
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    if any(entry.name == _LAKE for entry in listed):
        raise SourceError(
            f"{folder} is a lake, whose files are no new events: the source's files belong into another folder"
        )
    for entry in listed:
        if entry.name.startswith((".", "_")) or entry.name.endswith(".tmp"):
            continue
        if entry.is_dir(follow_symlinks=False) and prefix.count("/") < _DEEPEST:
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry


def _found(name: str, entry: os.DirEntry[str], root: Path, real: Path, *, is_ours: bool) -> Found | None:
    """Return a file, or what should be one; None for what is none of the source's."""
    problem = _problem(entry, real, is_ours=is_ours)
    if not problem and (not is_ours or entry.is_dir()):
        return None
    stat = entry.stat(follow_symlinks=not problem)
    # What is remembered of a file has its name, and that is text.
    known_as = name.encode(errors="backslashreplace").decode()
    return Found(root, known_as, stat.st_size, stat.st_mtime_ns, problem)


def _problem(entry: os.DirEntry[str], root: Path, *, is_ours: bool) -> str:
    if entry.is_symlink():
        # Path.resolve() raises where links go round in a circle.
        target = Path(os.path.realpath(entry.path))
        if not target.is_relative_to(root):
            return (
                f"{entry.path} is a link out of the source's folder, to {target}: copy or move the file there, or rename "
                "the link so that it begins with '_'"
            )
        if is_ours and not target.exists():
            return f"{entry.path} is a link to {target}, which is not there: put it back, or remove the link"
    elif entry.is_dir(follow_symlinks=False):
        return f"{entry.path} is a folder inside of {_DEEPEST} others: move its files up, or rename it so that it begins with '_'"
    elif is_ours and not entry.is_file():
        return f"{entry.path} is no regular file: replace it by one, or remove it"
    if is_ours and not entry.path.isascii() and entry.path != entry.path.encode(errors="replace").decode():
        return f"{entry.path} has a name that is not UTF-8: rename it"
    return ""
