"""What every source promises, and what the ledger keeps for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import EPOCH, TimeWindow
from stream_assets.errors import LakeError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from stream_assets.events.conform import Names

ORIGIN_KEY = b"stream_assets.origin"
"""Schema metadata of a batch: which part of the source it is from, such as a file, for messages."""

_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What a source received since a cursor.

    Attributes:
        windows: the windows that received events, merged, oldest first, ends on the 5-minute grid.
        cursor: hand it to the next call, once `windows` are reopened; store both in one transaction.
        until: the instant up to which this answer is complete.
        mended: ranges whose reads failed because of something that is whole again. Paused work there is worth
            another attempt; nothing in them needs to be read again for this reason alone.
    """

    windows: tuple[TimeWindow, ...]
    cursor: str
    until: datetime
    mended: tuple[TimeWindow, ...] = ()


@dataclass(frozen=True, slots=True)
class FileVersion:
    """Which version of a file is known: what a look compares with the folder.

    Attributes:
        size, mtime_ns: of the version, as its fact has them.
        seen: number of the look that remembered its fact.
    """

    size: int
    mtime_ns: int
    seen: int


@dataclass(frozen=True, slots=True)
class FileFact:
    """What is known of one version of one file. The ledger keeps the newest fact of each path of each stream.

    Attributes:
        path: relative to the source's folder, with `/`.
        size, mtime_ns: of the version that was read; `size` is less than the file's own where its last line
            was incomplete, so that the file counts as changed.
        rows: rows read.
        min_time, max_time: of the usable event times; None without any.
        error: what is wrong with the file, or None.
        windows: the windows that have events of the file, not their hull.
        broken: where the file's unreadable parts may have events; reads of it fail.
        fresh: the windows that received events since the cursor of the look before.
        mended: what was `broken` until that look.
        mark: fingerprint of the head and the tail of the version, so that a file that only grew is known to
        have.
        last_time: event time of the last row that has one.
        seen: number of the look that remembered the fact; the state gives it, ascending.
    """

    path: str
    size: int
    mtime_ns: int
    rows: int = 0
    min_time: datetime | None = None
    max_time: datetime | None = None
    error: str | None = None
    windows: Intervals = Intervals()
    broken: Intervals = Intervals()
    fresh: Intervals = Intervals()
    mended: Intervals = Intervals()
    mark: str = ""
    last_time: datetime | None = None
    seen: int = 0

    @property
    def version(self) -> FileVersion:
        """What a look compares."""
        return FileVersion(self.size, self.mtime_ns, self.seen)

    @property
    def hull(self) -> TimeWindow | None:
        """The smallest interval that holds all that the file has, or may have in an unreadable part; None for nothing."""
        return (self.windows | self.broken).hull

    def may_have(self, window: TimeWindow) -> bool:
        """Whether the file has, or may have in a part that cannot be read, a row of `window`."""
        return bool(self.windows.clip(window) or self.broken.clip(window))

    def to_json(self) -> str:
        """Return the fact as one line of JSON, without `seen`."""
        raw: dict[str, Any] = {
            "path": self.path,
            "size": self.size,
            "mtime_ns": self.mtime_ns,
            "rows": self.rows,
        }
        raw |= {"error": self.error, "mark": self.mark}
        for name in ("min_time", "max_time", "last_time"):
            instant: datetime | None = getattr(self, name)
            raw[name] = None if instant is None else (instant - EPOCH) // _MICROSECOND
        for name in ("windows", "broken", "fresh", "mended"):
            spans: Intervals = getattr(self, name)
            raw[name] = [[(s.start - EPOCH) // _SECOND, (s.end - EPOCH) // _SECOND] for s in spans]
        return json.dumps(raw, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes, *, seen: int = 0) -> FileFact:
        """Read what `to_json` wrote.

        Raises:
            LakeError: terminal; it is no fact, so what keeps it is damaged.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            if not all(type(raw[n]) is int for n in ("size", "mtime_ns", "rows")) or type(raw["path"]) is not str:
                raise TypeError("a count or a name is none")
            for name in ("min_time", "max_time", "last_time"):
                raw[name] = None if raw[name] is None else EPOCH + raw[name] * _MICROSECOND
            for name in ("windows", "broken", "fresh", "mended"):
                spans = (TimeWindow(EPOCH + a * _SECOND, EPOCH + b * _SECOND) for a, b in raw[name])
                raw[name] = Intervals.union_of(spans)
            return cls(**raw, seen=seen)
        except (ArithmeticError, LookupError, RecursionError, TypeError, UsageError, ValueError) as error:
            raise LakeError(
                f"what is known of a source's file cannot be read ({type(error).__name__}: {error}): put the ledger back from a "
                "copy, or make it again: `stream-assets ledger rebuild`"
            ) from error


class SourceState(Protocol):
    """What a source may keep between calls. The ledger implements it, for one stream at a time.

    Losing it costs time, never an event: files are read again. Every call answers from one committed state; what was
    committed between two calls is in the second answer alone. `versions` costs little for each known file, so that a
    folder of many can be compared at every look; the others cost only the facts that they give or take.
    """

    def versions(self, *, without: TimeWindow | None = None) -> Mapping[str, FileVersion]:
        """Return which version of each file is known, by path.

        With `without`, only of files that have nothing in it: `without` is outside of their `hull`.
        """
        ...

    def fact(self, path: str) -> FileFact | None:
        """Return the newest fact of one file; None for an unknown one."""
        ...

    def facts_since(self, seen: int) -> Iterable[FileFact]:
        """Return the facts that were remembered under a number greater than `seen`."""
        ...

    def remember(self, facts: Iterable[FileFact]) -> None:
        """Keep `facts`, each in the place of its path's older one, atomically.

        Gives all of them one `seen`, greater than any given before; who commits later has the greater one.
        """
        ...

    def forget(self, paths: Iterable[str]) -> None:
        """Drop the facts of `paths`; unknown ones count for nothing."""
        ...


class MemoryState:
    """A `SourceState` in memory, safe between threads."""

    def __init__(self) -> None:
        self._facts: dict[str, FileFact] = {}
        self._seen = 0
        self._lock = threading.Lock()

    def versions(self, *, without: TimeWindow | None = None) -> Mapping[str, FileVersion]:
        """Return the known versions by path."""
        return {
            fact.path: fact.version
            for fact in self._all()
            if without is None or fact.hull is None or not fact.hull.overlaps(without)
        }

    def fact(self, path: str) -> FileFact | None:
        """Return the newest fact of one file."""
        with self._lock:
            return self._facts.get(path)

    def facts_since(self, seen: int) -> Iterable[FileFact]:
        """Return the facts remembered after `seen`."""
        return [fact for fact in self._all() if fact.seen > seen]

    def _all(self) -> list[FileFact]:
        with self._lock:
            return list(self._facts.values())

    def remember(self, facts: Iterable[FileFact]) -> None:
        """Keep `facts` under one new `seen`."""
        with self._lock:
            self._seen += 1
            self._facts.update({fact.path: replace(fact, seen=self._seen) for fact in facts})

    def forget(self, paths: Iterable[str]) -> None:
        """Drop the facts of `paths`."""
        with self._lock:
            for path in paths:
                self._facts.pop(path, None)


class Source(Protocol):
    """A place that events come from.

    S1 `read` gives every event of the range that is visible at `now`; the same call gives the same rows
    again.
    S2 Reading two ranges gives together what reading their union gives; one call serves a range of any
       length, in memory bounded by a batch.
    S3 An empty range is an empty answer, and `schema` says its columns.
    S4 The watermark never goes back while the clock does not, and advances with the clock where nothing
    happens.
    S5 An outage raises a transient error, a bad shape a terminal one. No message shows a credential.
    S6 `arrivals` names every window that received events since the cursor.
    S7 An event is (id, window): copies of one may be given, of which the caller keeps the latest arrival.

    A source is a frozen dataclass of plain fields (str, int, float, bool, timedelta, or None; `lateness` may be an `Auto`), cheap to make:
    it opens nothing before it is asked. A field that is a credential is declared `field(repr=False)`.
    """

    @property
    def names(self) -> Names:
        """The source's own names of the id, event time and arrival time columns."""
        ...

    @property
    def settling(self) -> timedelta:
        """How far the watermark is normally behind the clock: the allowed lateness."""
        ...

    def watermark(self, now: datetime) -> datetime:
        """Return the instant up to which events are complete, allowed lateness subtracted.

        Raises:
            SourceUnavailable: transient; the outside system does not answer.
        """
        ...

    def read(self, window: TimeWindow, *, now: datetime, state: SourceState | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the events with event time in `[start, end)` that are visible at `now`, in any order.

        Columns have the source's own names. A row whose event time cannot be used (null, text that is no
        instant, before 1970, more than a day ahead) is given in exactly one window, that of the rows around
        it, so that it is rejected and counted once: an instant of that window stands in the column `AROUND`
        (of `events.schema`), which a batch without such rows need not have. What a batch is from may be named
        under `ORIGIN_KEY`. With a `state`, what is known is used to read less.

        Raises:
            SourceIncomplete: transient; something of the range is being written just now.
            SourceUnavailable: transient; an outage.
            SourceError: terminal; something of a shape that it must not have, named.
        """
        ...

    def schema(self, *, now: datetime) -> pa.Schema | None:
        """Return the columns of an empty answer, or None where nothing is known yet."""
        ...

    def arrivals(self, cursor: str | None, *, now: datetime, state: SourceState | None = None) -> Arrivals | None:
        """Name the windows that received events in `(cursor, now]`; None where the source cannot tell.

        Without a cursor, everything that the source can still tell of. Ask before planning a tick's reads:
        what is read afterwards and arrived in between is named once more next time, which costs a read and
        changes nothing. Where it cannot tell, sealed windows are looked at again at growing ages, cheaply if it
        `CountsRows`.
        """
        ...

    def describe(self) -> str:
        """Say in one line what is read, for people; no credential."""
        ...


@runtime_checkable
class CountsRows(Protocol):
    """What a source that cannot name its arrivals may offer, where counting is much cheaper than reading."""

    def summary(
        self, span: TimeWindow, *, now: datetime, state: SourceState | None = None
    ) -> Mapping[datetime, int] | None:
        """Return how many rows `read` would give of each window of `span` now, by the window's start.

        Copies and rows that will be rejected count; a window that is not named has none. One call serves a range of any
        length on the 5-minute grid. A change that leaves the count as it was goes unnoticed.

        Returns:
            None where this range cannot be counted: it is read again.

        Raises:
            SourceUnavailable: transient; an outage.
        """
        ...


@runtime_checkable
class HasPlace(Protocol):
    """What a source says that can be pointed at something else."""

    @property
    def place(self) -> str:
        """Say what is read, as that a cursor means nothing elsewhere: no lateness, no limits, no credential."""
        ...


def identity_of(source: object) -> str:
    """Return whose cursors a source understands: those of its kind and, where it has one, its place."""
    return f"{type(source).__name__} {source.place if isinstance(source, HasPlace) else ''}".strip()


def secrets_of(source: object) -> tuple[str, ...]:
    """Return the credentials of a source: the values of its fields that are declared `field(repr=False)`."""
    assert is_dataclass(source)
    return tuple(str(value) for f in fields(source) if not f.repr and (value := getattr(source, f.name)))
