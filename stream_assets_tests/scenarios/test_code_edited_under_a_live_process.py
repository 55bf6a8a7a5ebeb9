"""A code location that was not reloaded keeps old code in memory, while each new run loads the new code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from stream_assets import consumer
from stream_assets_tests.scenarios.world import World


def _counting(reason: str) -> Any:
    @consumer(freshness="5 min", grain="5 min")
    def sales(events: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"n": [len(events)], "why": [reason]})

    return sales


def test_an_older_process_asks_for_no_rebuild_of_what_newer_code_made(world: Callable[..., World]) -> None:
    stale = world(_counting("old"), now="2026-03-10 14:37")
    stale.live("14:45")
    code_location = stale.pipeline
    stale.define(_counting("new"))  # what the next run loads
    stale.pipeline.observe()
    rebuild = stale.plan().works
    assert {table for work in rebuild for table in work.tables} == {"sales"}
    list(stale.pipeline.run())
    code_location.observe()
    assert code_location.plan().works == ()
    assert stale.plan().works == ()


def test_going_back_to_the_code_of_before_is_a_change_like_any_other(world: Callable[..., World]) -> None:
    edited = world(_counting("old"), now="2026-03-10 14:37")
    edited.live("14:45")
    for reason in ("new", "old"):
        edited.define(_counting(reason))
        list(edited.pipeline.run())
        rows = edited.pipeline.lake.read(
            "sales", edited.pipeline.range("sales", "2026-03-10T14:00", "2026-03-10T14:05")
        )
        assert rows["why"].to_pylist() == [reason]
