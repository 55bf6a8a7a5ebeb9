"""Names and ranges as people give them: checked before any work begins."""

from __future__ import annotations

from datetime import datetime

from stream_assets.core.clock import Clock
from stream_assets.core.declaration import Declarations, Table
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import LedgerState, Rule
from stream_assets.core.window import GRID, Calendar, TimeWindow
from stream_assets.errors import LakeError, SourceUnavailable, UsageError
from stream_assets.lake.store import Lake
from stream_assets.pipeline.outcome import Outcome
from stream_assets.pipeline.running import Running
from stream_assets.pipeline.site import Site

_OLDER = ". Older events are in days alone (`stream-assets horizon`): a UI that offers older windows has to reload its code location"


class Ranges:
    """Knows which partitions the tables of a project can have, and refuses others in words."""

    def __init__(self, site: Site) -> None:
        self.site = site

    @property
    def declarations(self) -> Declarations:
        """What is declared."""
        return self.site.declarations

    @property
    def lake(self) -> Lake:
        """The lake."""
        return self.site.lake

    @property
    def clock(self) -> Clock:
        """The clock."""
        return self.site.clock

    @property
    def calendar(self) -> Calendar:
        """The lake's days."""
        return self.site.lake.calendar

    def table(self, name: str) -> Table:
        """Return the declared table of that name.

        Raises:
            LakeError: terminal; there is none.
        """
        table = self.declarations.tables.get(name)
        if table is None:
            raise LakeError(f"there is no table {name!r}; there are: {', '.join(self.declarations.tables)}")
        return table

    def _refuse(self, target: Table, span: TimeWindow, running: Running) -> None:
        if not span:
            raise UsageError(f"{target.name}: the range {span} is empty: its end must be after its start")
        if running.is_planned:
            return  # The planner goes by the watermark, which a clock that is set back does not take along.
        self._refuse_outside(target, span)

    def refuse_gone(self, target: Table, start: datetime, rule: Rule) -> None:
        """Refuse a partition of which some of what it is made from is not kept.

        Raises:
            UsageError: terminal; it is one.
        """
        if start < rule.first(target):
            raise UsageError(self._gone(target, start, rule))

    def _gone(self, target: Table, start: datetime, rule: Rule) -> str:
        what = "the events of then" if target.stream else "some of the events that it is made from"
        return (
            f"{target.name} {self._key(target, start)}: {what} are not kept any more (`keep=` of the stream), or are about to go: "
            f"what can be made begins with {self._key(target, rule.first(target))}"
        )

    def _impossible(self, target: Table, span: TimeWindow, state: LedgerState, running: Running) -> list[Outcome]:
        """Return why partitions that a person asked for can never be made, or not while their day is open.

        Raises:
            UsageError: terminal; none of them can be made.
        """
        if running.is_planned:
            return []
        rule, found = self.site.rule(state), dict[TimeWindow, str]()
        first, open_from = rule.first(target), rule.horizon(target).open_from
        if span.start < first:
            for partition in self.calendar.partitions(TimeWindow(span.start, min(first, span.end)), target.grain):
                found[partition] = self._gone(target, partition.start, rule)
        if target.is_days_of_stream and span.end > open_from:
            assert target.stream is not None
            for day in self.calendar.days(TimeWindow(max(open_from, span.start), span.end)):
                found[day] = (
                    f"{target.name}: the open day is never sealed; materialize `{target.stream.name}` for it. "
                    f"Days before {self.calendar.day_of(open_from)} are closed"
                )
        if found and Intervals.union_of(found).covers(span):
            raise UsageError(next(iter(found.values())))
        return [Outcome(target.name, p, "failed", None, said, is_waiting=True) for p, said in found.items()]

    def _unsettled(self, target: Table, span: TimeWindow, state: LedgerState, heard: dict[str, str]) -> list[Outcome]:
        """Return why each window of a stream that has not settled yet cannot be made."""
        if target.stream is None or target.is_days_of_stream:
            return []
        settled = state.watermarks.get(target.stream.name, state.start)
        if span.end > settled and target.stream.name in heard:
            raise SourceUnavailable(heard[target.stream.name])
        outcomes: list[Outcome] = []
        for window in (w for w in span.windows() if w.end > settled):
            at = window.end + target.stream.settling
            said = (
                f"{target.name}: the window that ends at {window.end:%Y-%m-%dT%H:%MZ} settles at {at:%Y-%m-%dT%H:%M:%SZ}, not "
                f"before; windows up to {settled:%Y-%m-%dT%H:%M:%SZ} can be filled"
            )
            outcomes.append(Outcome(target.name, window, "failed", None, said, is_waiting=True))
        if len(outcomes) == span.duration // GRID:
            raise UsageError(outcomes[-1].error)
        return outcomes

    def _refuse_outside(self, target: Table, span: TimeWindow) -> None:
        """Refuse what lies before the first partition, or in the future; a range may be of any length until it was here."""
        self.refuse_before_first(target, span.start)
        today = self.calendar.day_around(self.clock.now())
        if span.end > today.end:
            raise UsageError(
                f"{target.name}: the range ends at {span.end:%Y-%m-%dT%H:%MZ}, in the future: the last day that can be "
                f"filled is {self.calendar.day_of(today.start)}"
            )

    def refuse_before_first(self, target: Table, start: datetime) -> None:
        """Refuse a partition that starts before the first one, which may have moved on since its key was offered.

        Raises:
            UsageError: terminal; it does.
        """
        first = self.lake.ledger.first(target.grain)
        if start < first:
            older = _OLDER if start >= self.lake.start else ""
            raise UsageError(
                f"{target.name} {self._key(target, start)}: its first partition is {self._key(target, first)}{older}"
            )

    def _key(self, target: Table, start: datetime) -> str:
        return self.calendar.key(TimeWindow(start, start + GRID), target.grain)

    def range(self, table: str, start: str, end: str | None = None) -> TimeWindow:
        """Return the range from the partition that holds `start` up to, and not including, `end`.

        Args:
            table: whose partitions are meant.
            start: a partition key, or an instant as people write it.
            end: the same; by default the end of the first partition.

        Raises:
            UsageError: terminal; no instants, off the grid, an end that is not after the start, or outside of what the
                lake can have.
        """
        target = self.table(table)
        grain = target.grain
        first = self.calendar.instant(start)
        last = self.calendar.instant(end) if end is not None else None
        for instant in (first, last):
            if instant is not None and self._off_grid(instant, grain):
                raise UsageError(f"{instant:%Y-%m-%dT%H:%M:%SZ} is no border of {grain} partitions of {table!r}")
        if last is None:
            last = self.calendar.partitions(TimeWindow(first, first + GRID), grain)[0].end
        if last <= first:
            raise UsageError(f"the range ends ({end}) before it begins ({start}); --to is not included in it")
        self._refuse_outside(target, TimeWindow(first, last))
        return TimeWindow(first, last)

    def _off_grid(self, instant: datetime, grain: str) -> bool:
        if grain == "day":
            return self.calendar.day_around(instant).start != instant
        return not TimeWindow(instant, instant + GRID).is_on_grid
