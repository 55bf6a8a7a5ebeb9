"""A small pure algebra of sets of half-open UTC intervals.

An `Intervals` value is sorted, disjoint and merged: touching intervals are one. Every operation is linear in the
number of intervals, never in the number of windows that they hold.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from stream_assets.core.window import TimeWindow


@dataclass(frozen=True, slots=True)
class Intervals:
    """A set of instants, as merged half-open intervals `[start, end)`, oldest first."""

    spans: tuple[TimeWindow, ...] = ()

    @classmethod
    def of(cls, *spans: TimeWindow) -> Intervals:
        """Return the union of `spans`; empty ones count for nothing."""
        return cls.union_of(spans)

    @classmethod
    def union_of(cls, spans: Iterable[TimeWindow]) -> Intervals:
        """Return the union of `spans`, in any order and overlapping as they like."""
        merged: list[TimeWindow] = []
        for span in sorted(span for span in spans if span):
            if merged and span.start <= merged[-1].end:
                if span.end > merged[-1].end:
                    merged[-1] = TimeWindow(merged[-1].start, span.end)
            else:
                merged.append(span)
        return cls(tuple(merged))

    def __iter__(self) -> Iterator[TimeWindow]:
        return iter(self.spans)

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __or__(self, other: Intervals) -> Intervals:
        if not other:
            return self
        return Intervals.union_of((*self.spans, *other.spans)) if self else other

    def __and__(self, other: Intervals) -> Intervals:
        found: list[TimeWindow] = []
        mine, theirs = 0, 0
        while mine < len(self.spans) and theirs < len(other.spans):
            a, b = self.spans[mine], other.spans[theirs]
            if a.overlaps(b):
                found.append(a.clip(b))
            if a.end <= b.end:
                mine += 1
            else:
                theirs += 1
        return Intervals(tuple(found))

    def __sub__(self, other: Intervals) -> Intervals:
        found: list[TimeWindow] = []
        first = 0
        for span in self.spans:
            start = span.start
            while first < len(other.spans) and other.spans[first].end <= start:
                first += 1
            index = first
            while index < len(other.spans) and other.spans[index].start < span.end:
                hole = other.spans[index]
                if hole.start > start:
                    found.append(TimeWindow(start, hole.start))
                start = max(start, hole.end)
                index += 1
            if start < span.end:
                found.append(TimeWindow(start, span.end))
        return Intervals(tuple(found))

    def clip(self, span: TimeWindow) -> Intervals:
        """Return the part inside `span`; costs only what lies there."""
        if not span or not self.spans:
            return Intervals()
        first = max(0, bisect_right(self.spans, span.start, key=lambda s: s.start) - 1)
        found: list[TimeWindow] = []
        for index in range(first, len(self.spans)):
            if self.spans[index].start >= span.end:
                break
            if self.spans[index].overlaps(span):
                found.append(self.spans[index].clip(span))
        return Intervals(tuple(found))

    def covers(self, span: TimeWindow) -> bool:
        """Whether every instant of `span` is in the set; true for an empty span."""
        if not span:
            return True
        index = bisect_right(self.spans, span.start, key=lambda s: s.start) - 1
        return index >= 0 and self.spans[index].covers(span)

    def unbroken_from(self, start: datetime) -> datetime:
        """Return the end of the run that holds `start`, or `start` itself where it is not in the set."""
        index = bisect_right(self.spans, start, key=lambda s: s.start) - 1
        return max(start, self.spans[index].end) if index >= 0 else start

    @property
    def hull(self) -> TimeWindow | None:
        """The smallest interval that holds the set; None for the empty set."""
        return TimeWindow(self.spans[0].start, self.spans[-1].end) if self.spans else None

    @property
    def duration(self) -> timedelta:
        """Total length."""
        return sum((span.duration for span in self.spans), timedelta(0))

    def __str__(self) -> str:
        return ", ".join(str(span) for span in self.spans) or "nothing"
