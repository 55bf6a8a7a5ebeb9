"""Every error that stream_assets raises on purpose.

    StreamAssetsError
    ├── TransientError        the same call may succeed later; the planner retries it for ever, with a backoff
    │   ├── SourceUnavailable     the outside system does not answer
    │   │   └── SourceIncomplete      a part of the source is in the middle of a write; other ranges can be read
    │   │       └── MoveIncomplete        events have moved, and where else they are cannot be published yet
    │   ├── SourceBusy            all reader places of a source are taken
    │   ├── LakeUnavailable       the lake cannot be written or read now: a full disk, a ledger that stays locked
    │   ├── OutOfMemory           the process has no memory left for it; less at once may do
    │   └── Conflict              another writer published the partition first
    └── TerminalError         the same call fails again until somebody changes something
        ├── DeclarationError      a stream, consumer or project is declared wrongly
        ├── UsageError            a command, key or range that makes no sense
        ├── SourceError           the source gave something of a shape it must not have
        ├── LakeError             the lake refuses: another time zone, not writable, unknown table
        ├── NotReady              inputs that a closed partition needs are not sealed
        └── ConsumerError         a consumer's function raised, or returned what it must not

A message says what happened, where (stream, window, file), and what to do next, in one line of printable text of
bounded length. No message holds a credential.
"""

from __future__ import annotations

LONGEST = 2000
"""Characters of a message. A message may quote what strangers wrote, and it is kept in the ledger, the UI and logs."""


def printable(text: str, longest: int = LONGEST) -> str:
    """Return `text` as one line that a terminal shows and does not obey: what cannot be printed is escaped.

    Of more than `longest` characters the middle is left out: the beginning says what happened, the end what to do.
    """
    if len(text) > longest:
        head, tail = longest * 2 // 3, longest // 4
        text = f"{text[:head]} ... ({len(text) - head - tail:,} characters left out) ... {text[-tail:]}"
    return escaped(text)


def escaped(text: str) -> str:
    """Return the whole of `text` as one line that a terminal shows and does not obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class StreamAssetsError(Exception):
    """Root of the tree."""

    def __str__(self) -> str:
        """Return the message, `printable`: the name of a file, or a value in it, may be anything."""
        return printable(super().__str__())


class TransientError(StreamAssetsError):
    """The same call may succeed later, unchanged."""


class SourceUnavailable(TransientError):
    """The outside system does not answer now."""


class SourceIncomplete(SourceUnavailable):
    """A part of the source is in the middle of a write: a range without that part can be read."""


class MoveIncomplete(SourceIncomplete):
    """Events have moved between windows of which one cannot be published yet: neither is."""


class SourceBusy(TransientError):
    """All reader places (`max_readers`) of a source are taken."""


class LakeUnavailable(TransientError):
    """The lake cannot be used now: its disk is full, or its ledger stayed locked."""


class OutOfMemory(TransientError):
    """The process has no memory left: with more of it, beside fewer others, or for a shorter range the call may succeed."""


class Conflict(TransientError):
    """Another writer published the partition between our read and our publication."""


class TerminalError(StreamAssetsError):
    """The same call fails again until somebody changes something."""


class DeclarationError(TerminalError):
    """A stream, a consumer or a project is declared wrongly."""


class UsageError(TerminalError):
    """A command, a partition key or a range makes no sense."""


class SourceError(TerminalError):
    """A source gave something of a shape that it must not have."""


class LakeError(TerminalError):
    """The lake refuses the call."""


class NotReady(TerminalError):
    """A closed partition needs inputs that are not sealed."""


class ConsumerError(TerminalError):
    """A consumer's function raised, or returned what it must not."""
