"""`prove`: whatever lane a consumer is served by, its table is the same, and a consumer that is not pure is caught."""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_assets import consumer
from stream_assets.core.clock import SystemClock
from stream_assets.core.declaration import Consumer
from stream_assets.core.window import TimeWindow
from stream_assets.errors import SourceUnavailable, UsageError
from stream_assets.pipeline.project import Project, Stream, find_consumers
from stream_assets.pipeline.prove import LANES as ALL_LANES
from stream_assets.pipeline.prove import Lane, Proof, newest_day, prove
from stream_assets.pipeline.prove.lanes import History
from stream_assets.pipeline.verify import verify
from stream_assets.sources.generate import SCHEMA
from stream_assets.sources.protocol import Arrivals, SourceState
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets.testing import SettableClock

if TYPE_CHECKING:
    from stream_assets.events.conform import Names
    from stream_assets.pipeline import Pipeline

DAY = datetime(2026, 3, 9, tzinfo=UTC)
NOON = DAY + timedelta(days=2, hours=12)
LANES = (Lane("batch", timedelta(days=1)), Lane("micro-batch", timedelta(hours=6)))
COUNTER = itertools.count()


@consumer(freshness="1 day", lookback="1 day", reads={"events": ["country", "amount"]})
def countries(events: pd.DataFrame) -> pd.DataFrame:
    return events.groupby("country", as_index=False).agg(orders=("amount", "count"), revenue=("amount", "sum"))


@consumer(freshness="1 day")
def best(countries: pd.DataFrame) -> pd.DataFrame:
    return countries.nlargest(1, "revenue")[["country", "revenue"]]


@consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id"]})
def counts(events: pa.Table) -> pa.Table:
    return pa.table({"events": pa.array([events.num_rows], pa.int64())})


@consumer(freshness="1 day", reads={"events": ["event_id"]})
def counting(events: pa.Table) -> pa.Table:
    return pa.table({"call": [next(COUNTER)]})


@consumer(freshness="1 day", reads={"events": ["event_id"]})
def drawing(events: pa.Table) -> pa.Table:
    return pa.table({"drawn": [random.random()]})


@consumer(freshness="1 day", reads={"events": ["event_id"]})
def looking_at_the_clock(events: pa.Table) -> pa.Table:
    return pa.table({"made_at": [SystemClock().now().isoformat()]})


def opened(tmp_path: Path, *consumers: Consumer, source: Any = None) -> Pipeline:
    source = source or SyntheticEvents(rate=0.005, late_share=0.1, quiet="")
    project = Project((Stream("events", source),), lake=str(tmp_path / "lake"), start="2026-03-09")
    made = project.open(consumers, SettableClock(NOON))
    assert all(not r.failed for _, reports in made.run() for r in reports)
    return made


def proved(pipeline: Pipeline, name: str) -> Proof:
    declared = pipeline.declarations.consumer(name)
    return prove(pipeline.site, declared, newest_day(pipeline.site, declared), lanes=LANES)


@pytest.mark.parametrize("name", ["best", "counts"])
def test_both_lanes_make_the_same_rows_of_the_same_arrivals(tmp_path: Path, name: str) -> None:
    pipeline = opened(tmp_path, countries, best, counts)
    before = pipeline.lake.ledger.seq()
    proof = proved(pipeline, name)
    assert proof.differences == ()
    batch, micro = proof.lanes
    assert batch.rows == micro.rows > 0
    assert batch.partitions == micro.partitions == {"best": 1, "counts": 288}[name]
    assert proof.late > 0
    # Late events and the growing day make the work of the one lane more, and its answer no other.
    assert micro.runs > batch.runs
    assert micro.publications > batch.publications
    assert pipeline.lake.ledger.seq() == before


@pytest.mark.parametrize("impure", [counting, drawing, looking_at_the_clock])
def test_a_consumer_that_is_not_pure_is_caught(tmp_path: Path, impure: Consumer) -> None:
    proof = proved(opened(tmp_path, impure), impure.name)
    (difference,) = proof.differences
    assert (proof.is_equal, difference.lane) == (False, "micro-batch")
    assert difference.span == TimeWindow(DAY + timedelta(days=1), DAY + timedelta(days=2))
    assert difference.rows


def test_scratch_lakes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    assert proved(opened(tmp_path, counts), "counts").is_equal
    assert list(scratch.iterdir()) == []


def test_what_has_not_closed_or_is_no_day_is_refused(tmp_path: Path) -> None:
    pipeline = opened(tmp_path, counts)
    for start, hours, said in ((DAY + timedelta(days=2), 24, "not closed yet"), (DAY, 5, "whole days")):
        with pytest.raises(UsageError, match=said):
            prove(pipeline.site, counts, TimeWindow(start, start + timedelta(hours=hours)), lanes=LANES)


def test_the_micro_batch_lane_looks_after_every_window_and_the_batch_lane_once(tmp_path: Path) -> None:
    from stream_assets.core.window import Calendar
    from stream_assets.pipeline.prove.history import LakeEvents

    lake = opened(tmp_path, source=SyntheticEvents(rate=0)).lake
    span = TimeWindow(DAY, DAY + timedelta(days=1))
    history = History(Calendar("UTC"), span, span, (LakeEvents(lake, "events", timedelta(seconds=30)),), (counts,))
    batch, micro = (list(history.instants(lane)) for lane in ALL_LANES)
    assert batch == [span.end + timedelta(minutes=5, seconds=31)]
    assert micro[:2] == [DAY + timedelta(minutes=5, seconds=31), DAY + timedelta(minutes=10, seconds=31)]
    assert (len(micro), micro[-1]) == (289, batch[0])


# Random histories.

Drawn = tuple[int, int, int, str, float]
"""Minute of the day, minutes until it arrives, user, type, amount."""


@dataclass
class Drawing:
    """A source of drawn events, which is down now and then."""

    events: list[Drawn]
    outages: list[int]
    """Hours in which it does not answer."""

    settling: timedelta = timedelta(minutes=2)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for number, (minute, delay, user, kind, amount) in enumerate(self.events):
            at = DAY + timedelta(days=1, minutes=minute)
            yield {
                "event_id": f"e{number}", "event_time": at, "arrival_time": at + timedelta(minutes=delay), "user_id": user,
                "country": "DE" if user % 2 else "KR", "event_type": kind, "device": "web", "amount": amount,
            }  # fmt: skip

    def _answer(self, now: datetime) -> None:
        if now < DAY + timedelta(days=2) and now.hour in self.outages:
            raise SourceUnavailable("the source does not answer")

    @property
    def names(self) -> Names:
        from stream_assets.events.conform import Names

        return Names()

    def watermark(self, now: datetime) -> datetime:
        self._answer(now)
        return now - self.settling

    def read(self, window: TimeWindow, *, now: datetime, state: SourceState | None = None) -> Iterator[pa.RecordBatch]:
        self._answer(now)
        rows = [r for r in self._rows() if r["event_time"] in window and r["arrival_time"] <= now]
        yield pa.RecordBatch.from_pylist(rows, schema=SCHEMA)

    def schema(self, *, now: datetime) -> pa.Schema:
        return SCHEMA

    def arrivals(self, cursor: str | None, *, now: datetime, state: SourceState | None = None) -> Arrivals:
        self._answer(now)
        since = datetime.fromisoformat(cursor) if cursor else DAY
        seen = (r["event_time"] for r in self._rows() if since < r["arrival_time"] <= now)
        windows = {
            TimeWindow(t - timedelta(minutes=t.minute % 5), t + timedelta(minutes=5 - t.minute % 5)) for t in seen
        }
        return Arrivals(tuple(sorted(windows)), now.isoformat(), now)

    def describe(self) -> str:
        return "drawn events"


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 1439),
        st.sampled_from([0, 1, 6, 45, 400, 2000]),
        st.integers(1, 3),
        st.sampled_from(["purchase", "purchase", "refund", "view"]),
        st.floats(0.01, 1e6),
    ),
    max_size=25,
)
HISTORIES = st.tuples(
    EVENTS,
    st.lists(st.integers(0, 23), max_size=4),
    st.lists(st.tuples(st.integers(0, 26), st.sampled_from([5, 180, 720, 1440])), min_size=1, max_size=3),
)


EXAMPLES = find_consumers("stream_assets.consumers")


@pytest.mark.parametrize(
    "example",
    [  # Its 288 calls of pandas a day take a minute.
        pytest.param(e, id=e.name, marks=[pytest.mark.slow] if e.name == "revenue_dashboard" else []) for e in EXAMPLES
    ],
)
@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=HISTORIES)
def test_the_example_consumers_are_the_same_at_every_cadence(
    example: Consumer, drawn: tuple[list[Drawn], list[int], list[tuple[int, int]]]
) -> None:
    events, outages, looks = drawn
    source = Drawing(events, outages)
    with tempfile.TemporaryDirectory() as folder:
        project = Project((Stream("events", source),), lake=f"{folder}/lake", start="2026-03-10")
        clock = SettableClock(DAY + timedelta(days=1))
        # The lake itself is lived with outages, and with another freshness at each look.
        for hour, minutes in sorted(looks):
            clock.set(DAY + timedelta(days=1, hours=hour, minutes=7))
            changed = [replace(example, freshness=timedelta(minutes=minutes))]
            list(project.open(changed, clock).run())
        clock.set(DAY + timedelta(days=4, hours=1))
        pipeline = project.open([example], clock)
        list(pipeline.run())
        day = TimeWindow(DAY + timedelta(days=1), DAY + timedelta(days=2))
        found = verify(pipeline.site, tuple(pipeline.declarations.tables), day)
        assert [d for d in found.differences if not d.is_known] == []
        proof = prove(pipeline.site, example, day, lanes=(LANES[0], replace(LANES[1], freshness=timedelta(hours=12))))
        assert proof.differences == ()
