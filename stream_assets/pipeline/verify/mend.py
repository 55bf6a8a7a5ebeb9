"""Does what the differences of a verification name, through the same steps as the commands that they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.errors import StreamAssetsError
from stream_assets.pipeline.outcome import Outcome
from stream_assets.pipeline.pipeline import Pipeline
from stream_assets.pipeline.verify.difference import Difference, Way


@dataclass(frozen=True, slots=True)
class Mended:
    """What was tried for some partitions of a table.

    Attributes:
        said: what became of it, or why it could not be.
    """

    table: str
    span: TimeWindow
    said: str
    is_done: bool


def mend(pipeline: Pipeline, differences: Iterable[Difference]) -> list[Mended]:
    """Mend what can be mended without a person, inputs before what is made of them; what is due is done last.

    No loss is accepted: where the source lacks events that a partition had, the partition stays, and it is said.
    """
    every = list(differences)
    done: list[Mended] = []
    for table in pipeline.declarations.order:
        own = [d for d in every if d.table == table and not d.is_known]
        done += _count_again(pipeline, table, _spans(own, "cover"))
        done += _adopt(pipeline, table, _spans(own, "remake"))
        done += _fill(pipeline, table, _spans(own, "remake"), is_mending=True)
        done += _fill(pipeline, table, _spans(own, "make") - _spans(own, "remake"), is_mending=False)
        for span in _spans(own, "retry"):
            pipeline.lake.ledger.work.clear_failures(table, span)
    if any(d.mend.way in ("run", "retry", "cover") for d in every):
        done += [
            said
            for work, reports in pipeline.run()
            for r in reports
            for said in _all_said(r.table, work.span, r.outcomes)
        ]
    return done


def _spans(differences: Iterable[Difference], way: Way) -> Intervals:
    return Intervals.union_of(d.span for d in differences if d.mend.way == way)


def _count_again(pipeline: Pipeline, table: str, spans: Intervals) -> Iterator[Mended]:
    ledger = pipeline.lake.ledger
    for span in spans:
        with ledger.transaction():
            covered = Intervals.union_of(s for c in ledger.current(table, span) for s in c.receipt.covered)
            ledger.cover(table, [span], covered.clip(span))
        yield Mended(table, span, "counted again from the receipts", is_done=True)


def _adopt(pipeline: Pipeline, table: str, spans: Intervals) -> Iterator[Mended]:
    """Adopt whole files that are newer than the ledger: what a crash has left is not made again for nothing."""
    grain = pipeline.table(table).grain
    for partition in (p for span in spans for p in pipeline.calendar.partitions(span, grain)):
        try:
            if pipeline.lake.roll_forward(table, grain, partition):
                yield Mended(table, partition, "a file that was newer than the ledger was adopted", is_done=True)
        except StreamAssetsError as error:
            yield Mended(table, partition, str(error), is_done=False)


def _fill(pipeline: Pipeline, table: str, spans: Intervals, *, is_mending: bool) -> Iterator[Mended]:
    for span in spans:
        try:
            with pipeline.running(table, span, reason="verify found a difference", is_mending=is_mending) as running:
                report = pipeline.fill(table, span, running)
        except StreamAssetsError as error:
            yield Mended(table, span, str(error), is_done=False)
        else:
            yield from _all_said(table, span, report.outcomes)


def _all_said(table: str, span: TimeWindow, outcomes: Iterable[Outcome]) -> Iterator[Mended]:
    """Say each failure, and what became of the others together."""
    good = [o for o in outcomes if o.is_good]
    if good:
        published = sum(o.state == "published" for o in good)
        yield Mended(table, span, f"{len(good)} made again, {published} of them published", is_done=True)
    for outcome in (o for o in outcomes if not o.is_good):
        yield Mended(table, outcome.span, outcome.error or outcome.state, is_done=False)
