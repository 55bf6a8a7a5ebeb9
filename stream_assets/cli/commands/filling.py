"""Filling ranges of one table by hand, for `materialize` and `refresh`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stream_assets.cli.facts.values import partitions
from stream_assets.cli.progress import bar
from stream_assets.cli.session import Session

if TYPE_CHECKING:
    from stream_assets.core.window import TimeWindow


def fill_spans(
    session: Session,
    table: str,
    spans: Sequence[TimeWindow],
    reason: str,
    nothing: str = "",
    *,
    accepts_loss: bool = False,
) -> bool:
    """Fill each of `spans` under a lease of its own, and give the facts; whether nothing failed."""
    from stream_assets.cli.facts.work import report_facts
    from stream_assets.cli.show.work import show_filled

    pipeline = session.open()
    grain = pipeline.table(table).grain
    works: list[dict[str, Any]] = []
    with bar() as shown:
        for span in spans:
            began = time.perf_counter()
            facts = {"tables": [table], **partitions(pipeline.calendar, span, grain)}
            shown.begin(table, facts["partitions"])
            with pipeline.running(table, span, reason=reason, accepts_loss=accepts_loss) as running:
                report = pipeline.fill(table, span, running, progress=shown.step)
            seconds = round(time.perf_counter() - began, 3)
            works.append({**facts, "seconds": seconds, "reports": [report_facts(report, pipeline)]})
    failed = sum(report["failed"] for work in works for report in work["reports"])
    session.give({"work": works, "failed": failed, "said": nothing}, show_filled)
    return not failed
