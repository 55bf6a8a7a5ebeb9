"""What a publication teaches: the columns that its stream is known to have from then on, and which rejected rows it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Receipt
from stream_assets.core.window import TimeWindow
from stream_assets.errors import Conflict, SourceError
from stream_assets.events.columns import Columns
from stream_assets.pipeline.content import WindowContent
from stream_assets.pipeline.site import Site

T = TypeVar("T")


class Learning:
    """Gathers from what is staged, and records when it is published."""

    def __init__(self, site: Site, stream: StreamSpec) -> None:
        self._site = site
        self._stream = stream
        self._columns: Columns | None = None
        self._rejected_in: dict[TimeWindow, str | None] = {}
        self._released = site.lake.released.state(stream.name)

    def forget(self) -> None:
        """Begin anew: what was staged is not published."""
        self._columns = None
        self._rejected_in.clear()
        self._released = self._site.lake.released.state(self._stream.name)

    def anew(self, publish: Callable[[], T]) -> Callable[[], T]:
        """Return `publish` as each try of it: none goes on from what one before it has learned, and may have failed over."""

        def attempt() -> T:
            self.forget()
            return publish()

        return attempt

    def begin(self, known: Columns) -> None:
        """Go on from what a read has known."""
        self._columns = self._columns or known

    def learn(self, content: WindowContent) -> None:
        """Take in the columns of a window that is about to be published, unless they are a copy."""
        if self._columns is not None and content.is_fresh:
            self._columns = self._columns.plus(Columns.of(content.table)).without(content.discarded_columns)

    def record(self, published: Intervals) -> None:
        """Record the columns in the ledger; inside the transaction that publishes them.

        Raises:
            Conflict: transient; meanwhile another writer has published columns that these do not fit, or rows of the
                days of `published` were released.
        """
        self._refuse_unread(published)
        if self._columns is None:
            return
        name, records = self._stream.name, self._site.ledger.sources
        text = records.columns(name)
        present = self._columns if text is None else Columns.from_text(text)
        try:
            columns = present.plus(self._columns)
        except SourceError as error:
            raise Conflict(f"{name}: {error}, since another writer published meanwhile: it is read again") from error
        if self._stream.drift != "evolve" and present.kinds and columns.kinds.keys() != present.kinds.keys():
            raise Conflict(f"{name} got its first columns from another writer meanwhile: it is read again")
        if columns.to_text() != text:
            records.know_columns(name, columns.to_text())

    def _refuse_unread(self, published: Intervals) -> None:
        """What is released after a window was read, and before it is published, would be in it never."""
        now, calendar = self._site.lake.released.state(self._stream.name), self._site.lake.calendar
        changed = [day for day in {*now, *self._released} if now.get(day) != self._released.get(day)]
        if any(published.clip(calendar.day(day)) for day in changed):
            raise Conflict(f"{self._stream.name}: rejected rows were released meanwhile: it is read again")

    def noting(self, contents: Iterable[WindowContent]) -> Iterator[WindowContent]:
        """Yield windows that were read just now, noting where their rejected rows are."""
        for content in contents:
            self._rejected_in[content.window] = content.rejected_in
            yield content

    def keep_rejected(self, receipt: Receipt) -> None:
        """Drop the rejected rows that were kept before of a partition: it is published, with those noted.

        Not where another writer has published it since: then theirs are the last word.
        """
        span, ledger = receipt.span, self._site.ledger
        noted = [w for w in self._rejected_in if span.start <= w.start < span.end]
        if not noted:
            return
        with ledger.transaction():
            is_last = ledger.revision(receipt.table, span) == receipt.revision
            for window in noted:
                name = self._rejected_in.pop(window)
                if is_last:
                    self._site.lake.beside.keep(self._stream.name, window, name)
