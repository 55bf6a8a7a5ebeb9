"""`stream-assets run`."""

from __future__ import annotations

from typing import Any

from stream_assets.cli.options import command
from stream_assets.cli.session import Session


@command("do everything that is due, without a daemon")
def run(session: Session) -> bool:
    """Do everything that is due, without any daemon, and say what each consumer got.

    Safe to call again while another call, or Dagster, is at work: what is in flight is left alone.
    """
    from stream_assets.cli.commands.doing import do_due
    from stream_assets.cli.facts.work import got
    from stream_assets.cli.show.work import show_run

    pipeline = session.open()
    works = do_due(session, pipeline)
    silent = pipeline.observe()
    reports_of_all = [report for work in works for report in work["reports"]]
    failed = sum(report["failed"] for report in reports_of_all)
    paused = _paused(pipeline)
    facts = {
        "work": works,
        "consumers": got(reports_of_all, pipeline),
        "failed": failed,
        "notes": _notes(pipeline, failed),
        "paused": paused,
        "silent_sources": silent,
    }
    session.give(facts, show_run)
    return not failed and not silent and not paused


def _paused(pipeline: Any) -> list[dict[str, Any]]:
    """What is not tried any more before somebody does something: however often `run` is called, it ends with 1."""
    return [
        {"table": name, "start": f.span.start.isoformat(), "end": f.span.end.isoformat(), "error": f.error}
        for name, known in pipeline.state().tables.items()
        for f in known.failures
        if f.is_paused
    ]


def _notes(pipeline: Any, failed: int) -> list[str]:
    """What is not done, although nothing of it failed in this call, and what looks like a mistake."""
    from stream_assets.cli.facts.sources import is_empty

    state = pipeline.state()
    notes: list[str] = []
    if not pipeline.declarations.consumers:
        notes.append("no consumer is declared, so days of streams alone are kept: check STREAM_ASSETS_CONSUMERS")
    for stream in pipeline.declarations.streams:
        if is_empty(pipeline, stream, state):
            source = pipeline.site.sources[stream.name].describe()
            notes.append(
                f"stream {stream.name}: nothing has come yet, and windows are sealed as empty: are {source} the right ones?"
            )
    if state.in_flight:
        notes.append(f"{len(state.in_flight)} other piece(s) of work in flight elsewhere: stream-assets status")
    standing = sum(len(known.failures) for known in state.tables.values())
    if standing > failed:
        notes.append(f"{standing - failed} partition(s) failed earlier and wait: stream-assets status")
    return notes
