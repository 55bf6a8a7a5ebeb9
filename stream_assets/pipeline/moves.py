"""Which windows events have moved between, where the source names both: they are published in one commit (S7)."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.errors import LakeError
from stream_assets.events.hashing import hash_events
from stream_assets.events.mixing import Words
from stream_assets.events.schema import EVENT_ID
from stream_assets.pipeline.content import WindowContent
from stream_assets.pipeline.loss import follow, in_lake
from stream_assets.pipeline.site import Site

_NOTHING: Words = np.zeros(0, np.uint64)


class Moves:
    """Finds them among the windows that the source has named and the lake has.

    Ids are compared by 64 bits of their hash: a chance hit costs a read of a window that is named in any case.
    """

    def __init__(self, site: Site, stream: StreamSpec, named: Intervals) -> None:
        self._site = site
        self._stream = stream
        self._reopened = named

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
            SourceIncomplete: transient; what would go has moved into windows that nobody fills yet, or that cannot be read.
            SourceError: terminal; events would go.
        """
        here, gone_to = Intervals.of(content.window), Intervals()
        if is_there:
            along = self._reopened & filled
            gone_to = follow(self._site, self._stream, content, self._reopened, along, accepts_loss=accepts_loss)
        elif not self._reopened.covers(content.window):
            return Intervals()
        if not self._named - here:
            return gone_to
        had = self._in_lake(content.window) if is_there else _NOTHING
        entered = np.setdiff1d(_words(content.table), had)
        return (gone_to | self._come_from(entered)) - here

    def _come_from(self, entered: Words) -> Intervals:
        if not len(entered):
            return Intervals()
        words, places, windows = self._named_in_lake
        return Intervals.union_of(windows[n] for n in np.unique(places[np.isin(words, entered)]))

    @cached_property
    def _named_in_lake(self) -> tuple[Words, npt.NDArray[np.int64], list[TimeWindow]]:
        """Ids that the lake has in named windows, the number of the window of each, and the windows."""
        windows = [window for span in self._named for window in span.windows()]
        ids = [self._in_lake(window) for window in windows]
        places = np.repeat(np.arange(len(windows)), [len(words) for words in ids])
        return np.concatenate(ids), places, windows

    def _in_lake(self, window: TimeWindow) -> Words:
        try:
            return _words(self._site.lake.read(self._stream.name, window, [EVENT_ID]))
        except LakeError:
            # Its file is gone or damaged: nothing is left there that could have moved.
            return _NOTHING


def _words(table: pa.Table) -> Words:
    if not table.num_rows:
        return _NOTHING
    return hash_events(table.select([EVENT_ID])).ids
