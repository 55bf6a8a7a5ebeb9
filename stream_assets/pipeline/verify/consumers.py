"""Consumers' tables against a fresh computation from the lake's inputs."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from stream_assets.core.declaration import Consumer, Table
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import LedgerState
from stream_assets.core.window import TimeWindow
from stream_assets.errors import Conflict, ConsumerError, LakeError, TerminalError, TransientError
from stream_assets.lake.ledger import Current
from stream_assets.pipeline.compute import Compute
from stream_assets.pipeline.inputs import Inputs
from stream_assets.pipeline.observe import ledger_state, observe
from stream_assets.pipeline.verify.difference import Difference, Findings, Mend
from stream_assets.pipeline.verify.values import compare_rows

REOPENED = "reopened, and made again by themselves once their inputs are there"
LEFT = "reopened, and left as they are, since what they were made from is not kept"
OTHER_CODE = "made by other code"
FAILED = "failed when they were to be made again"
ACCEPTED = "without data, as somebody has accepted"
BEFORE = "of before the first window that is made again"
UNREADABLE = "without all of their inputs"

_LOOKS_AGAIN = Retrying(retry=retry_if_exception_type(Conflict), stop=stop_after_attempt(3), reraise=True)
"""What is removed while it is read is not there any more, and no difference."""


class Consumers:
    """Computes every partition of one consumer again, and compares its rows by value. Publishes nothing."""

    def __init__(self, found: Findings, table: Table, consumer: Consumer) -> None:
        self._found = found
        self._counts = found.verification
        self._site = found.site
        self._table = table
        self._consumer = consumer
        self._unread: dict[str, list[TimeWindow]] = {}
        self._rows = 0

    def compare(self) -> None:
        """Compare the partitions inside the span, as many at once as are read together."""
        there = {c.span: c for c in self._site.ledger.current(self._table.name, self._found.span)}
        for partitions in Compute(self._site, self._consumer, ledger_state(self._site)).together(list(there)):
            self._together([there[p] for p in partitions])
        for why, spans in self._unread.items():
            for span in Intervals.union_of(spans):
                self._counts.differences.append(self._not_computed(span, why))

    @property
    def _by_hand(self) -> Mend:
        return Mend("by hand", f"mend the function, then `stream-assets refresh {self._table.name}`")

    def _together(self, partitions: Sequence[Current]) -> None:
        """Compare neighbours; where inputs cannot be read, halves, until the one that reads the bad one stands alone."""
        try:
            self._counts.differences += _LOOKS_AGAIN(self._differences, partitions)
        except (TerminalError, OSError, pa.ArrowInvalid) as error:
            if len(partitions) == 1:
                self._note_unread(partitions, error)
                return
            middle = len(partitions) // 2
            for half in (partitions[:middle], partitions[middle:]):
                self._together(half)
        except TransientError as error:
            self._note_unread(partitions, error)

    def _differences(self, partitions: Sequence[Current]) -> list[Difference]:
        state = ledger_state(self._site)
        compute = Compute(self._site, self._consumer, state)
        why = {c.span: self._why_not(c, state) for c in partitions}
        inputs = compute.inputs([c.span for c in partitions])
        for current in partitions:
            if not why[current.span] and not compute.can_be_read(current.span, inputs, current.receipt.covered):
                why[current.span] = UNREADABLE
        wanted = [c for c in partitions if not why[c.span]]
        self._rows = 0
        found: list[Difference] = []
        for current in wanted:
            difference = self._compare(compute, current, inputs)
            if difference:
                # What was published or reopened meanwhile is looked at by whoever is about to make it again.
                why[current.span] = self._why_not_any_more(current)
            if difference and not why[current.span]:
                found.append(difference)
        skipped = {(self._table.name, span): reason for span, reason in why.items() if reason}
        self._counts.partitions += len(partitions) - len(skipped)
        self._counts.consumer_rows += self._rows
        self._counts.skipped.update(skipped)
        return found

    def _why_not(self, current: Current, state: LedgerState) -> str:
        """Return why a partition is known not to be what its inputs give now; nothing where it should be."""
        known = state.table(self._table.name)
        if self._table.grain == "5 min" and current.span.start < state.windows_from:
            return BEFORE
        if current.receipt.accepted:
            return ACCEPTED
        if any(f.span.overlaps(current.span) for f in known.failures):
            return FAILED
        if current.code != self._consumer.code:
            return OTHER_CODE
        if not any(r.span.overlaps(current.span) for r in known.reopened):
            return ""
        rule = self._site.rule(state)
        return LEFT if current.span.start < rule.first(self._table) else REOPENED

    def _why_not_any_more(self, current: Current) -> str:
        observe(self._site)
        is_same = self._site.ledger.revision(current.table, current.span) == current.revision
        return self._why_not(current, ledger_state(self._site)) if is_same else REOPENED

    def _compare(self, compute: Compute, current: Current, inputs: Inputs) -> Difference | None:
        try:
            made = compute.partition(current.span, inputs, current.receipt.covered)
        except ConsumerError as error:
            # A relation is lazy, so it is the function that meets a damaged file, and DuckDB does not name it.
            is_lazy = isinstance(error.__cause__, duckdb.Error)
            if is_lazy and (said := self._site.lake.damage(f for i in inputs.files.values() for f in i)):
                raise LakeError(said) from error
            return Difference("consumer", self._table.name, current.span, str(error), self._by_hand)
        self._rows += made.table.num_rows
        if (made.table.num_rows, made.digest) == (current.rows, current.digest):
            return None
        try:
            kept = self._site.lake.rows_of(current, self._site.lake.schema_of([current]))
        except (OSError, pa.ArrowInvalid, LakeError):
            return None  # its own file is not whole, which is a difference of its own
        unequal = compare_rows(made.table, kept)
        if unequal is None:
            return None
        said = (
            f"{current.rows:,} rows in the lake, {made.table.num_rows:,} computed now from the same inputs; {unequal}"
        )
        if made.inputs != current.receipt.inputs:
            said = f"its inputs are not those that its receipt names, and nothing has reopened it: {said}"
        mend = self._found.make(self._table.name, self._table.grain, current.span)
        return Difference("consumer", self._table.name, current.span, said, mend, ids=unequal.rows)

    def _note_unread(self, partitions: Sequence[Current], error: Exception) -> None:
        """Gather what cannot be read by what is wrong there: one file may be what hundreds of partitions need."""
        why = error.__cause__ if isinstance(error.__cause__, LakeError) else error
        self._unread.setdefault(str(why), []).extend(c.span for c in partitions)

    def _not_computed(self, span: TimeWindow, why: str) -> Difference:
        said = f"not computed, because what it needs cannot be read: {why}"
        inputs = " and ".join(f"`stream-assets verify {name}`" for name in self._consumer.inputs)
        return Difference("consumer", self._table.name, span, said, Mend("by hand", f"mend them first: {inputs}"))
