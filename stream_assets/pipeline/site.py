"""Everything that the steps of the pipeline share: declarations, sources, lake and clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential,
    wait_random,
)

from stream_assets.core.clock import Clock
from stream_assets.core.declaration import Declarations
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import LedgerState, Rule
from stream_assets.core.window import Grain, TimeWindow
from stream_assets.errors import Conflict, OutOfMemory, SourceBusy, SourceIncomplete, TerminalError, TransientError
from stream_assets.events.columns import Columns
from stream_assets.lake.ledger import FileRecord, Lease, Ledger, SourceRecords
from stream_assets.lake.store import Lake
from stream_assets.sources.protocol import FileFact, FileVersion, Source

SIGN_OF_LIFE = timedelta(seconds=20)
READER_LEASE = timedelta(minutes=1)
READER_PATIENCE = timedelta(minutes=10)

PARTS = (TerminalError, SourceIncomplete, OutOfMemory)
"""Failures of a range that may be those of a part of it: halves are tried, until what fails stands alone."""

T = TypeVar("T")


@dataclass(frozen=True)
class Site:
    """One project at work: what is declared, where events come from, where they go, and what time it is."""

    declarations: Declarations
    sources: Mapping[str, Source]
    lake: Lake
    clock: Clock

    @property
    def ledger(self) -> Ledger:
        """The lake's ledger."""
        return self.lake.ledger

    def rule(self, state: LedgerState, now: datetime | None = None) -> Rule:
        """Return the one rule, as the ledger stands in `state`; `now` is the clock's where it is not given."""
        return Rule(self.declarations, state, self.lake.calendar, self.clock.now() if now is None else now)

    def source_state(self, stream: str) -> LedgerSourceState:
        """Return what the source of `stream` may keep between calls."""
        return LedgerSourceState(self.ledger.sources, stream)

    def columns(self, stream: str, span: TimeWindow) -> Columns:
        """Return the columns that a stream is known to have; where the ledger has forgotten them, from its files.

        Args:
            stream: whose columns are asked for.
            span: what is about to be read again: under `evolve` it says nothing of what the others have, since a wrong
                type may have come with it. Any other policy let in what it has.
        """
        known = self.ledger.sources.columns(stream)
        if known is not None:
            return Columns.from_text(known)
        everything = TimeWindow(self.lake.start, max(self.lake.calendar.day_around(self.clock.now()).end, span.end))
        tables = (stream, self.declarations.stream(stream).daily)
        there = (c for name in tables for c in self.ledger.current(name, everything))
        asked = Intervals.of(span) if self.declarations.stream(stream).drift == "evolve" else Intervals()
        return self.lake.columns_of(c for c in there if not asked.covers(c.span))

    def planned_again(self, table: str, span: TimeWindow, publish: Callable[[], T]) -> T:
        """Publish, and where another writer or a crash has been there first, look at what it left and publish again.

        Raises:
            Conflict: transient; others were faster three times in a row.
            OutOfMemory: transient; nothing was published of what did not fit.
        """

        def adopt(_: RetryCallState) -> None:
            grain = self.declarations.tables[table].grain
            for partition in self.lake.calendar.partitions(span, grain):
                self.lake.roll_forward(table, grain, partition)

        try:
            return Retrying(
                retry=retry_if_exception_type(Conflict), stop=stop_after_attempt(3), reraise=True, before_sleep=adopt
            )(publish)
        except MemoryError as error:
            raise OutOfMemory(
                f"{table} {span}: memory ran out, so it stays as it was: give the process more memory, or let fewer run at "
                "once; it is tried again"
            ) from error

    @contextmanager
    def reading(self, stream: str, *, is_live: bool = False) -> Iterator[None]:
        """Hold one of the places of those who read the source of `stream` at once, and wait for one.

        Args:
            stream: whose source is read.
            is_live: whether the open day waits for it: the last of several places is kept for that.

        Raises:
            SourceBusy: transient; none became free within ten minutes.
        """
        most = self.declarations.stream(stream).max_readers
        places = most if is_live else max(1, most - 1)
        work = self.ledger.work
        try:
            place = Retrying(
                retry=retry_if_result(lambda found: found is None),
                stop=stop_after_delay(READER_PATIENCE),
                wait=wait_exponential(multiplier=0.1, max=5) + wait_random(0, 0.2),
            )(lambda: work.take_place(stream, places, self.clock.now(), READER_LEASE))
        except RetryError:
            raise SourceBusy(
                f"stream {stream!r} is read by {places} others already (max_readers={most}) and none has finished in "
                f"{READER_PATIENCE}: it is tried again"
            ) from None
        assert place is not None
        try:
            with signs_of_life(lambda: work.keep_place(stream, place, self.clock.now(), READER_LEASE)):
                yield
        finally:
            work.leave_place(place)


@contextmanager
def holding(site: Site, request: int | None, table: str, grain: Grain, span: TimeWindow) -> Iterator[Lease]:
    """Hold a lease on one table of requested work, or of work by hand, and give signs of life."""
    work, clock = site.ledger.work, site.clock
    lease = work.begin(request, "by hand", grain, (table,), span, clock.now())
    began = time.process_time()
    error: str | None = None
    try:
        with signs_of_life(lambda: work.renew(lease, clock.now())):
            yield lease
    except BaseException as raised:
        error = str(raised) or type(raised).__name__
        raise
    finally:
        work.finish(lease, table, clock.now(), error=error, cpu_seconds=time.process_time() - began)


@contextmanager
def signs_of_life(give: Callable[[], None]) -> Iterator[None]:
    """Call `give` every 20 seconds from a thread of its own, for as long as the block runs."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(SIGN_OF_LIFE.total_seconds()):
            with suppress(TransientError):  # the lease outlasts two signs, and the next one may get through
                give()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class LedgerSourceState:
    """A `SourceState` that is kept in the ledger: what is compared in columns, so that facts are read only when asked for."""

    records: SourceRecords
    stream: str

    def versions(self, *, without: TimeWindow | None = None) -> Mapping[str, FileVersion]:
        """Return the known versions by path."""
        known = self.records.file_versions(self.stream, without)
        return {path: FileVersion(size, mtime_ns, seen) for path, size, mtime_ns, seen in known}

    def fact(self, path: str) -> FileFact | None:
        """Return the newest fact of one file."""
        known = self.records.file_fact(self.stream, path)
        return FileFact.from_json(known[0], seen=known[1]) if known else None

    def facts_since(self, seen: int) -> Iterable[FileFact]:
        """Return the facts remembered after `seen`."""
        return [
            FileFact.from_json(fact, seen=number) for fact, number in self.records.file_facts_since(self.stream, seen)
        ]

    def remember(self, facts: Iterable[FileFact]) -> None:
        """Keep `facts` under one new `seen`."""
        records = (FileRecord(f.path, f.size, f.mtime_ns, f.hull, f.to_json()) for f in facts)
        self.records.remember_files(self.stream, records)

    def forget(self, paths: Iterable[str]) -> None:
        """Drop the facts of `paths`."""
        self.records.forget_files(self.stream, paths)
