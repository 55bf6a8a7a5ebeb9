"""Proves that source, lake, ledger and files agree, and names every difference with the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pyarrow as pa

from stream_assets.core.declaration import StreamSpec, Table
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import Rule
from stream_assets.core.receipt import WindowFact
from stream_assets.core.window import GRID, Grain, TimeWindow
from stream_assets.errors import LakeError
from stream_assets.events.hashing import digest, hash_rows
from stream_assets.events.schema import EVENT_ID
from stream_assets.lake.ledger import Current
from stream_assets.lake.parquet import read_receipt
from stream_assets.pipeline.ingest import Read, WindowContent
from stream_assets.pipeline.observe import ledger_state, observe
from stream_assets.pipeline.site import Site

MOST_IDS = 10
PATIENCE = timedelta(minutes=15)
"""What is wanted for less long than this is not missed yet: its run is on its way."""

Check = Literal["source", "file", "day", "receipt", "layout", "coverage", "hole"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Two things that should agree and do not.

    Attributes:
        check: `source` (source and lake), `file` (a file's rows and its receipt), `day` (a day and the copies of its
            windows), `receipt` (footer and ledger), `layout` (files and ledger), `coverage` (the ledger and its own
            receipts), `hole` (wanted and not there).
        span: event time.
        is_known: whether the planner knows already and mends it by itself.
        ids: up to ten event ids that are on one side alone, or differ, each with what is wrong with it.
    """

    check: Check
    table: str
    span: TimeWindow
    said: str
    mend: str
    is_known: bool = False
    ids: tuple[str, ...] = ()


@dataclass
class Verification:
    """What was compared, and what differed."""

    windows: int = 0
    rows: int = 0
    files: int = 0
    queries: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])

    @property
    def is_good(self) -> bool:
        """Whether nothing differs but what is on its way to be mended."""
        return all(d.is_known for d in self.differences)


def verify(
    site: Site, tables: Sequence[str], span: TimeWindow, step: Callable[[], None] = lambda: None
) -> Verification:
    """Compare everything that the lake has of `tables` inside `span`, from measurement: files are read, rows hashed.

    A stream is read from its source, in one query a day, and compared window by window. Nothing is changed but what
    looking at a source records.

    Args:
        tables: streams (their windows), days of streams, consumers, or tables that only the lake knows by now.
        span: event time `[start, end)` on the 5-minute grid.
        step: called after each day of a stream and each table.
    """
    return _Verifier(site, span, step).run(tables)


class _Verifier:
    def __init__(self, site: Site, span: TimeWindow, step: Callable[[], None]) -> None:
        self._site = site
        self._lake = site.lake
        self._span = span
        self._step = step
        self._found = Verification()

    def run(self, tables: Sequence[str]) -> Verification:
        observe(self._site)
        grains = self._lake.ledger.tables()
        for name in tables:
            table = self._site.declarations.tables.get(name)
            if table and table.stream:
                self._stream(table, table.stream)
            if name in grains:
                self._partitions(name, grains[name], table)
            if table:
                self._holes(table)
            self._step()
        return self._found

    # Source against lake.

    def _stream(self, table: Table, stream: StreamSpec) -> None:
        """Compare the sealed days (table of days), or the windows outside of them (table of windows)."""
        days = self._lake.ledger.coverage(stream.daily)
        there = days if table.is_days_of_stream else self._lake.ledger.coverage(stream.name) - days
        there = there.clip(self._span)
        for day in [d for span in there for d in self._lake.calendar.days(span)]:
            self._day(table, stream, there.clip(day))
            self._step()

    def _day(self, table: Table, stream: StreamSpec, asked: Intervals) -> None:
        """Compare one day, and once more where its partitions were published again meanwhile."""
        hull = asked.hull
        assert hull is not None
        for _ in range(2):
            before = [(c.span, c.revision) for c in self._lake.ledger.current(table.name, hull)]
            found, windows, rows = self._compare(table, stream, asked, hull)
            self._found.queries += 1
            if not found or before == [(c.span, c.revision) for c in self._lake.ledger.current(table.name, hull)]:
                break
        self._found.windows += windows
        self._found.rows += rows
        self._found.differences += found

    def _compare(
        self, table: Table, stream: StreamSpec, asked: Intervals, hull: TimeWindow
    ) -> tuple[list[Difference], int, int]:
        """Return what differs, and how many windows and rows of the lake were compared."""
        found: list[Difference] = []
        windows = rows = 0
        with Read(self._site, stream, hull, keep_rejected=False) as read:
            ours = self._contents(table, hull, found)
            mine = next(ours, None)
            for theirs in read.windows():
                while mine and mine[0].start < theirs.window.start:
                    mine = next(ours, None)
                if not mine or mine[0].start != theirs.window.start or not asked.covers(theirs.window):
                    continue
                fact, kept = mine
                windows += 1
                rows += kept.num_rows
                if (kept.num_rows, digest(kept)) != (fact.rows, fact.digest):
                    found.append(self._not_as_written(table, fact.window, fact.rows, kept.num_rows))
                elif (fact.rows, fact.digest) != (theirs.table.num_rows, theirs.digest):
                    found.append(self._not_as_source(table, theirs, kept))
        return found, windows, rows

    def _contents(
        self, table: Table, hull: TimeWindow, found: list[Difference]
    ) -> Iterator[tuple[WindowFact, pa.Table]]:
        """Yield every window in `hull` as its file has it, oldest first; a file that cannot be read is a difference."""
        for current in self._lake.ledger.current(table.name, hull):
            try:
                if table.is_days_of_stream:
                    yield from self._lake.windows_of_day(current)
                else:
                    fact = WindowFact(current.span.start, current.rows, current.digest)
                    yield fact, self._lake.rows_of(current, self._lake.schema_of([current]))
            except (OSError, pa.ArrowException, LakeError, RuntimeError) as error:
                said = f"its file {current.file} cannot be read ({type(error).__name__})"
                found.append(Difference("file", table.name, current.span, said, self._mend(table.name, table.grain, current.span)))

    def _not_as_written(self, table: Table, window: TimeWindow, rows: int, there: int) -> Difference:
        said = f"the file has {there:,} rows, and its receipt {rows:,}" if rows != there else "the file's rows are not those of its receipt"
        return Difference("file", table.name, window, said, self._mend(table.name, table.grain, window))

    def _not_as_source(self, table: Table, theirs: WindowContent, kept: pa.Table) -> Difference:
        observe(self._site)  # what has arrived since the look before is no loss: the planner is told of it now
        waiting = Intervals.union_of(r.span for r in self._lake.ledger.reopened().get(table.name, ()))
        is_known = waiting.covers(theirs.window)
        count = f"{theirs.table.num_rows:,} events in the source, {kept.num_rows:,} in the lake"
        said = count if theirs.table.num_rows != kept.num_rows else f"{kept.num_rows:,} events on both sides, but not the same"
        mend = "stream-assets run" if is_known else self._mend(table.name, table.grain, theirs.window)
        return Difference("source", table.name, theirs.window, said, mend, is_known, differing_ids(theirs.table, kept))

    # Files against the ledger.

    def _partitions(self, name: str, grain: Grain, table: Table | None) -> None:
        covered: list[TimeWindow] = []
        for current in self._lake.ledger.current(name, self._span):
            self._found.files += 1
            covered += current.receipt.covered
            said = self._receipt(current, grain, table)
            if said and self._is_current(current):
                self._add("receipt", name, current.span, said, self._mend(name, grain, current.span))
            if table and table.is_days_of_stream:
                self._copies(current)
        for day in self._lake.calendar.days(self._span):
            self._strangers(name, grain, day)
        counted = self._lake.ledger.coverage(name).clip(self._span)
        receipts = Intervals.union_of(covered).clip(self._span)
        for span in counted - receipts:
            said = "the ledger counts it as delivered, but no receipt says so"
            self._add("coverage", name, span, said, self._mend(name, grain, span))
        for span in receipts - counted:
            said = "a receipt says that it is delivered, but the ledger does not count it"
            self._add("coverage", name, span, said, self._mend(name, grain, span))

    def _is_current(self, current: Current) -> bool:
        """Whether a partition has not been published again meanwhile; waits for a publication that is under way."""
        with self._lake.ledger.transaction():
            return self._lake.ledger.revision(current.table, current.span) == current.revision

    def _receipt(self, current: Current, grain: Grain, table: Table | None) -> str:
        """Return what is wrong with one file; nothing where it is what the ledger says."""
        layout = self._lake.layout
        path = layout.root / current.file
        part = layout.part(current.revision, current.digest)
        if path != layout.partition(current.table, grain, current.span) / part:
            return f"the ledger names {current.file}, which is not where that partition lies"
        try:
            if read_receipt(path) != current.receipt:
                return f"the receipt in {current.file} is not the one in the ledger"
            if table and table.consumer:
                rows = self._lake.rows_of(current, self._lake.schema_of([current]))
                if (rows.num_rows, digest(rows, skip=())) != (current.rows, current.digest):
                    return f"the rows in {current.file} are not those of its receipt"
        except FileNotFoundError:
            return f"its file {current.file} is not there"
        except (OSError, pa.ArrowException, LakeError) as error:
            return f"its file {current.file} is not whole ({error})"
        return ""

    def _copies(self, day: Current) -> None:
        """Compare the windows of a sealed day with the copies of them that are still kept."""
        stream = next(s for s in self._site.declarations.streams if s.daily == day.table)
        facts = {f.start: (f.rows, f.digest) for f in day.receipt.windows}
        waiting = Intervals.union_of(r.span for r in self._lake.ledger.reopened().get(day.table, ()))
        for copy in self._lake.ledger.current(stream.name, day.span):
            if facts.get(copy.span.start) != (copy.rows, copy.digest):
                said = f"the day {self._lake.calendar.key(day.span, 'day')} and the copy of this window differ; readers get the day's"
                mend = self._mend(stream.name, "5 min", copy.span)
                self._add("day", stream.name, copy.span, said, mend, is_known=waiting.covers(copy.span))

    def _strangers(self, name: str, grain: Grain, day: TimeWindow) -> None:
        """Find files in the table's folders that the ledger does not know."""
        layout, ledger = self._lake.layout, self._lake.ledger

        def strangers() -> list[Path]:
            there = [p for p in layout.partition(name, "day", day).rglob("*") if not p.is_dir()]
            known = {layout.root / c.file for c in ledger.current(name, day)} if there else set[Path]()
            return sorted(p for p in there if p not in known)

        if not strangers():
            return
        with ledger.transaction():  # a publication that was under way is done now
            found = strangers()
        for path in found:
            said = f"{path.relative_to(layout.root)} is not in the ledger, but readers that list folders count it"
            is_left = layout.revision_of(path.name) is not None
            mend = self._mend(name, grain, day) if is_left else f"move {path} out of the lake"
            self._add("layout", name, day, said, mend)

    # What is not there at all.

    def _holes(self, table: Table) -> None:
        now = self._site.clock.now()
        state = ledger_state(self._site)
        rule = Rule(self._site.declarations, state, self._lake.calendar, now)
        there = state.table(table.name).coverage
        if table.stream and not table.is_days_of_stream:
            there |= state.table(table.stream.daily).coverage
        settling = self._site.declarations.settling(table.stream.name if table.stream else table.name)
        missed_from = max(self._span.start, now - settling - PATIENCE)
        old = TimeWindow(self._span.start, min(self._span.end, missed_from))
        for hole in (rule.wanted(table) - there).clip(old):
            failures = [f for f in state.table(table.name).failures if f.span.overlaps(hole)]
            paused = any(f.is_paused for f in failures)
            said = f"wanted and not there: {failures[0].error}" if failures else "wanted and not there"
            self._add("hole", table.name, hole, said, f"stream-assets retry {table.name}" if paused else "stream-assets run")

    # Words.

    def _add(self, check: Check, table: str, span: TimeWindow, said: str, mend: str, *, is_known: bool = False) -> None:
        self._found.differences.append(Difference(check, table, span, said, mend, is_known))

    def _mend(self, table: str, grain: Grain, span: TimeWindow) -> str:
        """Return the command that makes the partitions of `span` again."""
        if table not in self._site.declarations.tables:
            return f"nobody declares {table!r} any more: declare it again, or move its folder out of the lake"
        every = self._lake.calendar.partitions(span, grain)
        start = self._lake.calendar.key(every[0], grain)
        end = self._lake.calendar.key(TimeWindow(every[-1].end, every[-1].end + GRID), grain)
        return f"stream-assets materialize {table} --from {start} --to {end}"


def differing_ids(source: pa.Table, lake: pa.Table) -> tuple[str, ...]:
    """Return up to ten ids of one window that are on one side alone or have other content, each saying which."""
    theirs, ours = _by_id(source), _by_id(lake)
    said = [f"{i} only in the source" for i in theirs if i not in ours]
    said += [f"{i} only in the lake" for i in ours if i not in theirs]
    said += [f"{i} differs" for i, row in theirs.items() if i in ours and ours[i] != row]
    return tuple(said[:MOST_IDS])


def _by_id(table: pa.Table) -> dict[str, tuple[int, int]]:
    low, high = hash_rows(table)
    ids = map(str, table.column(EVENT_ID).to_pylist())
    return dict(zip(ids, zip(low.tolist(), high.tolist(), strict=True), strict=True))
