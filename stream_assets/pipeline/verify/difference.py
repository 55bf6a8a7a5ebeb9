"""What differs, what was compared, and the commands that mend it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Literal

from stream_assets.core.window import GRID, Grain, TimeWindow
from stream_assets.lake.ledger import Current
from stream_assets.pipeline.site import Site

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


class Findings:
    """Gathers the differences of one verification."""

    def __init__(self, site: Site, span: TimeWindow) -> None:
        self.site = site
        self.span = span
        self.verification = Verification()

    def add(self, check: Check, table: str, span: TimeWindow, said: str, mend: str, *, is_known: bool = False) -> None:
        """Note one difference."""
        self.verification.differences.append(Difference(check, table, span, said, mend, is_known))

    def remake(self, current: Current, grain: Grain) -> str:
        """Return the commands that make a partition again whose file is not as it was written."""
        path = self.site.lake.layout.root / current.file
        mend = self.mend(current.table, grain, current.span)
        return f"rm {shlex.quote(str(path))}; {mend}" if path.exists() else mend

    def mend(self, table: str, grain: Grain, span: TimeWindow) -> str:
        """Return the command that makes the partitions of `span` again."""
        if table not in self.site.declarations.tables:
            return f"nobody declares {table!r} any more: declare it again, or move its folder out of the lake"
        calendar = self.site.lake.calendar
        every = calendar.partitions(span, grain)
        start = calendar.key(every[0], grain)
        end = calendar.key(TimeWindow(every[-1].end, every[-1].end + GRID), grain)
        return f"stream-assets materialize {table} --from {start} --to {end}"
