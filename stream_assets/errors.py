"""Every error that stream_assets raises on purpose.

    StreamAssetsError
    ├── TransientError        the same call may succeed later; the planner retries it for ever, with a backoff
    │   ├── SourceUnavailable     the outside system does not answer
    │   │   └── SourceIncomplete      a part of the source is in the middle of a write; other ranges can be read
    │   ├── SourceBusy            all reader places of a source are taken
    │   ├── LakeUnavailable       the lake cannot be written or read now: a full disk, a ledger that stays locked
    │   └── Conflict              another writer published the partition first
    └── TerminalError         the same call fails again until somebody changes something
        ├── DeclarationError      a stream, consumer or project is declared wrongly
        ├── UsageError            a command, key or range that makes no sense
        ├── SourceError           the source gave something of a shape it must not have
        ├── LakeError             the lake refuses: another time zone, not writable, unknown table
        ├── NotReady              inputs that a closed partition needs are not sealed
        └── ConsumerError         a consumer's function raised, or returned what it must not

A message says what happened, where (stream, window, file), and what to do next, in one line of printable text. No
message holds a credential.
"""

from __future__ import annotations


class StreamAssetsError(Exception):
    """Root of the tree."""

    def __str__(self) -> str:
        """Return the message; what cannot be printed (a file's name may hold anything) is escaped."""
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in super().__str__())


class TransientError(StreamAssetsError):
    """The same call may succeed later, unchanged."""


class SourceUnavailable(TransientError):
    """The outside system does not answer now."""


class SourceIncomplete(SourceUnavailable):
    """A part of the source is in the middle of a write: a range without that part can be read."""


class SourceBusy(TransientError):
    """All reader places (`max_readers`) of a source are taken."""


class LakeUnavailable(TransientError):
    """The lake cannot be used now: its disk is full, or its ledger stayed locked."""


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
