"""What is sealed without data, as somebody accepted: known while its source does not give it, a difference once it does."""

from __future__ import annotations

from stream_assets.core.declaration import StreamSpec, Table
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Accepted
from stream_assets.core.window import TimeWindow
from stream_assets.errors import SourceError, SourceIncomplete, SourceUnavailable
from stream_assets.pipeline.halves import halves_of_windows
from stream_assets.pipeline.reading import Read
from stream_assets.pipeline.verify.difference import MEND_SOURCE, Findings, Mend


def compare_gaps(found: Findings, table: Table, stream: StreamSpec, there: Intervals) -> Intervals:
    """Compare the accepted gaps of a stream's table inside `there` with its source, and return them."""
    gaps = [gap for name, gap in found.site.ledger.accepted() if name == table.name]
    for gap in gaps:
        for span in there.clip(gap.span):
            gone = Intervals.union_of(_gone(found, table, stream, gap, span))
            for part in gone:
                said = f"sealed without data ({gap.said}), and its source still does not give it"
                found.add("source", table.name, part, said, Mend("by hand", "none needed"), is_known=True)
    return Intervals.union_of(s for gap in gaps for s in there.clip(gap.span))


def _gone(found: Findings, table: Table, stream: StreamSpec, gap: Accepted, span: TimeWindow) -> list[TimeWindow]:
    """Return what the source does not give of a gap, by halving; what it gives, and where it does not answer, is named."""
    found.verification.queries += 1
    try:
        with Read(found.site, stream, span, keep_rejected=False) as read:
            for content in read.windows():
                found.verification.windows += 1
                if content.table.num_rows:
                    said = f"sealed without data ({gap.said}), and its source has {content.table.num_rows:,} events there now"
                    key = found.site.lake.calendar.key(content.window, "5 min")
                    if table.is_days_of_stream:
                        key = found.site.lake.calendar.key(
                            found.site.lake.calendar.day_around(content.window.start), "day"
                        )
                    mend = f"stream-assets reopen {table.name} --from {key} --reason 'the source has it again'; stream-assets run"
                    found.add("source", table.name, content.window, said, Mend("by hand", mend))
        return []
    except (SourceError, SourceIncomplete):
        halves = halves_of_windows(span)
    except SourceUnavailable as error:
        said = f"sealed without data ({gap.said}), and not compared, because the source cannot be read there: {error}"
        found.add("source", table.name, span, said, MEND_SOURCE)
        return []
    if halves is None:
        return [span]
    return [part for half in halves for part in _gone(found, table, stream, gap, half)]
