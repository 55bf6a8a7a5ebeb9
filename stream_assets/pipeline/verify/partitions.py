"""Files against the ledger: footers, places, rows, coverage, and the copies of a sealed day's windows."""

from __future__ import annotations

import pyarrow as pa

from stream_assets.core.declaration import Table
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import Grain
from stream_assets.errors import LakeError
from stream_assets.events.hashing import digest
from stream_assets.events.schema import ARRIVAL_TIME
from stream_assets.lake.ledger import Current
from stream_assets.lake.parquet import read_receipt
from stream_assets.pipeline.verify.difference import Findings
from stream_assets.pipeline.verify.strays import Strays


class Partitions:
    """Compares the partitions of one table, declared or not, with the ledger."""

    def __init__(self, found: Findings, name: str, grain: Grain, table: Table | None) -> None:
        self._found = found
        self._site = found.site
        self._lake = found.site.lake
        self._name = name
        self._grain: Grain = grain
        self._table = table

    def compare(self) -> None:
        """Compare footers with the ledger, files with the layout, coverage with receipts, days with their windows."""
        for current in self._lake.ledger.current(self._name, self._found.span):
            self._found.verification.files += 1
            said = self._receipt(current)
            if said and self._is_current(current):
                mend = self._found.remake(self._name, self._grain, current.span)
                self._found.add("receipt", self._name, current.span, said, mend)
            if self._table and self._table.is_days_of_stream:
                self._copies(current)
        Strays(self._found, self._name, self._grain).find()
        with self._lake.ledger.transaction():  # both of one moment
            counted = self._lake.ledger.coverage(self._name).clip(self._found.span)
            there = self._lake.ledger.current(self._name, self._found.span)
        receipts = Intervals.union_of(s for c in there for s in c.receipt.covered).clip(self._found.span)
        for span in counted - receipts:
            said = "the ledger counts it as delivered, but no receipt says so"
            self._found.add("coverage", self._name, span, said, self._found.cover(self._name, self._grain, span))
        for span in receipts - counted:
            said = "a receipt says that it is delivered, but the ledger does not count it"
            self._found.add("coverage", self._name, span, said, self._found.cover(self._name, self._grain, span))

    def _is_current(self, current: Current) -> bool:
        """Whether a partition has not been published again meanwhile; waits for a publication that is under way."""
        with self._lake.ledger.transaction():
            return self._lake.ledger.revision(current.table, current.span) == current.revision

    def _receipt(self, current: Current) -> str:
        """Return what is wrong with one file; nothing where it is what the ledger says."""
        layout = self._lake.layout
        path = layout.root / current.file
        part = layout.part(current.revision, current.digest)
        if path != layout.partition(current.table, self._grain, current.span) / part:
            return f"the ledger names {current.file}, which is not where that partition lies"
        try:
            if read_receipt(path) != current.receipt:
                return f"the receipt in {current.file} is not the one in the ledger"
            if (self._found.is_deep or (self._table and self._table.consumer)) and not self._has_its_rows(current):
                return f"the rows in {current.file} are not those of its receipt"
        except FileNotFoundError:
            return f"its file {current.file} is not there"
        except (OSError, pa.ArrowInvalid, LakeError) as error:
            return f"its file {current.file} is not whole ({error})"
        return ""

    def _has_its_rows(self, current: Current) -> bool:
        """Whether a file's rows are as many as its receipt says, and have its digest; a day is read window by window."""
        if current.receipt.windows:
            found = self._lake.windows_of_day(current)
            return all((r.num_rows, digest(r)) == (fact.rows, fact.digest) for fact, r in found)
        rows = self._lake.rows_of(current, self._lake.schema_of([current]))
        skip = (ARRIVAL_TIME,) if self._site.ledger.stream_of(self._name) else ()
        return (rows.num_rows, digest(rows, skip=skip)) == (current.rows, current.digest)

    def _copies(self, day: Current) -> None:
        """Compare the windows of a sealed day with the copies of them that are still kept."""
        stream = next(s for s in self._site.declarations.streams if s.daily == day.table)
        facts = {f.start: (f.rows, f.digest) for f in day.receipt.windows}
        waiting = Intervals.union_of(r.span for r in self._lake.ledger.reopened.all().get(stream.name, ()))
        for copy in self._lake.ledger.current(stream.name, day.span):
            if facts.get(copy.span.start) != (copy.rows, copy.digest):
                said = f"the day {self._lake.calendar.key(day.span, 'day')} and the copy of this window differ; readers get the day's"
                mend = self._found.make(stream.name, "5 min", copy.span)
                self._found.add("day", stream.name, copy.span, said, mend, is_known=waiting.covers(copy.span))
