"""Facts in words: instants, ranges, durations and counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from stream_assets.core.freshness import compact


def when(instant: str | None) -> str:
    """Say an instant to the minute: `2026-03-10 14:35Z`; with seconds where it has some."""
    if instant is None:
        return "never"
    moment = datetime.fromisoformat(instant).astimezone(UTC)
    return f"{moment:%Y-%m-%d %H:%M:%SZ}" if moment.second else f"{moment:%Y-%m-%d %H:%MZ}"


def last(seconds: float) -> str:
    """Say how long something lasted."""
    return compact(timedelta(seconds=seconds))


def ranges(spans: list[dict[str, str]], most: int = 3) -> str:
    """Say some ranges, and how many more there are."""
    shown = [f"{when(s['start'])} to {when(s['end'])}" for s in spans[:most]]
    more = f" and {len(spans) - most} more" if len(spans) > most else ""
    return (", ".join(shown) or "none") + more


def keys(item: dict[str, Any]) -> str:
    """Say the partitions of a piece of work: the one key, or first and last."""
    return item["first_key"] if item["first_key"] == item["last_key"] else f"{item['first_key']} to {item['last_key']}"


def many(count: int, one: str, more: str = "") -> str:
    """Say a count with its noun."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
