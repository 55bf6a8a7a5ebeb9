"""Where everything lies in a lake. Nobody else joins path strings.

<lake>/events/day=2026-03-01/window_start=20260301T0005Z/part-r1-<digest8>.parquet     local day, UTC window
<lake>/events_daily/day=2026-03-01/part-r1-<digest8>.parquet
<lake>/<consumer>/day=.../[window_start=.../]part-r1-<digest8>.parquet
<lake>/_ledger.sqlite   <lake>/_lake.json   <lake>/_staging/   <lake>/_rejected/   <lake>/_released/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from stream_assets.core.digest import Digest
from stream_assets.core.window import GRID, Calendar, Grain, TimeWindow
from stream_assets.errors import LakeError, StreamAssetsError

_PART = re.compile(r"part-r(\d+)-[0-9a-f]{8}\.parquet")


@dataclass(frozen=True, slots=True)
class Layout:
    """Builds paths below `root`; touches no disk but where it says so."""

    root: Path
    calendar: Calendar

    @property
    def ledger(self) -> Path:
        """The ledger's database file."""
        return self.root / "_ledger.sqlite"

    @property
    def marker(self) -> Path:
        """File beside the ledger that says whose lake this is, and what was fixed when it was made."""
        return self.root / "_lake.json"

    @property
    def staging(self) -> Path:
        """Folder of partitions that are being made, or have just been replaced."""
        return self.root / "_staging"

    def rejected(self, stream: str, window: TimeWindow) -> Path:
        """Folder of the rejected rows of one window of `stream`."""
        return self.root / "_rejected" / self._folder(stream, "5 min", window)

    def all_rejected(self, stream: str) -> Path:
        """Folder of all rejected rows of `stream`."""
        return self.root / "_rejected" / stream

    def rejected_days(self, stream: str) -> Iterator[tuple[Path, TimeWindow]]:
        """Yield the folder of each local day of which `stream` has rejected rows. This looks at the disk."""
        return self._by_day(self.all_rejected(stream), r"day=(\d{4}-\d\d-\d\d)")

    def beside(self, stream: str) -> Iterator[tuple[Path, TimeWindow]]:
        """Yield what lies beside the tables of `stream` by local day: folders of rejected rows, files of released events."""
        yield from self.rejected_days(stream)
        yield from self._by_day(self.all_released(stream), r"day=(\d{4}-\d\d-\d\d)-r\d+-[0-9a-f]{8}\.parquet")

    def _by_day(self, folder: Path, pattern: str) -> Iterator[tuple[Path, TimeWindow]]:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            with suppress(ValueError):  # no day of any calendar
                if match := re.fullmatch(pattern, path.name):
                    yield path, self.calendar.day(date.fromisoformat(match[1]))

    def all_released(self, stream: str) -> Path:
        """Folder of all released events of `stream`."""
        return self.root / "_released" / stream

    def table(self, name: str) -> Path:
        """Folder of all partitions of a table."""
        return self.root / name

    def partition(self, table: str, grain: Grain, span: TimeWindow) -> Path:
        """Folder of one partition; it holds one file."""
        return self.root / self._folder(table, grain, span)

    def _folder(self, table: str, grain: Grain, span: TimeWindow) -> Path:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", table):
            raise LakeError(f"{table!r} is no table name")
        day = Path(table) / f"day={self.calendar.day_of(span.start)}"
        return day if grain == "day" else day / f"window_start={span.start:%Y%m%dT%H%MZ}"

    def span_of(self, folder: Path, grain: Grain) -> TimeWindow | None:
        """Return the partition of `grain` whose folder is spelled just so; None for every other folder."""
        try:
            if grain == "day":
                span = self.calendar.day(date.fromisoformat(folder.name.removeprefix("day=")))
            else:
                start = datetime.strptime(folder.name, "window_start=%Y%m%dT%H%MZ").replace(tzinfo=UTC)
                span = TimeWindow(start, start + GRID)
            table, *_ = folder.relative_to(self.root).parts
            return span if span.is_on_grid and self.partition(table, grain, span) == folder else None
        except (ValueError, OverflowError, StreamAssetsError):
            return None

    def keys(self, grain: Grain, span: TimeWindow) -> dict[str, str]:
        """Return the reserved columns of a partition as its path spells them."""
        keys = {"day": f"{self.calendar.day_of(span.start)}"}
        return keys if grain == "day" else {**keys, "window_start": f"{span.start:%Y%m%dT%H%MZ}"}

    @staticmethod
    def part(revision: int, digest: Digest) -> str:
        """Name of a partition's file: never used twice for one partition."""
        return f"part-r{revision}-{digest.short}.parquet"

    @staticmethod
    def is_for_readers(name: str) -> bool:
        """Whether a reader that lists folders may take a file of that name: by its suffix, or because it is not hidden."""
        return name.lower().endswith(".parquet") or not name.startswith((".", "_"))

    @staticmethod
    def revision_of(name: str) -> int | None:
        """Return the revision in a file's name; None for a file that is no part."""
        match = _PART.fullmatch(name)
        return int(match[1]) if match else None
