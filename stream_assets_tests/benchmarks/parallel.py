"""A backfill of many days in two runs at once, as two run workers do it, with live ticks all the while."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_assets.core.clock import SystemClock
from stream_assets_tests.benchmarks.child import Stopwatch, call
from stream_assets_tests.benchmarks.figure import Figure, median
from stream_assets_tests.benchmarks.settings import Settings

if TYPE_CHECKING:
    from stream_assets.pipeline import Pipeline

NAME = "parallel"
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY, WINDOW = timedelta(days=1), timedelta(minutes=5)
RUNS = 2
READERS = 3
"""One more than there are runs: the last place of a source is kept for live work."""
RATE = 5.0
EVERY = 2.0
"""Seconds from one live tick to the next."""
LOOK = timedelta(seconds=10)


def measure(settings: Settings) -> list[Figure]:
    """Fill the same days in one run, and in two at once, in turn; count who reads the source meanwhile."""
    days = 4 if settings.rounds == 1 else 20
    rate = min(RATE, settings.rate)
    seconds: dict[int, list[float]] = {1: [], RUNS: []}
    cpu_seconds: dict[int, list[float]] = {1: [], RUNS: []}
    alone: list[float] = []
    beside: list[float] = []
    readers = 0
    for number in range(min(settings.rounds, 2)):
        for runs, taken in seconds.items():
            lake = settings.scratch / f"parallel-{number}-{runs}"
            shared = {"lake": str(lake), "rate": rate, "days": days, "offset": _offset(days)}
            alone += call("parallel", "live", **shared, ticks=5)["seconds"]
            with _most_readers(lake) as most:
                ended, ticks = _filled(shared, runs, settings.scratch / f"done-{number}-{runs}")
            taken.append(max(run["ended"] for run in ended) - min(run["began"] for run in ended))
            cpu_seconds[runs].append(sum(run["cpu_seconds"] for run in ended))
            beside += ticks
            readers = max(readers, *most)
    if readers > READERS:
        raise SystemExit(f"parallel: {readers} read the source at once, where {READERS} may")
    promise = call("parallel", "promised", **shared)
    # What a consumer of 5-minute freshness waits for at worst: a window, its settling, the sensor's look, and the tick.
    lags = [promise["waits"] + tick for tick in (max(beside), median(beside))]
    what = f"{days} days of {rate * 86_400:,.0f} events"
    return [
        Figure("parallel_speed", median(seconds[1]) / median(seconds[RUNS]), "x one run", None, None, f"{RUNS} runs at once, {what}, a live tick every {EVERY:g} s; more is better, {RUNS} at best"),
        Figure("parallel_time", RUNS * median(seconds[RUNS]) / median(seconds[1]), "x", None, 1.0, f"a run of half the days beside another / its share of one run alone: {RUNS} would be no gain"),
        Figure("parallel_cpu_ratio", median(cpu_seconds[RUNS]) / median(cpu_seconds[1]), "x", None, 1.1, f"processor time of {RUNS} runs at once / of one run of the same days"),
        Figure("parallel_seconds", median(seconds[RUNS]), "s", note=f"{RUNS} runs of {days // RUNS} days at once"),
        Figure("parallel_one_seconds", median(seconds[1]), "s", note=f"one run of {days} days"),
        Figure("parallel_readers", readers, "places", note=f"most that were taken at once, of {READERS}"),
        Figure("parallel_live_lag", lags[0] / promise["limit"], "x the promise", None, 1.0, f"worst of {len(beside)} ticks: {lags[0]:.0f} s of {promise['limit']:.0f} s; median {lags[1]:.0f} s"),
        Figure("parallel_live_tick", median(beside) / median(alone), "x", note="a live tick beside the runs / alone"),
        Figure("parallel_live_tick_seconds", median(beside), "s", note="asked for to consumer published, beside the runs"),
    ]  # fmt: skip


def _filled(shared: dict[str, Any], runs: int, done: Path) -> tuple[list[dict[str, Any]], list[float]]:
    """Let runs fill their shares at once, and live ticks go on until they have; return what they say, and the seconds of each tick."""
    share = shared["days"] // runs
    with ThreadPoolExecutor(runs + 1) as pool:
        ticks: Future[dict[str, Any]] = pool.submit(call, "parallel", "live", **shared, done=str(done))
        parts = [pool.submit(call, "parallel", "fill", **shared, first=n * share, count=share) for n in range(runs)]
        try:
            ended = [part.result() for part in parts]
        finally:
            done.touch()
        return ended, ticks.result()["seconds"]


@contextmanager
def _most_readers(lake: Path) -> Iterator[list[int]]:
    """Look all the time how many places of the source are taken, by a connection of its own."""
    most, stop = [0], []

    def look() -> None:
        with closing(sqlite3.connect(f"file:{lake / '_ledger.sqlite'}?mode=ro", uri=True)) as ledger:
            while not stop:
                most.append(ledger.execute("select count(*) from reader").fetchone()[0])
                time.sleep(0.01)

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            yield most
        finally:
            stop.append(True)
            looking.result()


def fill(lake: str, rate: float, days: int, offset: float, first: int, count: int) -> dict[str, Any]:
    """Fill `count` days, as the worker of a backfill's run does, and tell when it began and ended."""
    from stream_assets.core.window import TimeWindow

    pipeline = _opened(lake, rate, days, offset)
    span = TimeWindow(START + first * DAY, START + (first + count) * DAY)
    began, watch = SystemClock().now().timestamp(), Stopwatch()
    with pipeline.running("events_daily", span) as running:
        report = pipeline.fill("events_daily", span, running)
    if report.count("published") != count:
        raise SystemExit(str(report))
    return {"began": began, "ended": SystemClock().now().timestamp(), **watch.seconds()}


def live(lake: str, rate: float, days: int, offset: float, ticks: int = 1000, done: str = "") -> dict[str, Any]:
    """Fill the next windows of the open day, one a tick, as the runs of `every_5_min` do; return the seconds of each."""
    from stream_assets.core.planning import Work
    from stream_assets.core.window import TimeWindow

    pipeline = _opened(lake, rate, days, offset)
    pipeline.observe()
    there = pipeline.lake.ledger.coverage("orders").hull
    start = there.end if there else START + days * DAY
    seconds: list[float] = []
    while len(seconds) < ticks and not (done and seconds and Path(done).exists()):
        began = time.perf_counter()
        span = TimeWindow(start, start + WINDOW)
        work = Work("every_5_min", "5 min", span, ("events", "orders"), is_catch_up=False, reason="measured")
        request = pipeline.lake.ledger.work.request(work, pipeline.clock.now())
        reports = pipeline.run_work(work, request.id)
        if [report.count("published") for report in reports] != [1, 1]:
            raise SystemExit(", ".join(map(str, reports)))
        seconds.append(time.perf_counter() - began)
        start += WINDOW
        if done:
            time.sleep(max(0.0, EVERY - seconds[-1]))
    return {"seconds": seconds}


def promised(lake: str, rate: float, days: int, offset: float) -> dict[str, Any]:
    """Return what the consumer is promised, and what of it passes before a run is asked for, in seconds."""
    declared = _opened(lake, rate, days, offset).declarations
    consumer = declared.consumers[0]
    waits = consumer.cadence.step + declared.settling(consumer.name) + LOOK
    return {"limit": declared.promise(consumer).limit.total_seconds(), "waits": waits.total_seconds()}


def _offset(days: int) -> float:
    """Return how far the processes' common clock runs from the machine's: it is noon of the day after those that are filled."""
    return (START + days * DAY + timedelta(hours=12)).timestamp() - SystemClock().now().timestamp()


def _opened(lake: str, rate: float, days: int, offset: float) -> Pipeline:
    from stream_assets.pipeline.project import Project, Stream
    from stream_assets.sources.synthetic import SyntheticEvents
    from stream_assets_tests.benchmarks.orders import orders

    class Clock:
        """Goes as the machine's does, since leases are held by time, but on the days that are filled."""

        def now(self) -> datetime:
            return SystemClock().now() + timedelta(seconds=offset)

    source = SyntheticEvents(rate=rate, late_share=0, quiet="")
    stream = Stream("events", source, max_readers=READERS)
    return Project((stream,), lake=lake, start=START.date().isoformat()).open([orders], Clock())
