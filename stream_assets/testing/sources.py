"""The promises S1 to S7 of `sources.protocol.Source` as checks. A new source enrols by registering a case.

@register("kafka")
def kafka(folder: Path) -> SourceCase: ...

@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("name", registered())
def test_promise(name, promise, tmp_path):
    PROMISES[promise](registered()[name](tmp_path))
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.errors import TerminalError, TransientError
from stream_assets.events.conform import conform
from stream_assets.events.hashing import digest
from stream_assets.events.schema import EVENT_TIME
from stream_assets.sources.protocol import CountsRows, MemoryState, Source, SourceState


@dataclass(frozen=True)
class SourceCase:
    """A source that has events, and what can be made to happen to it.

    Attributes:
        source: the source.
        now: an instant at which `span` has settled.
        span: a range on the 5-minute grid with events in at least three windows; at most a day.
        empty: a settled range without events.
        arrive: makes events arrive in settled windows of `span` and returns the instant afterwards.
        state: makes an empty state of the ledger that is used.
        fail: makes the outside system unreachable; None where it has no outages.
        spoil: gives the source something of a bad shape in `span`; None where that cannot be.
        secret: text that no message may show.
    """

    source: Source
    now: datetime
    span: TimeWindow
    empty: TimeWindow
    arrive: Callable[[], datetime]
    state: Callable[[], SourceState] = MemoryState
    fail: Callable[[], object] | None = None
    spoil: Callable[[], object] | None = None
    secret: str | None = None


Factory = Callable[[Path], SourceCase]
Content = tuple[int, int, Digest]
_REGISTRY: dict[str, Factory] = {}


def register(name: str) -> Callable[[Factory], Factory]:
    """Enrol the case that the decorated function makes in a folder of its own."""

    def enrol(factory: Factory) -> Factory:
        if _REGISTRY.setdefault(name, factory) is not factory:
            raise ValueError(f"a source {name!r} is registered already")
        return factory

    return enrol


def registered() -> Mapping[str, Factory]:
    """Return the registered cases by name."""
    return dict(_REGISTRY)


def content(
    case: SourceCase, window: TimeWindow, *, now: datetime | None = None, state: SourceState | None = None
) -> Content:
    """Return events (copies counted), rejected rows, and the sum of the row hashes of what `read` gives."""
    now = case.now if now is None else now
    events, rejected, total = 0, 0, Digest()
    for batch in case.source.read(window, now=now, state=state):
        done = conform(batch, case.source.names, window, now)
        events += done.table.num_rows
        rejected += done.rejected.num_rows
        total += digest(done.table)
    return events, rejected, total


def reading_twice_gives_the_same(case: SourceCase) -> None:
    """S1."""
    first = content(case, case.span)
    assert first[0] > 0
    assert content(case, case.span) == first


def every_row_is_in_the_range(case: SourceCase) -> None:
    """S1: and the range's ends are start inclusive, end exclusive."""
    for window in list(case.span.windows())[:20]:
        for batch in case.source.read(window, now=case.now):
            table = conform(batch, case.source.names, window, case.now).table
            times: list[Any] = table.column(EVENT_TIME).to_pylist()
            assert all(time in window for time in times)


def parts_give_together_what_the_whole_gives(case: SourceCase) -> None:
    """S2: cut on the grid, and anywhere."""
    whole = content(case, case.span)
    for cuts in (_cuts(case.span, on_grid=True), _cuts(case.span, on_grid=False)):
        parts = [content(case, part) for part in cuts]
        assert (sum(p[0] for p in parts), sum(p[1] for p in parts)) == whole[:2]
        assert Digest.total(p[2] for p in parts) == whole[2]


def what_is_remembered_changes_no_answer(case: SourceCase) -> None:
    """S1, S2: a state only spares work."""
    state = case.state()
    parts = _cuts(case.span, on_grid=True)
    expected = [content(case, part) for part in parts]
    for _ in range(2):
        assert [content(case, part, state=state) for part in parts] == expected
    assert content(case, case.span, state=state) == content(case, case.span)


def an_empty_range_is_an_empty_typed_answer(case: SourceCase) -> None:
    """S3."""
    assert content(case, case.empty)[:2] == (0, 0)
    schema = case.source.schema(now=case.now)
    assert schema is not None
    table = conform(pa.Table.from_batches([], schema), case.source.names, case.empty, case.now).table
    assert table.num_rows == 0


def the_watermark_never_goes_back_and_follows_the_clock(case: SourceCase) -> None:
    """S4."""
    instants = [case.now + n * timedelta(seconds=37) for n in range(100)]
    marks = [case.source.watermark(now) for now in instants]
    assert marks == sorted(marks)
    assert marks[-1] > marks[0]
    assert all(mark <= now for mark, now in zip(marks, instants, strict=True))
    assert case.span.end <= marks[0]


def arrivals_are_named_and_none_is_forgotten(case: SourceCase) -> None:
    """S6: also to one that asks with an old cursor again, because it died before it kept the new one."""
    state = case.state()
    first = case.source.arrivals(None, now=case.now, state=state)
    if first is None:
        return
    windows = list(case.span.windows())
    before = [content(case, window, state=state) for window in windows]
    nothing = case.source.arrivals(first.cursor, now=case.now, state=state)
    assert nothing is not None
    assert nothing.windows == ()
    now = case.arrive()
    after = [content(case, window, now=now, state=state) for window in windows]
    changed = [window for window, old, new in zip(windows, before, after, strict=True) if old != new]
    assert changed, "the case made nothing arrive in its range"
    for cursor in (first.cursor, first.cursor, nothing.cursor):
        named = case.source.arrivals(cursor, now=now, state=state)
        assert named is not None
        assert all(window.is_on_grid for window in named.windows)
        assert Intervals.union_of(named.windows).spans == named.windows
        missing = Intervals.union_of(changed) - Intervals.union_of(named.windows)
        assert not missing, f"not named: {missing}"
    last = case.source.arrivals(named.cursor, now=now, state=state)
    assert last is not None
    assert last.windows == ()


def a_state_that_was_lost_forgets_no_arrival(case: SourceCase) -> None:
    """S6: with nothing known, everything that the source can tell is named."""
    now = case.arrive()
    named = case.source.arrivals(None, now=now, state=case.state())
    if named is not None:
        late = [w for w in case.span.windows() if content(case, w, now=now)[0] != content(case, w)[0]]
        assert not Intervals.union_of(late) - Intervals.union_of(named.windows)


def what_is_counted_is_what_is_read(case: SourceCase) -> None:
    """`CountsRows`: of every window, also after something has arrived; of one range at a time."""
    if not isinstance(case.source, CountsRows):
        return
    for now in (case.now, case.arrive()):
        state = case.state()
        counts = case.source.summary(case.span, now=now, state=state)
        assert counts is not None
        for window in case.span.windows():
            events, rejected, _ = content(case, window, now=now, state=state)
            assert counts.get(window.start, 0) == events + rejected, window
        assert not set(counts) - {window.start for window in case.span.windows()}


def an_outage_is_transient(case: SourceCase) -> None:
    """S5."""
    if case.fail is not None:
        _refuses(case, case.fail, TransientError)


def a_bad_shape_is_terminal(case: SourceCase) -> None:
    """S5."""
    if case.spoil is not None:
        _refuses(case, case.spoil, TerminalError)


def no_description_shows_a_credential(case: SourceCase) -> None:
    """S5."""
    shown = case.source.describe()
    assert shown
    assert case.secret is None or (case.secret not in shown)


PROMISES: dict[str, Callable[[SourceCase], None]] = {
    promise.__name__: promise
    for promise in (
        reading_twice_gives_the_same,
        every_row_is_in_the_range,
        parts_give_together_what_the_whole_gives,
        what_is_remembered_changes_no_answer,
        an_empty_range_is_an_empty_typed_answer,
        the_watermark_never_goes_back_and_follows_the_clock,
        arrivals_are_named_and_none_is_forgotten,
        a_state_that_was_lost_forgets_no_arrival,
        what_is_counted_is_what_is_read,
        an_outage_is_transient,
        a_bad_shape_is_terminal,
        no_description_shows_a_credential,
    )
}
"""Every check by its name; each wants a case of its own."""


def _refuses(case: SourceCase, make: Callable[[], object], kind: type[Exception]) -> None:
    state = case.state()
    content(case, case.span, state=state)
    make()
    raised: Exception | None = None
    try:
        content(case, case.span, state=state)
    except kind as error:
        raised = error
    assert raised is not None, f"read raised no {kind.__name__}"
    assert case.secret is None or case.secret not in str(raised)


def _cuts(span: TimeWindow, *, on_grid: bool) -> list[TimeWindow]:
    dice = random.Random(5)  # noqa: S311
    count = span.duration // GRID
    if on_grid:
        inner = [span.start + n * GRID for n in sorted(dice.sample(range(1, count), min(5, count - 1)))]
    else:
        inner = sorted(span.start + dice.random() * span.duration for _ in range(3))
    edges = [span.start, *inner, span.end]
    return [TimeWindow(a, b) for a, b in itertools.pairwise(edges)]
