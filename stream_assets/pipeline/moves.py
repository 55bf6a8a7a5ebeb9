"""Which windows events have moved between, where the source names both: they are published in one commit (S7)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import pyarrow as pa

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.errors import LakeError
from stream_assets.events.schema import EVENT_ID
from stream_assets.pipeline.content import WindowContent
from stream_assets.pipeline.loss import Given, are_absent, follow, in_lake
from stream_assets.pipeline.site import Site
from stream_assets.pipeline.whereabouts import Whereabouts


class Moves:
    """Finds them among the windows that the source has named and the lake has."""

    def __init__(self, site: Site, stream: StreamSpec, named: Intervals, lately: Intervals) -> None:
        self._site = site
        self._stream = stream
        self._reopened = named
        self._lately = lately

    @cached_property
    def _named(self) -> Intervals:
        return in_lake(self._site, self._stream, self._reopened)

    def of(self, content: WindowContent, filled: Intervals, *, is_there: bool, accepts_loss: bool) -> Intervals:
        """Return the other named windows that an event of this one has come from, or has gone to.

        Args:
            content: of a window that is about to be published, other than what the lake has there.
            filled: event time that the same work fills: what is named in it is as good as in the lake.
            is_there: whether the lake has the window. One that is new there has lost nothing.
            accepts_loss: whether events may go that have moved nowhere.

        Raises:
            MoveIncomplete: transient; what would go has moved into windows that nobody fills yet, or that cannot be read.
            SourceError: terminal; events would go.
        """
        here, gone_to = Intervals.of(content.window), Intervals()
        if is_there:
            gone_to = follow(
                self._site, self._stream, content, self._reopened, self._reopened & filled, lambda: self._given,
                accepts_loss=accepts_loss,
            )  # fmt: skip
        elif not self._reopened.covers(content.window):
            return Intervals()
        others = self._named - here
        if not others or not content.table.num_rows:
            return gone_to
        entered = content.table.column(EVENT_ID)
        if is_there:
            entered = entered.filter(are_absent(entered, self._in_lake(content.window)))
        return (gone_to | self._there.find(entered, others)[1]) - here

    def twice(self, content: WindowContent) -> Intervals:
        """Return the other lately named windows in which the lake has events of this lately named one, too.

        It came out equal, as the events came into it before the source named where they had been.
        """
        if not content.table.num_rows or not self._lately.covers(content.window):
            return Intervals()
        others = self._named_lately - Intervals.of(content.window)
        return self._there_lately.find(content.table.column(EVENT_ID), others)[1] if others else Intervals()

    @cached_property
    def _named_lately(self) -> Intervals:
        return in_lake(self._site, self._stream, self._lately)

    @cached_property
    def _given(self) -> Given:
        return Given(self._site, self._stream, self._reopened)

    @cached_property
    def _there(self) -> Whereabouts:
        return self._whereabouts(self._named)

    @cached_property
    def _there_lately(self) -> Whereabouts:
        return self._whereabouts(self._named_lately)

    def _whereabouts(self, spans: Intervals) -> Whereabouts:
        windows = (window for span in spans for window in span.windows())
        return Whereabouts((w, pa.table({EVENT_ID: self._in_lake(w)})) for w in windows)

    def _in_lake(self, window: TimeWindow) -> Any:
        try:
            there = self._site.lake.read(self._stream.name, window, [EVENT_ID])
        except LakeError:
            # Its file is gone or damaged: nothing is left there that could have moved.
            there = pa.table({})
        return there.column(EVENT_ID) if there.num_rows else pa.chunked_array([], pa.string())
