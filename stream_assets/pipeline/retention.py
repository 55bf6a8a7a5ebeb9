"""What is not kept any longer goes: planned by the rule, done in one transaction a piece, and never while it is in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from stream_assets.core.declaration import StreamSpec
from stream_assets.core.planning import RECORDS, Work, removal_of
from stream_assets.core.window import Grain, TimeWindow
from stream_assets.errors import Conflict, LakeError, StreamAssetsError
from stream_assets.lake.disk import lake_errors
from stream_assets.lake.ledger import Current
from stream_assets.lake.remove import clear, remove
from stream_assets.pipeline.content import delivered
from stream_assets.pipeline.observe import give_up
from stream_assets.pipeline.outcome import Outcome, Report
from stream_assets.pipeline.site import Site, holding

_LEAVING = removal_of("_staging")
"""Under which it stands that something cannot leave its place: apart from what is planned, which that does not stop."""


def remove_planned(site: Site, work: Work, request: int) -> list[Report]:
    """Remove what `work` names, under its lease; returns a report for each table that had something to remove.

    A failure is an outcome. It is remembered apart from those of filling (see `removal_of`), and tried again for ever.
    """
    (name,), records = work.tables, site.ledger.work
    with holding(site, request, name, work.grain, work.span):
        try:
            with lake_errors(site.lake.layout.root):
                gone = _Removal(site, work).do()
        except StreamAssetsError as error:
            failed = Outcome(name, work.span, "failed", None, str(error), type(error))
            records.fail(removal_of(name), work.span, str(error), site.clock.now(), transient=True)
            records.note_failed(request, str(error))
            return [Report(name, (failed,))]
        records.clear_failures(removal_of(name), work.span)
        clear_leaving(site)
        return [
            Report(table, tuple(Outcome(table, s, "removed") for s in spans))
            for table, spans in (gone or {name: []}).items()
        ]


def clear_leaving(site: Site) -> None:
    """Let what is to leave the lake leave it; what cannot is a failure that stands until it can, and stops nothing else."""
    records, now = site.ledger.work, site.clock.now()
    whole = site.lake.calendar.day_around(site.lake.start)  # one failure, whatever cannot leave
    try:
        with lake_errors(site.lake.layout.root):
            site.lake.mark_changes()
            clear(site.lake.layout, site.ledger)
    except StreamAssetsError as error:
        records.fail(_LEAVING, whole, f"what is not kept cannot leave the lake: {error}", now, transient=True)
    else:
        records.clear_failures(_LEAVING, whole)


class _Removal:
    def __init__(self, site: Site, work: Work) -> None:
        self._site = site
        self._ledger = site.ledger
        self._lake = site.lake
        self._layout = site.lake.layout
        self._work = work
        self._span = work.span

    def do(self) -> dict[str, list[TimeWindow]]:
        """Return by table what is gone: partitions, or the whole span where it is no table's."""
        match self._work.removes:
            case "windows":
                return self._windows(self._stream)
            case "days":
                return self._days(self._stream)
            case "rejected":
                return self._rejected(self._stream)
            case "history":
                return self._history()
            case None:
                raise AssertionError(f"{self._work} removes nothing")

    @property
    def _stream(self) -> StreamSpec:
        stream = self._site.declarations.tables[self._work.tables[0]].stream
        assert stream is not None
        return stream

    def _windows(self, stream: StreamSpec) -> dict[str, list[TimeWindow]]:
        copies = self._ledger.current(stream.name, self._span)

        def check() -> Iterable[Path]:
            days = self._ledger.current(stream.daily, self._span)
            has = {start: there for day in days for start, there in delivered(day, {}).items()}
            for copy in copies:
                if has.get(copy.span.start) != (copy.rows, copy.digest):
                    raise LakeError(
                        f"{copy.table} {copy.span}: its file stays, since its day has other events there: "
                        f"`stream-assets verify {stream.daily}` says which, and what mends it"
                    )
            return ()

        return self._remove([("5 min", c) for c in copies], check)

    def _days(self, stream: StreamSpec) -> dict[str, list[TimeWindow]]:
        days = self._ledger.current(stream.daily, self._span)
        windows = self._ledger.current(stream.name, self._span)

        def together() -> Iterable[Path]:
            self._ledger.settle(stream.daily, self._span, self._ledger.reopened.mark())
            self._ledger.gone.advance("kept_from", stream.name, self._span.end)
            give_up(self._site)
            beside = self._layout.beside(stream.name)
            return [path for path, day in beside if day.overlaps(self._span)]

        return self._remove([*(("day", c) for c in days), *(("5 min", c) for c in windows)], together)

    def _rejected(self, stream: StreamSpec) -> dict[str, list[TimeWindow]]:
        def together() -> Iterable[Path]:
            self._ledger.gone.advance("rejected_from", stream.name, self._span.end)
            return [path for path, day in self._layout.rejected_days(stream.name) if day.overlaps(self._span)]

        self._remove([], together)
        return {self._work.tables[0]: [self._span]}

    def _history(self) -> dict[str, list[TimeWindow]]:
        with self._ledger.transaction():
            self._ledger.history.fold(self._span.end)
            self._ledger.gone.move_border("history_from", RECORDS, self._span.end)
        return {RECORDS: [self._span]}

    def _remove(
        self, partitions: list[tuple[Grain, Current]], together: Callable[[], Iterable[Path]]
    ) -> dict[str, list[TimeWindow]]:
        now = self._site.clock.now()
        gone: dict[str, list[TimeWindow]] = {}
        for _, current in partitions:
            gone.setdefault(current.table, []).append(current.span)
        try:
            remove(self._layout, self._ledger, self._span, partitions, self._work.reason, now, together)
        except Conflict:
            if any(self._ledger.current(table, self._span) for table in gone):
                raise
            return {}  # somebody else has removed it, while this process was held up
        return gone
