# pyright: reportUnknownMemberType=false
"""Which windows the new and changed files touch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.errors import SourceError, SourceUnavailable
from stream_assets.sources.files.listing import Found, list_files
from stream_assets.sources.files.opening import mark
from stream_assets.sources.files.piece import Reader
from stream_assets.sources.files.scan import Scan, reader_of
from stream_assets.sources.protocol import Arrivals, FileFact, SourceState

if TYPE_CHECKING:
    from stream_assets.sources.files import FileEvents

BYTES_A_LOOK = 1 << 30
_REMEMBERED_AT_ONCE = 256
_DIGITS = 18  # more of them are no number that the ledger can compare


def arrivals(source: FileEvents, cursor: str | None, *, now: datetime, state: SourceState) -> Arrivals:
    """Look at new and changed files; see `FileEvents.arrivals`.

    The cursor is the number of the last look that it has been told of. A fact keeps the windows that its
    looks
    found since, until a cursor comes back that proves that they were handed over: a caller that dies between
    a look and its own commit is told again.
    """
    since = _number(cursor)
    known = state.versions()
    listed = list_files(source, state)
    changed = [file for file in listed if not file.is_version(known.get(file.name))]
    facts: list[FileFact] = []
    budget = BYTES_A_LOOK
    reader = reader_of(source)
    # New files first, then those looked at longest ago, so that one that always changes never starves another.
    for file in sorted(changed, key=lambda file: known[file.name].seen if file.name in known else 0):
        if budget < 0:
            break
        old = state.fact(file.name)
        if file.is_version(old):
            # Another look has had it meanwhile.
            continue
        try:
            fact, size = _look(source, file, old, now, reader)
        except SourceUnavailable:
            # In the middle of a write: it is new again at the next look.
            continue
        budget -= size
        if old and _is_said(fact, old):
            continue
        facts.append(_handed_over(fact, old, since))
        if len(facts) >= _REMEMBERED_AT_ONCE:
            state.remember(facts)
            facts.clear()
    # An empty folder is more likely a disk that is not there than the end of all files.
    gone = known.keys() - {file.name for file in listed} if listed else set[str]()
    lost = [fact for fact in map(state.fact, sorted(gone)) if fact]
    # Where a file that is gone had rows, what failed is worth another try; that is remembered until it is handed over.
    facts += [
        FileFact(f.path, size=-1, mtime_ns=f.mtime_ns, mended=f.broken | f.windows)
        for f in lost
        if f.broken or f.windows
    ]
    if facts:
        state.remember(facts)
    # The last one seen holds the count of looks.
    newest = max((version.seen for version in known.values()), default=0)
    if told := {f.path for f in lost if not f.broken and not f.windows and f.seen <= since and f.seen < newest}:
        state.forget(told)
    return _since(state.facts_since(since), since, now)


def _look(source: FileEvents, file: Found, old: FileFact | None, now: datetime, reader: Reader) -> tuple[FileFact, int]:
    """Return the fact of the version that is there now, and how many bytes were read for it."""
    if old and old.error is None and old.mark and file.size > old.size and mark(file, old.size) == old.mark:
        fact = Scan(source, file, now=now, grown=old).learn(reader)
        if fact.error is None:
            return fact, file.size - old.size
    fact = Scan(source, file, now=now).learn(reader)
    if old is None:
        return fact, file.size
    # What the older version had may be elsewhere now.
    mended = old.broken if fact.error is None else Intervals()
    return replace(fact, fresh=fact.fresh | old.windows, mended=mended), file.size


def _is_said(fact: FileFact, old: FileFact) -> bool:
    """Whether a look at a file that seems to have changed says nothing that is not known of it."""
    fact, old = (replace(f, seen=0, fresh=Intervals(), mended=Intervals()) for f in (fact, old))
    return fact == old


def _handed_over(fact: FileFact, old: FileFact | None, since: int) -> FileFact:
    if old is None or old.seen <= since:
        return fact
    return replace(fact, fresh=fact.fresh | old.fresh, mended=fact.mended | old.mended)


def _since(facts: Iterable[FileFact], since: int, now: datetime) -> Arrivals:
    fresh: list[TimeWindow] = []
    mended: list[TimeWindow] = []
    last = since
    for fact in facts:
        fresh.extend(fact.fresh)
        mended.extend(fact.mended)
        last = max(last, fact.seen)
    return Arrivals(Intervals.union_of(fresh).spans, str(last), now, Intervals.union_of(mended).spans)


def _number(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isdecimal() or len(cursor) > _DIGITS:
        raise SourceError(f"{cursor!r} is no cursor of a folder of files: start again without a cursor")
    return int(cursor)
