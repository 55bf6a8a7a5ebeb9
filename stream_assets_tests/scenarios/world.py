"""A whole project with a clock that the test owns: sources, lake, consumers, and the automations as Dagster calls them."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_assets.core.cadence import DAY_MARGIN
from stream_assets.core.declaration import Consumer, DriftPolicy
from stream_assets.core.freshness import parse_duration
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import HEAL, Plan, Work
from stream_assets.core.receipt import Receipt
from stream_assets.core.window import TimeWindow
from stream_assets.lake.publish import Publisher
from stream_assets.pipeline.outcome import Report
from stream_assets.pipeline.pipeline import Pipeline
from stream_assets.pipeline.project import Project, Stream
from stream_assets.pipeline.promises import Standing, standings
from stream_assets.testing import SettableClock
from stream_assets_tests.scenarios.shop import Shop

LOOK = timedelta(seconds=10)
BEAT = timedelta(seconds=5)
"""Automations look this long after a window has settled."""


class World:
    """One project at work. Times are of the lake's zone: `14:37` is the next one, `2026-03-10 14:37` any."""

    def __init__(
        self,
        folder: Path,
        *consumers: Consumer,
        now: str,
        sources: Mapping[str, Any] | None = None,
        start: str | None = None,
        zone: str = "UTC",
        end: str | None = None,
        max_readers: int = 2,
        drift: DriftPolicy = "evolve",
        **keep: str,
    ) -> None:
        self.sources: dict[str, Any] = dict(sources or {"events": Shop()})
        self.folder = folder
        streams = tuple(
            Stream(n, source=s, end=end, max_readers=max_readers, drift=drift, **keep) for n, s in self.sources.items()
        )
        self.project = Project(streams, lake=str(folder), timezone=zone, start=start)
        self.clock = SettableClock(datetime(2000, 1, 1, tzinfo=UTC))
        self.stopped: frozenset[str] = frozenset()
        self.done: list[tuple[Work, list[Report]]] = []
        from stream_assets.core.window import Calendar

        self.calendar = Calendar(zone)
        self.clock.set(self.instant(now))
        self.define(*consumers)

    @property
    def shop(self) -> Shop:
        """The source of the stream `events`."""
        return self.sources["events"]

    @property
    def now(self) -> datetime:
        return self.clock.now()

    # What people do.

    def define(self, *consumers: Consumer) -> World:
        """Load the project with these consumers, as after a change of the code."""
        self.pipeline: Pipeline = self.project.open(consumers, self.clock)
        return self

    def stop(self, *automations: str) -> World:
        self.stopped = frozenset(automations)
        return self

    def by_hand(self, table: str, start: str, end: str | None = None, *, accepts_loss: bool = False) -> Report:
        """Materialise a range, as a click or the command line does."""
        span = self.pipeline.range(table, start, end)
        with self.pipeline.running(table, span, accepts_loss=accepts_loss) as running:
            return self.pipeline.fill(table, span, running)

    def retry(self, table: str) -> int:
        span = TimeWindow(self.pipeline.lake.start, self.now)
        return self.pipeline.lake.ledger.work.clear_failures(table, span)

    @contextmanager
    def before_commit(self, table: str, happens: Callable[[], object]) -> Iterator[None]:
        """Let something happen once, after the next publication of `table` has read its inputs and before it is committed."""
        commit, left = Publisher.commit, [happens]

        def late(publisher: Publisher, *others: Any) -> list[Receipt]:
            if left and table in publisher.tables:
                left.pop()()
            return commit(publisher, *others)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Publisher, "commit", late)
            yield
        assert not left, f"{table} was not published"

    # Time and automations.

    def instant(self, text: str) -> datetime:
        """Read `2026-03-10 14:37`, `2026-03-10`, or a time of day: the next one."""
        if re.match(r"\d{4}-", text):
            return self.calendar.instant(text.replace(" ", "T"))
        zone = self.now.astimezone(_zone(self.calendar.zone))
        for days in (0, 1):
            local = datetime.combine(zone.date() + timedelta(days=days), time.fromisoformat(text), zone.tzinfo)
            if local >= self.now:
                return local.astimezone(UTC)
        raise AssertionError(text)

    def at(self, text: str) -> World:
        """Let nothing happen until then."""
        then = self.instant(text)
        assert then >= self.now, f"{then} is before {self.now}"
        self.clock.set(then)
        return self

    def plan(self) -> Plan:
        self.pipeline.observe()
        return self.pipeline.plan(self.stopped)

    def tick(self, automation: str) -> list[Work]:
        """Let one automation look, and do the runs that it asks for, as Dagster does: no run stops another."""
        _, requests = self.pipeline.request(automation, self.stopped)
        for work, lease in requests:
            self.done.append((work, self.pipeline.run_work(work, lease.id, run_id=f"run-{lease.id}")))
        return [work for work, _ in requests]

    def ticks(self) -> list[Work]:
        """Let every automation look once at this moment: batch ones only at their time of the day."""
        works: list[Work] = []
        for cadence in self.pipeline.declarations.cadences:
            if cadence.name not in self.stopped and (not cadence.is_batch or self._is_turn(cadence.step)):
                works += self.tick(cadence.name)
        return works if HEAL in self.stopped else works + self.tick(HEAL)

    def _is_turn(self, step: timedelta) -> bool:
        return timedelta(0) <= self.now - self._turn(self.calendar.day_of(self.now)) < 2 * BEAT

    def _turn(self, day: date) -> datetime:
        settling = max(s.settling for s in self.pipeline.declarations.streams)
        return self.calendar.midnight(day) + settling + DAY_MARGIN + BEAT

    def live(self, until: str, every: str = "5 min") -> list[Work]:
        """Let time pass with Dagster running: automations look just after every `every` has settled, until nothing is due.

        They look again ten seconds after work, as the sensors do.
        """
        then, step = self.instant(until), parse_duration(every)
        works: list[Work] = []
        settling = max(s.settling for s in self.pipeline.declarations.streams)
        while (following := self._next_look(step, settling)) <= then:
            self.clock.set(following)
            while asked := self.ticks():
                works += asked
                self.clock.advance(LOOK)
        self.clock.set(max(then, self.now))
        return works

    def _next_look(self, step: timedelta, settling: timedelta) -> datetime:
        midnight = self.calendar.day_around(self.now - settling - BEAT).start
        done = (self.now - settling - BEAT - midnight) // step
        look = midnight + step * (done + 1) + settling + BEAT
        turns = [self._turn(self.calendar.day_of(self.now) + timedelta(days=n)) for n in (0, 1)]
        return min([look, *(t for t in turns if t > self.now)])

    def run(self) -> list[Work]:
        """Do everything that is due, as `stream-assets run` does."""
        found = list(self.pipeline.run())
        self.done += found
        return [work for work, _ in found]

    # What can be seen.

    def standing(self, name: str) -> Standing:
        self.pipeline.observe()
        return next(s for s in standings(self.pipeline.site, self.pipeline.state()) if s.consumer.name == name)

    def lag(self, name: str) -> timedelta:
        return self.standing(name).lag

    def receipts(self, table: str) -> dict[str, Receipt]:
        """Return the receipts of all present partitions by key."""
        grain = self.pipeline.table(table).grain
        return {self.calendar.key(c.span, grain): c.receipt for c in self._current(table)}

    def revisions(self, table: str) -> dict[str, int]:
        return {key: receipt.revision for key, receipt in self.receipts(table).items()}

    def _current(self, table: str) -> list[Any]:
        everything = TimeWindow(self.pipeline.lake.start, self.now + timedelta(days=2))
        return self.pipeline.lake.ledger.current(table, everything)

    def coverage(self, table: str) -> Intervals:
        return self.pipeline.lake.ledger.coverage(table)

    def table(self, name: str, upto: str | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a table with the keys of their partitions, sorted: what two lakes are compared by."""
        everything = TimeWindow(self.pipeline.lake.start, self.instant(upto) if upto else self.now + timedelta(days=2))
        rows = self.pipeline.lake.read(name, everything, keys=not self.pipeline.declarations.is_stream(name))
        return sorted(tuple(sorted(row.items())) for row in rows.to_pylist())

    def ids(self, stream: str = "events") -> list[str]:
        """Return the ids of all events that can be read, each as often as it is there."""
        everything = TimeWindow(self.pipeline.lake.start, self.now + timedelta(days=2))
        rows = self.pipeline.lake.read(stream, everything)
        return sorted(rows["event_id"].to_pylist()) if rows.num_rows else []

    def failures(self, table: str) -> list[str]:
        return [f.error for f in self.pipeline.lake.ledger.work.failures().get(table, ())]

    def says(self, automation: str) -> str:
        return self.plan().says[automation]


def at_freshness(consumer: Consumer, freshness: str) -> Consumer:
    """Return the same consumer with another freshness."""
    return replace(consumer, freshness=parse_duration(freshness))


def ranges(works: Iterable[Work]) -> list[str]:
    """Say works in short: `events+orders 00:00-14:35`, or of days `events_daily 03-08..03-09`."""
    return [_said(work) for work in works]


def _said(work: Work) -> str:
    names = "+".join(work.tables)
    if work.grain == "day":
        return f"{names} {work.span.start:%m-%d %H:%M} {work.span.end:%m-%d %H:%M}"
    return f"{names} {work.span.start:%m-%d %H:%M} {work.span.end:%m-%d %H:%M}"


def written(source: str, tmp_path: Path, name: str) -> Callable[[str], Consumer]:
    """Return what writes a consumer's file anew and loads it, as an editor and a reload do."""
    from stream_assets.pipeline.project import find_consumers

    count = iter(range(1000))

    def load(body: str) -> Consumer:
        folder = tmp_path / f"{name}-{next(count)}"
        folder.mkdir()
        (folder / f"{name}.py").write_text(inspect.cleandoc(source) + "\n\n" + textwrap.dedent(body))
        return next(c for c in find_consumers(str(folder)) if c.name == name)

    return load


def _zone(name: str) -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)
