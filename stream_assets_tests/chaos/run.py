"""One run: starts the processes, lets things go wrong for its time, and judges what came of it."""

from __future__ import annotations

import gc
import importlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets_tests.chaos.consumers import declared
from stream_assets_tests.chaos.disk import Disk
from stream_assets_tests.chaos.judge import Verdict, judge_lake, judge_readings, judge_tables, settle
from stream_assets_tests.chaos.readers import ENGINES, LEDGER_READERS, READERS, Reader
from stream_assets_tests.chaos.source import UNAVAILABLE, WRONG, Shop
from stream_assets_tests.chaos.weather import RATE, Weather
from stream_assets_tests.chaos.writers import LEASE, Run, Writer, hasten
from stream_assets_tests.lake.processes import start as fork

WRITERS = 20
BEGINS = datetime(2026, 3, 11, 22, 30, tzinfo=UTC)
FIRST_DAYS = ("2026-03-10", "2026-03-11")
"""A run of a minute or more has a closed day before it begins."""
LOOK = 0.02
LOADED = (
    "duckdb", "pandas", "polars", "pyarrow.compute", "pyarrow.dataset", "pyarrow.parquet", "stream_assets.pipeline.consume",
    "stream_assets.pipeline.ingest", "stream_assets.sources.generate", "numpy",
)  # fmt: skip
"""What children need is loaded before any is there, so that a killed one costs milliseconds."""

EVERY: dict[str, float] = {
    "kill": 0.7, "stop": 6.0, "hour": 20.0, "leap": 15.0, "silence": 18.0, "full": 25.0, "declare": 12.0
}  # fmt: skip
"""Seconds between two of a kind, on average; a run of less than a minute is a denser one."""
DENSEST = 0.4
PUBLISHED = 20


@dataclass
class Storm:
    """Everything that goes wrong, drawn from the seed; what it begins it also ends."""

    run: Run
    disk: Disk
    draw: random.Random
    density: float
    writers: dict[int, int] = field(default_factory=dict)
    stopped: dict[int, float] = field(default_factory=dict)
    ends: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(EVERY, 0))
    number: int = 0

    def writer(self) -> None:
        self.number += 1
        self.writers[fork(Writer(self.run, self.number).live)] = self.number

    def pass_by(self, seconds: float) -> None:
        """Let it blow for so long, and until everybody has met it; whoever dies is followed by another."""
        last = time.monotonic()
        end = last + seconds
        while (now := time.monotonic()) < end or not self.has_met_all():
            for kind, every in EVERY.items():
                if self.draw.random() < (now - last) / (every * self.density):
                    getattr(self, kind)(now)
                    self.counts[kind] += 1
            last = now
            due = [e for e in self.ends if e[0] <= now]
            self.ends = [e for e in self.ends if e[0] > now]
            for _, stop in due:
                stop()
            self.reap()
            while len(self.writers) < WRITERS:
                self.writer()
            time.sleep(LOOK)
        for _, stop in self.ends:
            stop()

    def has_met_all(self) -> bool:
        """Whether every reader has read, and writers have published something, however slow the machine is."""
        return len(self.run.noted("reads")) == len(READERS) and len(self.run.noted("committed")) > PUBLISHED

    def reap(self) -> None:
        for child in list(self.writers):
            if os.waitpid(child, os.WNOHANG)[0]:
                self.writers.pop(child)
                self.stopped.pop(child, None)

    def later(self, now: float, low: float, high: float, stop: Callable[[], object]) -> None:
        self.ends.append((now + self.draw.uniform(low, high), stop))

    # What goes wrong.

    def kill(self, now: float) -> None:
        os.kill(self.draw.choice(list(self.writers)), signal.SIGKILL)

    def stop(self, now: float) -> None:
        """Stop a writer for up to three times its lease."""
        child, number = self.draw.choice(list(self.writers.items()))
        os.kill(child, signal.SIGSTOP)

        def wake() -> None:
            if self.writers.get(child) == number:
                os.kill(child, signal.SIGCONT)

        lease = LEASE.total_seconds() / RATE
        self.later(now, lease / 2, 3 * lease, wake)

    def hour(self, now: float) -> None:
        """Set the machine's clock wrong by an hour, and right again after a while: one of the two goes back."""
        self.run.weather.set("wrong", self.draw.choice([3600.0, 3600.0, -3600.0, 1200.0]))
        self.later(now, 1, 8, lambda: self.run.weather.set("wrong", 0))

    def leap(self, now: float) -> None:
        """Let the world go on without anybody at work, as while a machine sleeps."""
        self.run.weather.add("ahead", self.draw.choice([600, 1800, 3600, 3 * 3600]))

    def silence(self, now: float) -> None:
        self.run.weather.set("silence", self.draw.choice([UNAVAILABLE, UNAVAILABLE, WRONG]))
        self.later(now, 0.5, 5, lambda: self.run.weather.set("silence", 0))

    def full(self, now: float) -> None:
        self.disk.fill()
        self.later(now, 0.3, 3, self.disk.empty)

    def declare(self, now: float) -> None:
        self.run.weather.add("epoch", 1)


def end_all(storm: Storm, readers: dict[int, str]) -> None:
    """End every process: readers say what they counted, writers are killed wherever they are."""
    storm.run.weather.set("ended", 1)
    for child in storm.writers:
        os.kill(child, signal.SIGKILL)
    for child in [*storm.writers, *readers]:
        os.waitpid(child, 0)


def chaos(seed: int, minutes: float, keep: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Run for so long and return the figures. The lake and the logs stay in `keep` where something was wrong."""
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="chaos-"))
    (work / "logs").mkdir()
    (work / "disk").mkdir()
    disk = Disk(work / "disk", work / "image")
    weather = Weather(BEGINS)
    events = SyntheticEvents(rate=0.2, seed=seed, late_share=0.02, duplicate_share=0.05, quiet="")
    run = Run(seed, work / "disk" / "lake", work / "logs", Shop(events, weather), weather, FIRST_DAYS[minutes < 1])
    hasten(run)
    for module in LOADED:
        importlib.import_module(module)
    gc.freeze()
    pipeline = run.project().open(declared(seed, 0), weather)
    list(pipeline.run())
    pipeline.lake.ledger.database.close()
    (run.logs / "committed.jsonl").unlink()
    storm = Storm(run, disk, random.Random(f"{seed} storm"), max(DENSEST, min(1.0, minutes)))
    readers = {fork(Reader(run, kind).live): kind for kind in READERS}
    try:
        storm.pass_by(minutes * 60)
    finally:
        end_all(storm, readers)
        disk.empty()
    say(f"{time.monotonic() - began:.0f} s: all faults are over; the pipeline works until nothing is due")
    for slot in ("wrong", "silence"):
        weather.set(slot, 0)
    weather.freeze()
    verdict = Verdict()
    epoch = int(weather.get("epoch"))
    pipeline = settle(run, epoch)
    say(f"{time.monotonic() - began:.0f} s: the lake is judged")
    judge_readings(run, pipeline, verdict)
    judge_lake(run, pipeline, verdict)
    fresh = settle(run, epoch, work / "fresh")
    judge_tables(run, pipeline, fresh, verdict)
    figures = count(run, storm, disk, verdict, seed, minutes)
    for closed in (pipeline, fresh):
        closed.lake.ledger.database.close()
    if not figures["good"]:
        shutil.copytree(run.lake, keep / "lake", dirs_exist_ok=True)
        shutil.copytree(run.logs, keep / "logs", dirs_exist_ok=True)
        figures["kept"] = str(keep)
    disk.unmount()
    shutil.rmtree(work, ignore_errors=True)
    return figures


def count(run: Run, storm: Storm, disk: Disk, verdict: Verdict, seed: int, minutes: float) -> dict[str, Any]:
    """Return all figures by name."""
    polled = dict(run.noted("polled"))
    sums = {
        what: {kind: polled.get(kind, {}).get(what, 0) for kind in READERS}
        for what in ("polls", "not found", "missed", "errors")
    }
    by_ledger = sum(sums[what][kind] for what in ("not found", "missed", "errors") for kind in LEDGER_READERS)
    raised = run.noted("raised")
    figures: dict[str, Any] = {
        "seed": seed, "minutes": minutes, "kills": storm.counts["kill"], "stops": storm.counts["stop"],
        "clock_jumps": 2 * storm.counts["hour"] + storm.counts["leap"], "outages": storm.counts["silence"],
        "full_disks": storm.counts["full"] if disk.is_small else 0, "declarations": storm.counts["declare"],
        "publications": verdict.publications, "done": len(run.noted("done")), "refused": len(run.noted("refused")),
        "raised": len(raised), "polls": sum(sums["polls"].values()),
        "not_found": sum(sums["not found"][kind] for kind in ENGINES),
        "missed": sum(sums["missed"][kind] for kind in ENGINES),
        "engine_errors": sum(sums["errors"][kind] for kind in ENGINES), "by_ledger_wrong": by_ledger,
        **{k: v for k, v in asdict(verdict).items() if k not in ("publications", "differences")},
        "differences": verdict.differences, "polls_of_each": sums["polls"],
    }  # fmt: skip
    zero = ("lost", "doubled", "changed", "torn", "forgotten", "by_ledger_wrong", "raised", "engine_errors")
    figures["good"] = not verdict.differences and not any(figures[name] for name in zero)
    return figures
