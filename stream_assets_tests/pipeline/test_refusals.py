"""What is refused of what was to be published, and where events are that have gone."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.errors import SourceError, SourceIncomplete
from stream_assets.pipeline.refusals import Refusals
from stream_assets.pipeline.whereabouts import Whereabouts

START = datetime(2026, 3, 1, tzinfo=UTC)
W = [TimeWindow(START + n * GRID, START + (n + 1) * GRID) for n in range(8)]


def of(*numbers: int) -> Intervals:
    return Intervals.of(*(W[n] for n in numbers))


def test_moves_tie_windows_to_one_another_over_any_number_of_them() -> None:
    refusals = Refusals()
    refusals.tie(W[0], of(1))
    refusals.tie(W[3], of(2))
    refusals.tie(W[5], of(6))
    refusals.tie(W[1], of(2))
    assert not refusals.spans
    refusals.add(W[3], SourceError("gone"))
    assert refusals.spans == of(0, 1, 2, 3)
    assert refusals.windows(TimeWindow(W[1].start, W[7].end)) == W[1:4]


def test_what_is_tied_to_a_refused_window_waits_for_it_and_has_no_fault_of_its_own() -> None:
    refusals = Refusals()
    refusals.add(W[3], SourceError("gone"))
    refusals.tie(W[0], of(3))
    assert isinstance(refusals.error(W[0]), SourceIncomplete)
    assert "gone" in str(refusals.error(W[0]))
    assert isinstance(refusals.error(W[3]), SourceError)
    assert str(refusals.error(TimeWindow(W[0].start, W[7].end))).startswith("gone. Windows of ")


@pytest.mark.parametrize("kind", [pa.string(), pa.int64()])
def test_events_are_found_by_id_in_every_window_that_has_them(kind: pa.DataType) -> None:
    def ids(*numbers: int) -> pa.Array:
        return pa.array([str(n) if kind == pa.string() else n for n in numbers], kind)

    where = Whereabouts([(W[0], pa.table({"event_id": ids(1, 2)})), (W[1], pa.table({"event_id": ids()})),
                         (W[2], pa.table({"event_id": ids(3, 1)}))])  # fmt: skip
    found, windows = where.find(ids(1, 3, 4), of(0, 1, 2))
    assert (found.tolist(), windows) == ([True, True, False], of(0, 2))
    found, windows = where.find(ids(1, 3, 4), of(0, 1))
    assert (found.tolist(), windows) == ([True, False, False], of(0))
    found, windows = Whereabouts([]).find(ids(1), of(0))
    assert (found.tolist(), windows) == ([False], Intervals())
