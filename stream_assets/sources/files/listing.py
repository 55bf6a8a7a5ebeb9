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


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was when the folder was listed; `name` is relative to the folder, with `/`."""

    folder: Path
    name: str
    size: int
    mtime_ns: int

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
        SourceError: terminal; no such folder, not readable, a link out of it, or files of other suffixes
        alone.
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
        for name, entry in _walk(root, real, ""):
            if not name.lower().endswith(suffixes):
                others += 1
                continue
            stat = entry.stat()
            file = Found(root, name, stat.st_size, stat.st_mtime_ns)
            # A link and its target in the folder are one file.
            if entry.is_symlink():
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
            f"{root} has {others} files, none of which ends in {', '.join(suffixes)}: is the format "
            f"{source.format!r} right?"
        )
    return sorted(found.values(), key=lambda file: file.name)


def _walk(folder: Path, root: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if entry.name.startswith((".", "_")) or entry.name.endswith(".tmp"):
            continue
        if entry.is_symlink():
            target = Path(entry.path).resolve()
            if not target.is_relative_to(root):
                raise SourceError(
                    f"{entry.path} is a link out of the source's folder, to {target}: copy or move the file "
                    "there, or rename the link so that it begins with '_'"
                )
            # A linked folder inside is listed where it stands.
            if entry.is_dir():
                continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), root, f"{prefix}{entry.name}/")
        elif entry.is_file():
            yield f"{prefix}{entry.name}", entry
