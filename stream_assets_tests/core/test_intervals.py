"""The algebra of intervals, against a model: plain sets of windows."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import EPOCH, GRID, TimeWindow

indices = st.integers(0, 30)
spans = st.builds(lambda start, length: TimeWindow(instant(start), instant(start + length)), indices, st.integers(0, 6))
lists = st.lists(spans, max_size=8)
sets = lists.map(Intervals.union_of)


def instant(index: int) -> datetime:
    return EPOCH + index * GRID


def model(intervals: Intervals | TimeWindow | list[TimeWindow]) -> set[datetime]:
    pieces = [intervals] if isinstance(intervals, TimeWindow) else intervals
    return {w.start for span in pieces for w in span.windows()}


def is_canonical(found: Intervals) -> bool:
    return all(found.spans) and all(a.end < b.start for a, b in zip(found.spans, found.spans[1:], strict=False))


@given(lists)
def test_a_union_holds_what_its_parts_hold_whatever_their_order(parts: list[TimeWindow]) -> None:
    union = Intervals.union_of(parts)
    assert model(union.spans) == model(parts)
    assert union == Intervals.of(*reversed(parts))
    assert is_canonical(union)


@given(sets, sets)
def test_union_intersection_and_difference_are_those_of_sets(a: Intervals, b: Intervals) -> None:
    for found, expected in ((a | b, model(a) | model(b)), (a & b, model(a) & model(b)), (a - b, model(a) - model(b))):
        assert model(found) == expected
        assert is_canonical(found)


@given(sets, sets, sets)
def test_the_laws_of_sets_hold(a: Intervals, b: Intervals, c: Intervals) -> None:
    assert a | b == b | a
    assert a & b == b & a
    assert a - (b | c) == a - b - c
    assert a & (b | c) == (a & b) | (a & c)
    assert (a - b) | (a & b) == a
    assert a - a == Intervals()


@given(sets, spans)
def test_clip_and_covers_are_those_of_sets(a: Intervals, span: TimeWindow) -> None:
    assert model(a.clip(span)) == model(a) & model(span)
    assert is_canonical(a.clip(span))
    assert a.covers(span) == (model(span) <= model(a))


@given(sets, indices)
def test_the_unbroken_run_ends_at_the_first_hole(a: Intervals, start: int) -> None:
    held = model(a)
    end = start
    while instant(end) in held:
        end += 1
    assert a.unbroken_from(instant(start)) == instant(end)


@given(sets)
def test_hull_and_duration(a: Intervals) -> None:
    held = model(a)
    assert a.duration == len(held) * GRID
    assert a.hull == (TimeWindow(min(held), max(held) + GRID) if held else None)
    assert bool(a) == bool(held)


@given(sets, st.timedeltas(timedelta(0), timedelta(minutes=4)))
def test_the_algebra_is_not_bound_to_the_grid(a: Intervals, shift: timedelta) -> None:
    moved = Intervals.union_of(TimeWindow(s.start + shift, s.end + shift) for s in a)
    assert (a | moved).duration + (a & moved).duration == 2 * a.duration


def test_nothing_is_said_in_words() -> None:
    assert str(Intervals()) == "nothing"
    assert str(Intervals.of(TimeWindow(EPOCH, instant(2)))) == "[1970-01-01T00:00Z, 1970-01-01T00:10Z)"
