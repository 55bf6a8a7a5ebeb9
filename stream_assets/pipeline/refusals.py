"""Windows that stay as they are, since of what they have something would go; and those that moves tie to them."""

from __future__ import annotations

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import TimeWindow
from stream_assets.errors import MoveIncomplete, StreamAssetsError, TransientError


class Refusals:
    """Gathered while windows are staged, so that one look at the source finds all of them.

    What moved between two windows is published in both or in neither: with one of them the other one is refused.
    """

    def __init__(self) -> None:
        self._errors: dict[TimeWindow, StreamAssetsError] = {}
        self._tied: list[Intervals] = []

    def add(self, window: TimeWindow, error: StreamAssetsError) -> None:
        """Refuse the new content of a window."""
        self._errors[window] = error

    def tie(self, window: TimeWindow, others: Intervals) -> None:
        """Note that events have moved between a window and `others`."""
        if not others:
            return
        group, apart = others | Intervals.of(window), list[Intervals]()
        for tied in self._tied:
            if tied & group:
                group |= tied
            else:
                apart.append(tied)
        self._tied = [*apart, group]

    @property
    def spans(self) -> Intervals:
        """Event time that is refused, for itself or with what is tied to it."""
        own = Intervals.of(*self._errors)
        return own | Intervals.union_of(span for group in self._tied if group & own for span in group)

    def windows(self, span: TimeWindow) -> list[TimeWindow]:
        """Return the windows of `span` that are refused, oldest first."""
        return [window for part in self.spans.clip(span) for window in part.windows()]

    def error(self, span: TimeWindow) -> StreamAssetsError:
        """Return why what is refused of `span` is.

        Its own fault before that of what is tied to it, which is transient: this end waits for the other one.
        """
        refused = self.windows(span)
        own = [self._errors[window] for window in refused if window in self._errors]
        if not own:
            tied = Intervals.union_of(s for group in self._tied if group.clip(span) for s in group)
            others = [error for window, error in self._errors.items() if tied.covers(window)]
            other = (others or list(self._errors.values()))[0]
            return MoveIncomplete(f"events have moved, and where else they are is not to be had: {other}")
        # What only waits is not to be paused with what does not.
        first = next((error for error in own if isinstance(error, TransientError)), own[0])
        if len(refused) == 1:
            return first
        return type(first)(f"{first}. Windows of {span} that stay as they are for such reasons: {len(refused):,}")
