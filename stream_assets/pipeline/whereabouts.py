"""Which windows have which events, by id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.events.hashing import hash_rows
from stream_assets.events.mixing import Words
from stream_assets.events.schema import EVENT_ID

_NOTHING: Words = np.zeros(0, np.uint64)


class Whereabouts:
    """Where events are. Ids are compared by the 128 bits that digests go by: 20 bytes an event are held."""

    def __init__(self, tables: Iterable[tuple[TimeWindow, pa.Table]]) -> None:
        self._windows: list[TimeWindow] = []
        lows, highs, counts = [_NOTHING], [_NOTHING], list[int]()
        for window, table in tables:
            low, high = _words(table.column(EVENT_ID)) if table.num_rows else (_NOTHING, _NOTHING)
            self._windows.append(window)
            lows.append(low)
            highs.append(high)
            counts.append(len(low))
        low = np.concatenate(lows)
        order = np.argsort(low, kind="stable")
        self._low, self._high = low[order], np.concatenate(highs)[order]
        self._places = np.repeat(np.arange(len(counts), dtype=np.uint32), counts)[order]

    def find(self, ids: Any, within: Intervals) -> tuple[npt.NDArray[np.bool_], Intervals]:
        """Return for each of `ids` whether it is in a window of `within`, and which windows have any of them."""
        found = np.zeros(len(ids), np.bool_)
        if not len(ids) or not within:
            return found, Intervals()
        low, high = _words(ids)
        first, last = np.searchsorted(self._low, low, "left"), np.searchsorted(self._low, low, "right")
        counts = last - first
        asked = np.repeat(np.arange(len(low)), counts)
        there = np.repeat(last - np.cumsum(counts), counts) + np.arange(len(asked))
        is_within = np.array([within.covers(window) for window in self._windows], np.bool_)
        hits = self._high[there] == high[asked]
        hits[hits] = is_within[self._places[there[hits]]]
        found[asked[hits]] = True
        return found, Intervals.union_of(self._windows[n] for n in np.unique(self._places[there[hits]]))


def _words(ids: Any) -> tuple[Words, Words]:
    return hash_rows(pa.table({EVENT_ID: ids}))
