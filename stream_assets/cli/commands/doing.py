"""Doing what is due, piece by piece, for `run`, `compact` and `retain`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stream_assets.cli.progress import bar
from stream_assets.cli.session import Session

if TYPE_CHECKING:
    from stream_assets.core.planning import Work
    from stream_assets.pipeline.pipeline import Pipeline


def do_due(session: Session, pipeline: Pipeline, only: Callable[[Work], bool] = lambda _: True) -> list[dict[str, Any]]:
    """Do everything that is due and that `only` lets pass, say each piece when it is done, and return the facts of all."""
    from stream_assets.cli.facts.work import report_facts, work_facts
    from stream_assets.cli.show.page import page
    from stream_assets.cli.show.work import show_done

    works: list[dict[str, Any]] = []
    with bar() as shown:

        def begin(work: Work) -> None:
            facts = work_facts(work, pipeline.calendar)
            works.append({**facts, "began": time.perf_counter()})
            shown.begin(f"{work.automation}: {', '.join(work.tables)}", facts["partitions"] * len(work.tables))

        for _, reports in pipeline.run(begin=begin, progress=shown.step, only=only):
            done = works[-1]
            done["seconds"] = round(time.perf_counter() - done.pop("began"), 3)
            done["reports"] = [report_facts(report, pipeline) for report in reports]
            if not session.as_json:
                show_done(done, page())
    return works


def held_facts(pipeline: Pipeline, only: Callable[[Work], bool]) -> list[dict[str, Any]]:
    """Return what `only` lets pass of what has to go and waits; its reason says for what."""
    from stream_assets.cli.facts.work import work_facts
    from stream_assets.core.planning import held

    return [work_facts(work, pipeline.calendar) for work in held(pipeline.rule()) if only(work)]


def done_facts(works: list[dict[str, Any]], held: list[dict[str, Any]], said: str) -> dict[str, Any]:
    """Return works, what waits, how many partitions failed, and what is `said` where nothing was done."""
    failed = sum(r["failed"] for w in works for r in w["reports"])
    return {"work": works, "waiting": held, "failed": failed, "said": said}
