"""Where a range is cut that failed, until the bad partition stands alone."""

from __future__ import annotations

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, Calendar, TimeWindow


def halves_of_windows(span: TimeWindow) -> tuple[TimeWindow, TimeWindow] | None:
    """Return both halves of a range of windows; None for a single window."""
    count = span.duration // GRID
    if count < 2:
        return None
    middle = span.start + GRID * (count // 2)
    return TimeWindow(span.start, middle), TimeWindow(middle, span.end)


def halves_of(spans: Intervals) -> tuple[Intervals, Intervals] | None:
    """Return both halves of scattered windows; None for a single window."""
    windows = [window for span in spans for window in span.windows()]
    middle = len(windows) // 2
    return (Intervals.of(*windows[:middle]), Intervals.of(*windows[middle:])) if middle else None


def halves_of_days(calendar: Calendar, span: TimeWindow) -> tuple[TimeWindow, TimeWindow] | None:
    """Return both halves of a range of days; None for a single day."""
    days = calendar.days(span)
    if len(days) < 2:
        return None
    middle = days[len(days) // 2].start
    return TimeWindow(span.start, middle), TimeWindow(middle, span.end)
