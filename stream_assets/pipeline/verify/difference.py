"""What differs, what was compared, and the commands that mend it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal

from stream_assets.core.planning import Rule
from stream_assets.core.window import GRID, Grain, TimeWindow
from stream_assets.pipeline.observe import ledger_state
from stream_assets.pipeline.site import Site

Check = Literal["source", "file", "day", "receipt", "layout", "coverage", "hole", "consumer", "identity", "ledger"]
Way = Literal["run", "retry", "make", "remake", "cover", "by hand"]


@dataclass(frozen=True, slots=True)
class Mend:
    """What mends a difference.

    Attributes:
        way: `run` (it is due), `retry` (it is paused), `make` (its partitions are made again), `remake` (they are
            published again, even where they come out equal), `cover` (the ledger counts them again), `by hand` (only
            people can).
        said: the command, or what people have to do.
    """

    way: Way
    said: str

    def __str__(self) -> str:
        return self.said


RUN = Mend("run", "stream-assets run")


def run_from(instant: datetime) -> Mend:
    """Return the run that mends what no earlier one takes in."""
    return Mend("run", f"{RUN}, from {instant:%Y-%m-%d %H:%M:%S}Z on")


MEND_LEDGER = Mend("by hand", "stop what writes into the lake, then `stream-assets ledger rebuild`")
MEND_SOURCE = Mend("by hand", "mend the source, and verify again")


@dataclass(frozen=True, slots=True)
class Difference:
    """Two things that should agree and do not.

    Attributes:
        check: `source` (source and lake), `file` (a file's rows and its receipt), `day` (a day and the copies of its
            windows), `receipt` (footer and ledger), `layout` (files and ledger), `coverage` (the ledger and its own
            receipts), `hole` (wanted and not there), `consumer` (a consumer's rows and those computed now), `identity`
            (an id in two windows), `ledger` (its pages and indexes).
        span: event time.
        is_known: whether the planner knows already and mends it by itself.
        ids: up to ten event ids that are on one side alone, or differ, each with what is wrong with it; of a consumer,
            rows.
    """

    check: Check
    table: str
    span: TimeWindow
    said: str
    mend: Mend
    is_known: bool = False
    ids: tuple[str, ...] = ()


@dataclass
class Verification:
    """What was compared, and what differed.

    Attributes:
        windows, rows, queries: of streams, compared with their sources.
        files: compared with the ledger.
        partitions, consumer_rows: of consumers, computed again.
        skipped: partitions of consumers that were not, by table and partition, because they are known to be outdated.
    """

    windows: int = 0
    rows: int = 0
    files: int = 0
    queries: int = 0
    partitions: int = 0
    consumer_rows: int = 0
    skipped: dict[tuple[str, TimeWindow], str] = field(default_factory=dict[tuple[str, TimeWindow], str])
    differences: list[Difference] = field(default_factory=list[Difference])

    @property
    def reasons(self) -> Counter[str]:
        """How many partitions were skipped, by reason."""
        return Counter(self.skipped.values())

    @property
    def is_good(self) -> bool:
        """Whether nothing differs but what is on its way to be mended."""
        return all(d.is_known for d in self.differences)


class Findings:
    """Gathers the differences of one verification.

    Args:
        is_deep: whether everything is looked at that costs more than reading the span once.
    """

    def __init__(self, site: Site, span: TimeWindow, *, is_deep: bool = False) -> None:
        self.site = site
        self.span = span
        self.is_deep = is_deep
        self.verification = Verification()

    def add(
        self, check: Check, table: str, span: TimeWindow, said: str, mend: Mend, *, is_known: bool = False,
        ids: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """Note one difference."""
        self.verification.differences.append(Difference(check, table, span, said, mend, is_known, ids))

    def make(self, table: str, grain: Grain, span: TimeWindow) -> Mend:
        """Return what makes the partitions of `span` again, and publishes those that come out otherwise."""
        return self._of_declared(
            table, grain, span, "make", f"stream-assets materialize {table} {self._range(grain, span)}"
        )

    def remake(self, table: str, grain: Grain, span: TimeWindow) -> Mend:
        """Return what publishes the partitions of `span` again whose files are not as they were written."""
        return self._of_declared(
            table, grain, span, "remake", f"stream-assets verify {table} {self._range(grain, span)} --mend"
        )

    def cover(self, table: str, grain: Grain, span: TimeWindow) -> Mend:
        """Return what makes the ledger count again what is delivered in `span`."""
        return Mend("cover", f"stream-assets verify {table} {self._range(grain, span)} --mend")

    def is_made(self, grain: Grain, span: TimeWindow) -> bool:
        """Whether partitions in `span` are made again at all, and do not lie before the first."""
        return span.start >= self.site.ledger.first(grain)

    @cached_property
    def _rule(self) -> Rule:
        state = ledger_state(self.site)
        return self.site.rule(state)

    def _of_declared(self, table: str, grain: Grain, span: TimeWindow, way: Way, command: str) -> Mend:
        if not self.is_made(grain, span):
            said = "it lies before the first key (`stream-assets horizon`), so it is not made again: put its file back from a copy"
            return Mend("by hand", said)
        if declared := self.site.declarations.tables.get(table):
            if declared.consumer and span.start < self._rule.first(declared):
                return Mend(
                    "by hand",
                    "some of what it was made from is not kept any more, so it is not made again: put its file back from a "
                    f"copy, or `stream-assets accept-gap {table} {self._range(grain, span)} --by NAME --reason TEXT`",
                )
            return Mend(way, command)
        said = f"nobody declares {table!r} any more: declare it again, or move its folder out of the lake"
        return Mend("by hand", said)

    def _range(self, grain: Grain, span: TimeWindow) -> str:
        calendar = self.site.lake.calendar
        every = calendar.partitions(span, grain)
        start = calendar.key(every[0], grain)
        end = calendar.key(TimeWindow(every[-1].end, every[-1].end + GRID), grain)
        return f"--from {start} --to {end}"
