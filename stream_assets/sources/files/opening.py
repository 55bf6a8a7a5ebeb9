"""Bytes of a file, and the errors of reading them in our words."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import os
import stat
import threading
import weakref
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from stream_assets.errors import SourceError, SourceIncomplete, SourceUnavailable
from stream_assets.sources.files.listing import Found

Bytes = io.BufferedReader | gzip.GzipFile
"""A file open for its uncompressed bytes."""

Stream = TypeVar("Stream")
_MARK_BYTES = 4096
_LONGEST_LOAN = timedelta(seconds=10)
"""How long a thread of Arrow's may take to let go of a stream; it takes well under a millisecond."""


class IncompleteLine(SourceIncomplete):
    """The last line of a file is not whole; `whole` bytes before it are."""

    def __init__(self, message: str, whole: int) -> None:
        super().__init__(message)
        self.whole = whole


@contextmanager
def reading(file: Found) -> Generator[None]:
    """Turn the errors of the operating system and of gzip into ours, naming the file."""
    if file.problem:
        raise SourceError(file.problem)
    try:
        yield
    except FileNotFoundError as error:
        raise SourceUnavailable(f"{file.path} went away before it was read: try again") from error
    except PermissionError as error:
        raise SourceError(f"{file.path} may not be read by this user: give it the permission") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(
            f"{file.path} is no whole gzip file ({error}): write it again under a name that ends in .tmp and "
            "rename it when it is whole, or rename it so that it begins with '_' to go on without it"
        ) from error
    except OSError as error:
        raise SourceUnavailable(f"{file.path} cannot be read: {error.strerror or error}") from error


def opened(file: Found, offset: int = 0) -> Bytes:
    """Open the file for its (uncompressed) bytes, from `offset` of an uncompressed one."""
    raw = inside(file)
    if is_gzip(file):
        unpacked = gzip.GzipFile(fileobj=raw)
        unpacked.myfileobj = raw  # which it closes
        return unpacked
    raw.seek(offset)
    return io.BufferedReader(raw, 1 << 20)


class Lending:
    """Lends streams to Arrow; on leaving, waits until Arrow's threads have let go of each, at most ten seconds.

    They do so after the reader that was given the stream, and a process that ends in between is aborted
    (https://github.com/apache/arrow/issues/34314). Nobody else may keep hold of what was lent.
    """

    def __init__(self) -> None:
        self._returned: list[threading.Event] = []

    def __enter__(self) -> Lending:
        return self

    def __call__(self, stream: Stream) -> Stream:
        """Lend `stream`, and return it."""
        self._returned.append(threading.Event())
        weakref.finalize(stream, self._returned[-1].set)
        return stream

    def __exit__(self, *_: object) -> None:
        for event in self._returned:
            event.wait(_LONGEST_LOAN.total_seconds())


def inside(file: Found) -> io.FileIO:
    """Open the very file that was listed: what has become a link out of the folder since, or a pipe, is refused.

    Raises:
        SourceError: terminal; it is not in the folder any more, or no regular file.
    """
    # A pipe without a writer would wait for ever.
    raw = io.FileIO(os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    try:
        if not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
            raise SourceError(f"{file.path} is no regular file: replace it by one, or remove it")
        real = Path(f"/proc/self/fd/{raw.fileno()}").readlink()
        if not real.is_relative_to(file.folder.resolve()):
            raise SourceError(
                f"{file.path} is a link out of the source's folder, to {real}: copy or move the file there, or rename "
                "the link so that it begins with '_'"
            )
    except BaseException:
        raw.close()
        raise
    return raw


def is_gzip(file: Found) -> bool:
    """Whether the file's bytes are compressed, by its name."""
    return file.name.lower().endswith(".gz")


def mark(file: Found, size: int) -> str:
    """Return a fingerprint of the first `size` bytes by their head and tail; empty where they cannot be had.

    A file that is longer now and still has this mark is taken for one that only grew.
    """
    if is_gzip(file) or size <= 0:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with reading(file), inside(file) as stream:
            digest.update(stream.read(min(size, _MARK_BYTES)))
            stream.seek(max(0, size - _MARK_BYTES))
            digest.update(stream.read(min(size, _MARK_BYTES)))
    except SourceError:
        return ""
    return digest.hexdigest()


def line_at(file: Found, place: int) -> int:
    """Return the number of the line that holds byte `place` of the uncompressed text, from 1."""
    line = 1
    with reading(file), opened(file) as stream:
        while place > 0 and (chunk := stream.read(min(place, 1 << 20))):
            line += chunk.count(b"\n")
            place -= len(chunk)
    return line


def line_of_bad_text(file: Found) -> int | None:
    """Return the number of the first line that is not UTF-8, from 1."""
    line, decoder = 1, codecs.getincrementaldecoder("utf-8")()
    with reading(file), opened(file) as stream:
        while chunk := stream.read(1 << 20):
            held = decoder.getstate()[0]
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                return line + (held + chunk).count(b"\n", 0, error.start)
            line += chunk.count(b"\n")
    return line
