"""What a run comes to: what readers saw against what was committed, and in the end the lake against the truth."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa

from stream_assets.core.window import TimeWindow
from stream_assets.pipeline import Pipeline
from stream_assets.pipeline.verify import verify
from stream_assets.sources.generate import generate
from stream_assets.testing import SettableClock
from stream_assets_tests.chaos.consumers import declared
from stream_assets_tests.chaos.readers import key_of
from stream_assets_tests.chaos.writers import Run

TABLES = ("dashboard", "busiest", "report", "features")
HOUR = timedelta(hours=1)
ROUNDS = 40


@dataclass
class Verdict:
    """What must not be: events lost and doubled, readings that nobody published, and differences that verify finds."""

    lost: int = 0
    doubled: int = 0
    changed: int = 0
    torn: int = 0
    withdrawn: int = 0
    forgotten: int = 0
    publications: int = 0
    differences: list[str] = field(default_factory=list)


def judge_readings(run: Run, pipeline: Pipeline, verdict: Verdict) -> None:
    """Compare every content that a reader saw with what was committed of that partition at any time.

    What was put in place and taken back, since the disk was full at the commit, is counted apart: it was whole.
    """
    rows = pipeline.lake.ledger.database.rows(
        "select tbl, key_start, revision, rows, digest from publication where kind in ('published', 'adopted')"
    )
    committed = {(r["tbl"], r["key_start"], r["revision"], r["rows"], r["digest"]) for r in rows}
    verdict.publications = len(committed)
    known = defaultdict[tuple[str, str], set[tuple[int, str]]](set)
    tried = defaultdict[tuple[str, str], set[tuple[int, str]]](set)
    for table, start, revision, count, digest, windows in run.noted("tried"):
        there = (known, tried) if (table, start, revision, count, digest) in committed else (tried,)
        for found in there:
            found[table, key_of(table, start)].add((count, digest))
            for window, n, part in windows:
                found["events", key_of("events", window)].add((n, part))
    for kind, table, key, count, digest in run.noted("seen"):
        if (count, digest) in known[table, key]:
            continue
        if (count, digest) in tried[table, key]:
            verdict.withdrawn += 1
            continue
        verdict.torn += 1
        run.note("torn", [kind, table, key, count, digest])
    acknowledged = {tuple(fact) for fact in run.noted("committed")}
    verdict.forgotten = len(acknowledged - {c[:3] for c in committed})


def settle(run: Run, epoch: int, lake: Path | None = None, at: datetime | None = None) -> Pipeline:
    """Let the pipeline work without any fault until nothing is due, however late: closed days heal once an hour.

    Args:
        at: the instant at which it ends; by default so many hours later that all is done.
    """
    clock = SettableClock(at or run.weather.world() + timedelta(hours=2))
    pipeline = run.project(lake).open(declared(run.seed, epoch), clock)
    ledger = pipeline.lake.ledger
    for _ in range(ROUNDS):
        done = list(pipeline.run())
        refresh(pipeline)
        standing = ledger.work.failures()
        for table in standing:
            ledger.work.clear_failures(table, everything(pipeline))
        if done or standing:
            continue
        if not pipeline.state().in_flight and not ledger.reopened():
            break
        if at is None:
            clock.advance(HOUR)
    return pipeline


def refresh(pipeline: Pipeline) -> None:
    """Make again what other code made, as `stream-assets refresh` does."""
    for consumer in pipeline.declarations.consumers:
        for span in pipeline.lake.ledger.made_by_other_code(consumer.name, consumer.code, pipeline.lake.start):
            with pipeline.running(consumer.name, span) as running:
                pipeline.fill(consumer.name, span, running)


def everything(pipeline: Pipeline) -> TimeWindow:
    return TimeWindow(pipeline.lake.start, pipeline.calendar.day_around(pipeline.clock.now()).end)


def judge_lake(run: Run, pipeline: Pipeline, verdict: Verdict) -> None:
    """Compare the lake with what the generator says has arrived, and with itself."""
    span = everything(pipeline)
    batches = list(generate(run.shop.events, span, run.weather.world()))
    truth = pa.Table.from_batches(batches).to_pandas()
    truth = truth.sort_values("arrival_time", kind="stable").drop_duplicates("event_id", keep="last")
    covered = pipeline.lake.ledger.coverage("events") | pipeline.lake.ledger.coverage("events_daily")
    end = covered.unbroken_from(span.start)
    truth = truth[truth.event_time < end].set_index("event_id")
    for table in ("events", "events_daily"):
        there = pipeline.lake.read(table, span).to_pandas()
        wanted = truth
        if table == "events_daily":
            days = pipeline.lake.ledger.coverage(table)
            wanted = truth[[any(t in s for s in days) for t in truth.event_time.dt.to_pydatetime()]]
        verdict.lost += len(wanted.index.difference(there.event_id))
        verdict.doubled += len(there) - there.event_id.nunique()
        once = there.drop_duplicates("event_id").set_index("event_id")
        both = once.index.intersection(wanted.index)
        same = once.loc[both, wanted.columns].eq(wanted.loc[both]).all(axis=1)
        verdict.changed += int((~same).sum()) + len(once.index.difference(truth.index))
    found = verify(pipeline.site, [*pipeline.declarations.tables], span)
    verdict.differences += [f"{d.check} {d.table} {d.span}: {d.said}" for d in found.differences]
    # Nothing is due, so nothing is "on its way" either.
    whole = pipeline.lake.ledger.database.row("pragma quick_check")
    if whole is None or whole[0] != "ok":
        verdict.differences.append(f"ledger: {whole and whole[0]}")


def judge_tables(run: Run, pipeline: Pipeline, fresh: Pipeline, verdict: Verdict) -> None:
    """Compare every consumer's table with that of a lake that was made at once, by the same code and freshness."""
    for table in TABLES:
        ours, theirs = (_rows(p, table) for p in (pipeline, fresh))
        try:
            pd.testing.assert_frame_equal(ours, theirs, check_dtype=False, rtol=1e-9, atol=1e-6)
        except AssertionError as error:
            verdict.differences.append(f"{table} is not that of a lake made at once: {error}")


def _rows(pipeline: Pipeline, table: str) -> pd.DataFrame:
    rows = pipeline.lake.read(table, everything(pipeline), keys=True).to_pandas()
    keys = [c for c in ("day", "window_start", "country") if c in rows.columns]
    return rows.sort_values(keys).reset_index(drop=True)
