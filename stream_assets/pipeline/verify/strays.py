"""Files with the layout: what a reader that lists a table's folders would take is what the ledger names, or is named."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from stream_assets.core.window import Grain, TimeWindow
from stream_assets.pipeline.verify.difference import Findings, Mend


class Strays:
    """Finds in the folders of one table what the ledger does not name, in one walk.

    What lies in a partition's place is looked at inside the span; what lies where no partition can be, always.
    """

    def __init__(self, found: Findings, name: str, grain: Grain) -> None:
        self._found = found
        self._ledger = found.site.ledger
        self._lake = found.site.lake
        self._layout = self._lake.layout
        self._name = name
        self._grain: Grain = grain
        today = self._lake.calendar.day_around(found.site.clock.now())
        self._possible = TimeWindow(min(self._lake.start, today.start), today.end)

    def find(self) -> None:
        """Name each of them, a folder that is no partition's as one."""
        strays = self._unknown(self._files())
        if not strays:
            return
        with self._ledger.transaction():  # a publication that was under way is done now
            strays = self._unknown(path for path in strays if os.path.lexists(path))
        files: dict[Path, int] = {}
        for path in strays:
            place = self._top(path)
            files[place] = files.get(place, 0) + 1
        for place, count in sorted(files.items()):
            many = "" if place in strays else f" ({count:,} file{'s' * (count > 1)})"
            said = f"{self._relative(place)}{many} is not in the ledger, but readers that list folders count it"
            self._found.add("layout", self._name, self._span(place), said, self._mend(place))

    def _files(self) -> Iterator[Path]:
        """Yield what a reader could take. A link to a folder is not followed: it is named itself, and may be a circle."""
        table = self._layout.table(self._name)
        for above, folders, files in os.walk(table, onerror=_raise_unless_replaced):
            folder = Path(above)
            yield from (folder / name for name in files if self._layout.is_for_readers(name))
            if folder == table:
                folders[:] = [name for name in folders if self._is_asked(folder / name)]
            yield from (folder / name for name in folders if (folder / name).is_symlink())

    def _unknown(self, paths: Iterable[Path]) -> list[Path]:
        known = self._ledger.files(self._name)
        found = [path for path in paths if self._relative(path) not in known]
        leaving = {self._layout.root / folder for folder in self._ledger.gone.leaving()}
        asked = [
            path
            for path in found
            if all(self._is_asked(place) and place not in leaving for place in (path, *path.parents))
        ]
        # A partition that somebody keeps elsewhere, behind a link, is in its place.
        return [p for p in asked if not p.is_symlink() or not any(k.startswith(f"{self._relative(p)}/") for k in known)]

    def _is_asked(self, folder: Path) -> bool:
        place = self._place(folder)
        return place is None or place.overlaps(self._found.span) or not place.overlaps(self._possible)

    def _place(self, folder: Path) -> TimeWindow | None:
        """Return the day, or the partition, whose folder this is."""
        return self._layout.span_of(folder, "day") or (
            self._layout.span_of(folder, self._grain) if self._grain != "day" else None
        )

    def _top(self, path: Path) -> Path:
        """Return the highest folder above a file that is no partition's, else the file."""
        table = self._layout.table(self._name)
        above = [folder for folder in path.parents if table in folder.parents]
        return next((folder for folder in reversed(above) if self._place(folder) is None), path)

    def _span(self, stray: Path) -> TimeWindow:
        """Return the event time that a stray's place names: of one at no place, all that was asked for."""
        return next((place for p in (stray, *stray.parents) if (place := self._place(p))), self._found.span)

    def _mend(self, stray: Path) -> Mend:
        """Return what takes a stray away: publishing again what a crash can have left, and people everything else."""
        span = self._layout.span_of(stray.parent, self._grain)
        by_hand = Mend("by hand", f"move {stray} out of the lake")
        if self._layout.revision_of(stray.name) is None or span is None or not span.overlaps(self._possible):
            return by_hand
        can_mend = self._found.is_made(self._grain, span) and self._lake.can_publish(self._name, self._grain, span)
        return self._found.remake(self._name, self._grain, span) if can_mend else by_hand

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self._layout.root))


def _raise_unless_replaced(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
