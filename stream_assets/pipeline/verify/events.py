"""Source against lake: every window's events, read from both sides and compared by count and digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from stream_assets.core.declaration import StreamSpec, Table
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import WindowFact
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.errors import LakeError, SourceError, SourceUnavailable
from stream_assets.events.hashing import digest, hash_rows
from stream_assets.events.schema import EVENT_ID
from stream_assets.pipeline.content import WindowContent
from stream_assets.pipeline.observe import ledger_state, observe
from stream_assets.pipeline.reading import Read
from stream_assets.pipeline.verify.difference import MEND_SOURCE, RUN, Difference, Findings, Mend, run_from
from stream_assets.pipeline.verify.gaps import compare_gaps
from stream_assets.pipeline.verify.identity import find_in_two_windows
from stream_assets.pipeline.verify.values import Unequal

MOST_IDS = 10


class Events:
    """Compares the sealed days of a stream, or its windows outside of them, with its source."""

    def __init__(self, found: Findings, table: Table, stream: StreamSpec) -> None:
        self._found = found
        self._counts = found.verification
        self._site = found.site
        self._lake = found.site.lake
        self._table = table
        self._stream = stream

    def compare(self, step: Callable[[], None]) -> None:
        """Compare the sealed days (table of days), or the windows outside of them (table of windows)."""
        days = self._lake.ledger.coverage(self._stream.daily)
        there = days if self._table.is_days_of_stream else self._lake.ledger.coverage(self._stream.name) - days
        there = there.clip(self._found.span)
        gaps = compare_gaps(self._found, self._table, self._stream, there)
        for day in dict.fromkeys(d for span in there for d in self._lake.calendar.days(span)):
            # One query a day, but around the gaps, for which the source may have no answer.
            for piece in Intervals.of(day) - gaps:
                if asked := there.clip(piece):
                    self._day(asked)
            if not self._found.is_deep:
                before = self._lake.calendar.day_around(day.start - GRID)
                find_in_two_windows(self._found, self._table, TimeWindow(before.start, day.end), day)
            step()

    def _day(self, asked: Intervals) -> None:
        """Compare one day, and once more where its partitions were published again meanwhile."""
        hull = asked.hull
        assert hull is not None
        found: list[Difference] = []
        windows = rows = 0
        for _ in range(2):
            before = [(c.span, c.revision) for c in self._lake.ledger.current(self._table.name, hull)]
            self._counts.queries += 1
            try:
                found, windows, rows = self._compare(asked, hull)
            except (SourceError, SourceUnavailable) as error:
                said = f"not compared, because the source cannot be read there: {error}"
                found.append(Difference("source", self._table.name, hull, said, MEND_SOURCE))
                break
            if not found or before == [(c.span, c.revision) for c in self._lake.ledger.current(self._table.name, hull)]:
                break
        self._counts.windows += windows
        self._counts.rows += rows
        self._counts.differences += found

    def _compare(self, asked: Intervals, hull: TimeWindow) -> tuple[list[Difference], int, int]:
        """Return what differs, and how many windows and rows of the lake were compared."""
        found: list[Difference] = []
        windows = rows = 0
        with Read(self._site, self._stream, hull, keep_rejected=False) as read:
            ours = self._contents(hull, found)
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
                    found.append(self._not_as_written(fact.window, fact.rows, kept.num_rows))
                elif (fact.rows, fact.digest) != (theirs.table.num_rows, theirs.digest):
                    found.append(self._not_as_source(theirs, kept))
        return found, windows, rows

    def _contents(self, hull: TimeWindow, found: list[Difference]) -> Iterator[tuple[WindowFact, pa.Table]]:
        """Yield every window in `hull` as its file has it, oldest first; a file that cannot be read is a difference."""
        for current in self._lake.ledger.current(self._table.name, hull):
            try:
                if self._table.is_days_of_stream:
                    yield from self._lake.windows_of_day(current)
                else:
                    fact = WindowFact(current.span.start, current.rows, current.digest)
                    yield fact, self._lake.rows_of(current, self._lake.schema_of([current]))
            except (OSError, pa.ArrowInvalid, LakeError, RuntimeError) as error:
                said = f"its file {current.file} cannot be read ({_kind(error)})"
                mend = self._found.remake(self._table.name, self._table.grain, current.span)
                found.append(Difference("file", self._table.name, current.span, said, mend))

    def _not_as_written(self, window: TimeWindow, rows: int, there: int) -> Difference:
        said = (
            f"the file has {there:,} rows, and its receipt {rows:,}"
            if rows != there
            else "the file's rows are not those of its receipt"
        )
        mend = self._found.remake(self._table.name, self._table.grain, window)
        return Difference("file", self._table.name, window, said, mend)

    def _not_as_source(self, theirs: WindowContent, kept: pa.Table) -> Difference:
        observe(self._site)  # what has arrived since the look before is no loss: the planner is told of it now
        waiting = Intervals.union_of(r.span for r in self._lake.ledger.reopened.all().get(self._stream.name, ()))
        failed = self._lake.ledger.work.failures().get(self._table.name, ())
        stuck = Intervals.union_of(f.span for f in failed if not f.transient)
        is_known = waiting.covers(theirs.window) and not stuck.clip(theirs.window)
        unequal = differing_ids(theirs.table, kept)
        said = f"{theirs.table.num_rows:,} events in the source, {kept.num_rows:,} in the lake: {unequal.counts}"
        made_again = self._found.make(self._table.name, self._table.grain, theirs.window)
        mend = self._run(theirs.window) if is_known else made_again
        return Difference("source", self._table.name, theirs.window, said, mend, is_known, unequal.rows)

    def _run(self, window: TimeWindow) -> Mend:
        site, now = self._site, self._site.clock.now()
        rule = site.rule(ledger_state(site), now)
        start = rule.healed_from(self._table, window)
        return run_from(start) if start > now else RUN


def _kind(error: Exception) -> str:
    """Return what an error says, if it is one of ours; what others say is long and names no remedy."""
    return str(error) if isinstance(error, LakeError) else type(error).__name__


def differing_ids(source: pa.Table, lake: pa.Table) -> Unequal:
    """Return how the lake's events of one window differ from the source's, and up to ten ids, each saying which."""
    theirs, ours = _by_id(source), _by_id(lake)
    missing = [f"{i} only in the source" for i in theirs if i not in ours]
    extra = [f"{i} only in the lake" for i in ours if i not in theirs]
    changed = [f"{i} differs" for i, row in theirs.items() if i in ours and ours[i] != row]
    said = tuple((missing + extra + changed)[:MOST_IDS])
    return Unequal(len(missing), len(extra), len(changed), rows=said)


def _by_id(table: pa.Table) -> dict[str, tuple[int, int]]:
    low, high = hash_rows(table)
    ids = map(str, table.column(EVENT_ID).to_pylist())
    return dict(zip(ids, zip(low.tolist(), high.tolist(), strict=True), strict=True))
