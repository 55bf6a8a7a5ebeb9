"""What writers do: small pieces of work by the doors that automations, cron and people use, over and over."""

from __future__ import annotations

import json
import os
import random
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from stream_assets.core.planning import HEAL
from stream_assets.core.window import GRID, TimeWindow, floor_to_grid
from stream_assets.errors import StreamAssetsError
from stream_assets.lake.ledger import work
from stream_assets.lake.publish import KEEP_REPLACED, Publisher, sweep
from stream_assets.pipeline import Pipeline, site
from stream_assets.pipeline import pipeline as doors
from stream_assets.pipeline.project import Project, Stream
from stream_assets_tests.chaos.consumers import declared
from stream_assets_tests.chaos.source import Shop
from stream_assets_tests.chaos.weather import RATE, Weather

PAUSE = 1.2
"""Seconds between two pieces of work of one writer, on average: few of them are at work at once."""
LEASE = timedelta(minutes=4)


@dataclass(frozen=True)
class Run:
    """One run: where its lake and its logs are, and what its processes share."""

    seed: int
    lake: Path
    logs: Path
    shop: Shop
    weather: Weather
    start: str

    def project(self, lake: Path | None = None) -> Project:
        return Project((Stream("events", source=self.shop, max_readers=4),), str(lake or self.lake), start=self.start)

    def note(self, name: str, *lines: object) -> None:
        """Add lines to a log, in one step each; it lies outside of the lake's disk."""
        descriptor = os.open(self.logs / f"{name}.jsonl", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        for line in lines:
            os.write(descriptor, json.dumps(line).encode() + b"\n")
        os.close(descriptor)

    def noted(self, name: str) -> list[list]:
        path = self.logs / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def hasten(run: Run) -> None:
    """Bring what is measured in the machine's own time to the run's, and note what is published; before any child is there.

    Leases are longer than they would be at this rate, since so many processes wait for a processor.
    """
    work.LEASE, site.READER_LEASE = LEASE, LEASE
    site.SIGN_OF_LIFE = LEASE / 3 / RATE
    # Files have the machine's own times.
    doors.sweep = lambda layout, now: sweep(layout, real_now() + KEEP_REPLACED - KEEP_REPLACED / RATE)
    commit = Publisher.commit

    def noting(publisher: Publisher, *others: Any) -> list:
        facts = [_facts(s.receipt) for s in publisher._staged]
        run.note("tried", *facts)
        receipts = commit(publisher, *others)
        run.note("committed", *(f[:3] for f in facts))
        return receipts

    Publisher.commit = noting


def real_now():
    from stream_assets.core.clock import SystemClock

    return SystemClock().now()


def _facts(receipt) -> list:
    windows = [[f.start.isoformat(), f.rows, str(f.digest)] for f in receipt.windows]
    return [receipt.table, receipt.span.start.isoformat(), receipt.revision, receipt.rows, str(receipt.digest), windows]


class Writer:
    """One process; draws what it does next. A killed one is followed by another of another number."""

    def __init__(self, run: Run, number: int) -> None:
        self.run = run
        self.draw = random.Random(f"{run.seed} writer {number}")
        self.epoch = -1
        self.pipeline: Pipeline

    def live(self) -> None:
        os.nice(5)
        time.sleep(self.draw.uniform(0, PAUSE))
        while not self.run.weather.is_over:
            do = self.draw.choices(list(_DOINGS), list(_DOINGS.values()))[0]
            self.attempt(do)
            time.sleep(self.draw.expovariate(1 / PAUSE))

    def attempt(self, do: Callable[[Writer], object]) -> None:
        try:
            epoch = int(self.run.weather.get("epoch"))
            if epoch != self.epoch:
                self.pipeline = self.run.project().open(declared(self.run.seed, epoch), self.run.weather)
                self.epoch = epoch
            do(self)
            self.run.note("done", [do.__name__])
        except StreamAssetsError as error:
            self.run.note("refused", [do.__name__, type(error).__name__, str(error)])
        except Exception:
            self.run.note("raised", [do.__name__, traceback.format_exc()])

    # What automations do.

    def tick(self, automation: str) -> None:
        for asked, lease in self.pipeline.request(automation)[1]:
            self.pipeline.run_work(asked, lease.id)

    def cadence(self) -> None:
        cadences = self.pipeline.declarations.cadences
        self.tick(self.draw.choice(cadences).name)

    def heal(self) -> None:
        self.tick(HEAL)

    def cron(self) -> None:
        list(self.pipeline.run(rounds=self.draw.randint(1, 3)))

    # What people do.

    def by_hand(self, table: str, span: TimeWindow) -> None:
        with self.pipeline.running(table, span, reason="chaos") as running:
            self.pipeline.fill(table, span, running)

    def windows(self) -> None:
        """Fill a range of windows of the stream, or of a consumer, up to now."""
        table = self.draw.choice(["events", "events", "dashboard", "busiest"])
        end = floor_to_grid(self.pipeline.clock.now()) - GRID * min(self.draw.randint(0, 5), self.draw.randint(0, 300))
        span = TimeWindow(end - GRID * self.draw.randint(1, 12), end)
        self.by_hand(table, span.clip(self.everything))

    def days(self) -> None:
        """Fill days from the source, or of a consumer: a backfill where they are several."""
        table = self.draw.choice(["events_daily", "report", "features"])
        days = self.pipeline.calendar.days(self.everything)
        last = self.draw.randrange(len(days))
        self.by_hand(table, TimeWindow(days[max(0, last - self.draw.randint(0, 2))].start, days[last].end))

    def backfill(self) -> None:
        """Fill everything of a closed day in order, as a backfill of a selection does."""
        days = self.pipeline.calendar.days(self.everything)
        day = self.draw.choice(days[:-1] or days)
        for table in ("events_daily", "report", "features"):
            self.by_hand(table, day)

    def refresh(self) -> None:
        name = "report"
        code = self.pipeline.declarations.consumer(name).code
        made = self.pipeline.lake.ledger.made_by_other_code({name: code}, self.pipeline.lake.start)
        for span in made.get(name, ()):
            self.by_hand(name, span)

    def retry(self) -> None:
        for name in self.pipeline.lake.ledger.work.failures():
            self.pipeline.lake.ledger.work.clear_failures(name, self.everything)

    def opens_again(self) -> None:
        self.epoch = -1

    @property
    def everything(self) -> TimeWindow:
        return TimeWindow(self.pipeline.lake.start, self.pipeline.calendar.day_around(self.pipeline.clock.now()).end)


_DOINGS: dict[Callable[[Writer], object], float] = {
    Writer.cadence: 10, Writer.heal: 4, Writer.cron: 3, Writer.windows: 4, Writer.days: 1, Writer.backfill: 0.5,
    Writer.refresh: 0.3, Writer.retry: 1, Writer.opens_again: 1,
}  # fmt: skip
