"""What a run comes to: what readers saw against what was committed, and in the end the lake against the truth."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
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
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_KEYS = ("day", "window_start", "country")
ROUNDS = 10


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
    # Whatever a writer was told is published, the ledger still knows.
    acknowledged = {tuple(fact) for fact in run.noted("committed")}
    verdict.forgotten = len(acknowledged - {c[:3] for c in committed})


def settle(run: Run, epoch: int, lake: Path | None = None) -> Pipeline:
    """Let the pipeline work without any fault until nothing is due; a lake elsewhere is made at once.

    What arrived last heals an hour later at most, and every day of the run is closed in the end.
    """
    clock = SettableClock(run.weather.world())
    pipeline = run.project(lake).open(declared(run.seed, epoch), clock)
    tomorrow = pipeline.calendar.day_around(clock.now()).end
    end = tomorrow + 4 * HOUR
    instants = [end] if lake else [clock.now() + 2 * HOUR, clock.now() + 3.2 * HOUR, tomorrow + 2 * HOUR, end]
    for instant in instants:
        clock.set(instant)
        _work(pipeline)
    return pipeline


def _work(pipeline: Pipeline) -> None:
    """Do all that is due now, also what has failed for good, and what other code made."""
    ledger = pipeline.lake.ledger
    for _ in range(ROUNDS):
        done = list(pipeline.run())
        refresh(pipeline)
        standing = ledger.work.failures()
        for table in standing:
            ledger.work.clear_failures(table, everything(pipeline))
        if not done and not standing:
            return


def refresh(pipeline: Pipeline) -> None:
    """Make again what other code made, as `stream-assets refresh` does."""
    codes = {consumer.name: consumer.code for consumer in pipeline.declarations.consumers}
    made = pipeline.lake.ledger.made_by_other_code(codes, pipeline.lake.start)
    for name in (n for n in codes if n in made):
        for span in made[name]:
            with pipeline.running(name, span) as running:
                pipeline.fill(name, span, running)


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
    found = verify(pipeline.site, [*pipeline.declarations.tables], span, is_deep=True)
    verdict.differences += [f"{d.check} {d.table} {d.span}: {d.said}" for d in found.differences]
    left = {
        t: r for t, r in pipeline.lake.ledger.reopened.all().items() if any(i.span.end <= span.end - DAY for i in r)
    }
    verdict.differences += [f"{t} is still reopened in {r[0].span}: {r[0].reason}" for t, r in left.items()]


def judge_tables(run: Run, pipeline: Pipeline, fresh: Pipeline, verdict: Verdict) -> None:
    """Compare every consumer's closed days with those of a lake made at once, by the same code and freshness.

    How far an open day goes depends on the freshness it was made by.
    """
    for table in TABLES:
        ours, theirs = (_rows(p, table) for p in (pipeline, fresh))
        try:
            pd.testing.assert_frame_equal(ours, theirs, check_dtype=False, rtol=1e-9, atol=1e-6)
        except AssertionError as error:
            pairs = ours.merge(theirs, how="outer", on=[c for c in _KEYS if c in ours], indicator=True)
            run.note("other", [table, str(error), pairs[pairs._merge != "both"].to_string()])
            verdict.differences.append(f"{table} is not that of a lake made at once: {str(error).splitlines()[0]}")


def _rows(pipeline: Pipeline, table: str) -> pd.DataFrame:
    closed = TimeWindow(pipeline.lake.start, everything(pipeline).end - DAY)
    rows = pipeline.lake.read(table, closed, keys=True).to_pandas()
    return rows.sort_values([c for c in _KEYS if c in rows]).reset_index(drop=True)
