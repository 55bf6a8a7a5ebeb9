"""The clock that tests own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stream_assets.errors import UsageError
from stream_assets.testing import SettableClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_it_stands_still_until_it_is_told() -> None:
    clock = SettableClock(NOON)
    assert clock.now() == clock.now() == NOON
    assert clock.advance(timedelta(minutes=5)) == NOON + timedelta(minutes=5)
    assert clock.set(NOON - timedelta(days=1)) == clock.now() == NOON - timedelta(days=1)


def test_it_takes_no_naive_instant_and_no_step_back() -> None:
    with pytest.raises(UsageError):
        SettableClock(NOON.replace(tzinfo=None))
    with pytest.raises(UsageError, match="forwards"):
        SettableClock(NOON).advance(timedelta(seconds=-1))
