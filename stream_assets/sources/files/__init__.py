"""A folder of files that events land in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from stream_assets.core.lateness import Auto, allowed, said
from stream_assets.core.window import TimeWindow, utc
from stream_assets.errors import DeclarationError
from stream_assets.sources.protocol import Arrivals, SourceState

# Declaring a source must not load pyarrow, so what reads files is imported when events are asked for.
if TYPE_CHECKING:
    import pyarrow as pa

    from stream_assets.events.conform import Names

SUFFIXES = {
    "jsonl": (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz"),
    "csv": (".csv", ".csv.gz"),
    "parquet": (".parquet", ".pq"),
}
"""Which files of the folder belong to a format."""

_KINDS = ("text", "int", "float", "bool")


@dataclass(frozen=True, slots=True)
class FileEvents:
    """Events in the files of a folder and its subfolders: JSON lines, CSV (both also gzip) or Parquet.

    A file belongs to the source by its suffix (`SUFFIXES`). Names that begin with `.` or `_` or end in
    `.tmp`, and
    folders of such names, are left alone: write a file under such a name and rename it once it is whole. A
    link out of the folder, or to nothing, is a file that cannot be read.

    A file may grow, be replaced, or be moved in from elsewhere; it is known by path, size and modification
    time. A change that leaves all three as they were is not noticed. A file that is gone is not missed: what
    was published stays published.

    JSON lines: text stays text, also where it looks like a date. CSV: commas, one header line, UTF-8, `""`
    inside quotes, rows of up to 4 MiB; an empty cell without quotes is null, and nothing else is (`NA` is text). The id and the
    times are always text. Any other column is a number (or `true`/`false`) only if every cell of the file's
    first block (4 MiB) is written as one, without leading zeros, and text otherwise; a later cell that does
    not fit is an error that names it. Say `types` where files would be taken differently.

    JSON lines and CSV: an integer that a float cannot hold is an error in a column with fractions, never rounded.

    Times are timestamps with a time zone, or ISO 8601 text with an offset; with `timezone`, also without.

    Attributes:
        path: the folder; relative ones from the working directory.
        format: `jsonl`, `csv` or `parquet`.
        id, time, arrival: names of the columns; `arrival` None where there is none.
        lateness: distance of the watermark behind the clock: how long a file may take to land; `Auto` learns it, of files
            with an arrival time.
        timezone: of times that say none, like `Europe/Berlin`; empty: their rows are rejected, and can be released once
            it is set.
        types: of CSV columns, like `zip:text,amount:float`; also `int` and `bool`.
        max_ratio: how many times its own size a file's content may be, once that is more than 256 MiB: text seldom
            shrinks by more than 100, gzip can by 1000.
        max_columns: how many columns a file may have, those nested in others counted too.
    """

    path: str
    format: str = "jsonl"
    id: str = "event_id"
    time: str = "event_time"
    arrival: str | None = None
    lateness: timedelta | Auto = timedelta(minutes=2)
    types: str = ""
    max_ratio: int = 250
    max_columns: int = 10_000
    timezone: str = ""

    def __post_init__(self) -> None:
        if not self.path:
            raise DeclarationError("files: path is empty: name the folder that the files land in")
        if self.format not in SUFFIXES:
            raise DeclarationError(f"files: format {self.format!r} is not known: write jsonl, csv or parquet")
        if self.settling < timedelta(0):
            raise DeclarationError(f"files: lateness must not be negative, not {self.lateness}")
        columns = [self.id, self.time, *([] if self.arrival is None else [self.arrival])]
        if not all(columns) or len(set(columns)) < len(columns):
            raise DeclarationError(
                f"files: id, time and arrival must be different columns, not {', '.join(map(repr, columns))}"
            )
        if min(self.max_ratio, self.max_columns) < 1:
            raise DeclarationError("files: max_ratio and max_columns must be at least 1")
        if self.timezone:
            try:
                ZoneInfo(self.timezone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise DeclarationError(
                    f"files: time zone {self.timezone!r} is not known: write one like Europe/Berlin"
                ) from None
        self.column_types()

    @property
    def names(self) -> Names:
        """The columns' names as declared."""
        from stream_assets.events.conform import Names

        return Names(self.id, self.time, self.arrival, self.timezone)

    @property
    def settling(self) -> timedelta:
        """`lateness`, as it was declared or learned."""
        return allowed(self.lateness)

    @property
    def folder(self) -> Path:
        """The folder."""
        return Path(self.path)

    def watermark(self, now: datetime) -> datetime:
        """Return `now` - `lateness`: the clock alone, so an idle folder's watermark advances too."""
        return utc(now) - self.settling

    def read(self, window: TimeWindow, *, now: datetime, state: SourceState | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the events of `[start, end)` of the files that are there.

        A line that is no JSON object (or a CSV row with cells missing) stops the reads that include the place
        of the rows around it; a file whose rest cannot be read, those from its last good row to the file's
        modification time. Reads elsewhere go on without it, and without a last line that is not whole yet.

        Raises:
            SourceIncomplete: transient; the last line is not whole yet.
            SourceUnavailable: transient; a file went away meanwhile.
            SourceError: terminal; no such folder, or a file that cannot be read, named with line and column.
        """
        from stream_assets.sources.files.reading import read

        return read(self, window, now=utc(now), state=state)

    def schema(self, *, now: datetime) -> pa.Schema | None:
        """Return the columns of the last file by name that can be read, or None where there is none."""
        from stream_assets.sources.files.reading import schema

        return schema(self, now=utc(now))

    def arrivals(self, cursor: str | None, *, now: datetime, state: SourceState | None = None) -> Arrivals | None:
        """Name the windows that have events of the new and changed files; None without a `state`.

        Of a JSON lines or CSV file that only grew, those of the new lines; of any other changed file all that
        it has or had. Looks at new and changed files only, at most about 1 GiB of them a call: the rest is
        the next call's. A file that cannot be read is remembered as such and stops the reads of its windows,
        not this look.

        Raises:
            SourceError: terminal; no such folder, a link out of it, or a cursor that is none of this source.
        """
        from stream_assets.sources.files.arriving import arrivals

        return None if state is None else arrivals(self, cursor, now=utc(now), state=state)

    @property
    def place(self) -> str:
        """The folder."""
        return self.path

    def describe(self) -> str:
        """Say format and folder."""
        return f"{self.format} files in {self.path}{said(self.lateness)}"

    def column_types(self) -> dict[str, str]:
        """Return `types` by column.

        Raises:
            DeclarationError: terminal; it is not understood, or the format has types of its own.
        """
        found: dict[str, str] = {}
        for part in filter(None, (part.strip() for part in self.types.split(","))):
            name, colon, kind = part.rpartition(":")
            if not colon or not name or kind not in _KINDS:
                raise DeclarationError(f"files: types {part!r} is not understood: write column:{'|'.join(_KINDS)}")
            found[name] = kind
        if found and self.format != "csv":
            raise DeclarationError(f"files: types are for csv alone, {self.format} files have types of their own")
        return found
