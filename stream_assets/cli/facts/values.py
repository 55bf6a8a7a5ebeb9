"""Values of the core in JSON's types."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from stream_assets.core.window import Calendar, Grain, TimeWindow


def at(instant: datetime | None) -> str | None:
    """Return an instant in ISO 8601, UTC."""
    return instant.isoformat() if instant else None


def seconds(duration: timedelta) -> float:
    """Return a duration in seconds."""
    return duration.total_seconds()


def span(window: TimeWindow) -> dict[str, str]:
    """Return `[start, end)`."""
    return {"start": window.start.isoformat(), "end": window.end.isoformat()}


def spans(windows: Iterable[TimeWindow]) -> list[dict[str, str]]:
    """Return ranges, oldest first."""
    return [span(window) for window in windows]


def partitions(calendar: Calendar, window: TimeWindow, grain: Grain) -> dict[str, Any]:
    """Return a range of partitions: its ends, its first and last key, and how many there are."""
    every = calendar.partitions(window, grain)
    first, last = (every[0], every[-1]) if every else (window, window)
    return {
        **span(window),
        "first_key": calendar.key(first, grain),
        "last_key": calendar.key(last, grain),
        "partitions": len(every),
    }
