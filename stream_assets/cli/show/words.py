"""Facts in words: instants, ranges, durations and counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from stream_assets.core.freshness import compact


def when(instant: str | None) -> str:
    """Say an instant to the minute: `2026-03-10 14:35Z`; with seconds where it has some."""
    if instant is None:
        return "never"
    moment = datetime.fromisoformat(instant).astimezone(UTC)
    return f"{moment:%Y-%m-%d %H:%M:%SZ}" if moment.second else f"{moment:%Y-%m-%d %H:%MZ}"


def last(seconds: float | None) -> str:
    """Say how long something lasted; nothing where there is nothing to say."""
    return "" if seconds is None else compact(timedelta(seconds=seconds))


def ranges(spans: list[dict[str, str]], most: int = 3) -> str:
    """Say some ranges, and how many more there are."""
    shown = [f"{when(s['start'])} to {when(s['end'])}" for s in spans[:most]]
    more = f" and {len(spans) - most} more" if len(spans) > most else ""
    return (", ".join(shown) or "none") + more


def keys(item: dict[str, Any]) -> str:
    """Say the partitions of a piece of work: the one key, or first and last."""
    return item["first_key"] if item["first_key"] == item["last_key"] else f"{item['first_key']} to {item['last_key']}"


def alike(failures: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Put neighbours that failed for one reason together: one clear sentence, and the partitions that it is about."""
    groups = [list(group) for _, group in groupby(failures, _reason)]
    return [(g[0]["first_key"] if len(g) == 1 and keys(g[0]) == g[0]["first_key"] else _from_to(g), g) for g in groups]


def _from_to(group: list[dict[str, Any]]) -> str:
    count = sum(failure["partitions"] for failure in group)
    return f"{group[0]['first_key']} to {group[-1]['last_key']} ({count:,} partitions)"


def _reason(failure: dict[str, Any]) -> tuple[Any, ...]:
    # A consumer's error names its partition.
    said = failure["error"].replace(failure["first_key"], "")
    return said, failure["is_transient"], failure.get("tries"), failure.get("is_paused"), failure.get("next_try_at")


def many(count: int, one: str, more: str = "") -> str:
    """Say a count with its noun."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
