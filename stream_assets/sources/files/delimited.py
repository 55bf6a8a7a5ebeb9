# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""CSV: read as text by pyarrow, and given types by rules that do not depend on where a block ends."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.csv

from stream_assets.errors import SourceError
from stream_assets.sources.files.kinds import KINDS, as_kind, misfit
from stream_assets.sources.files.listing import Found
from stream_assets.sources.files.opening import Bytes, IncompleteLine, is_gzip, line_of_bad_text, opened, reading
from stream_assets.sources.files.piece import Flaw, Piece

BLOCK_BYTES = 4 << 20
_HEADER_BYTES = 1 << 16


@dataclass(slots=True)
class Delimited:
    """Reads one CSV file. Its own instance a file: the types that it finds hold for one."""

    texts: Sequence[str]
    times: Sequence[str]
    declared: dict[str, str]
    kinds: dict[str, str] = field(default_factory=dict[str, str])

    def __call__(self, file: Found, *, offset: int = 0, times_only: bool = False) -> Iterator[Piece]:
        """Yield the file's rows; a `piece.Reader`."""
        self.kinds = {**self.declared, **dict.fromkeys(self.texts, "text")}
        with reading(file):
            header, columns = _header(file)
            if not columns:
                return
            for name in self.declared:
                if name not in columns:
                    raise SourceError(f"{file.path} has no column {name!r}, of which types says the type")
            with opened(file, offset) as stream:
                source = io.BufferedReader(_Checked(file, header if offset else b"", stream), 1 << 20)
                wanted = [name for name in self.times if name in columns] if times_only else columns
                yield from self._pieces(file, source, columns, wanted, from_start=not offset)

    def _pieces(
        self,
        file: Found,
        source: io.BufferedReader[_Checked],
        columns: list[str],
        wanted: list[str],
        *,
        from_start: bool,
    ) -> Iterator[Piece]:
        wrong: list[tuple[int, str]] = []

        def skip(row: Any) -> Literal["skip"]:
            wrong.append((row.number, f"has {row.actual_columns} cells, the header {row.expected_columns}"))
            return "skip"

        rows = 2  # The header is row 1.
        try:
            batches = pyarrow.csv.open_csv(
                source,
                # Row numbers are told only without threads.
                read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(columns, pa.string()),
                    include_columns=wanted,
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    null_values=[""],
                ),
            )
            told = 0
            for batch in batches:
                flaws: list[Flaw] = []
                while told < len(wrong) and wrong[told][0] - rows - len(flaws) < batch.num_rows:
                    flaws.append(self._flaw(file, wrong[told], wrong[told][0] - rows - len(flaws), from_start))
                    told += 1
                yield Piece(self._typed(file, batch, rows), tuple(flaws))
                rows += batch.num_rows + len(flaws)
            cut_short = len(wrong) > told and _is_open_ended(file)
            if rest := wrong[told : len(wrong) - cut_short]:
                yield Piece(pa.table({}), tuple(self._flaw(file, row, 0, from_start) for row in rest))
            if cut_short:
                raise IncompleteLine(
                    f"the last line of {file.path} is not whole, so it is still being written: wait for its "
                    "newline, or end the line if nobody writes there any more",
                    whole=_last_line_end(file),
                )
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"{file.path}: {error}: mend it, or rename it so that it begins with '_' to go on without it"
            ) from error

    @staticmethod
    def _flaw(file: Found, row: tuple[int, str], before: int, from_start: bool) -> Flaw:
        where = f"row {row[0]}" if from_start else "one of the last rows"
        return Flaw(before, f"{file.path}: {where} {row[1]}: mend or remove it")

    def _typed(self, file: Found, batch: pa.RecordBatch, first: int) -> pa.Table:
        return pa.table(
            {
                name: self._column(file, name, batch.column(place), first)
                for place, name in enumerate(batch.schema.names)
            }
        )

    def _column(self, file: Found, name: str, cells: Any, first: int) -> Any:
        kind = self.kinds.get(name)
        if kind == "text":
            return cells
        if cells.null_count == len(cells):
            nothing: Any = KINDS[kind] if kind else pa.null()
            return cast("Any", pa.nulls(len(cells), nothing))
        if kind is None:
            for kind in ("int", "float", "bool", "text"):
                if (values := as_kind(cells, kind)) is not None:
                    self.kinds[name] = kind
                    return values
        assert kind is not None
        values = as_kind(cells, kind, strict=name not in self.declared)
        if values is None and kind == "int" and name not in self.declared:
            # Whole numbers in the first block, fractions later: both are numbers.
            values = as_kind(cells, "float")
            self.kinds[name] = "float"
        if values is not None:
            return values
        row, cell = misfit(cells, kind, strict=name not in self.declared)
        raise SourceError(
            f"{file.path}: row {first + row}: column {name!r} is {kind} in the rows before, and {cell!r} is "
            f"not: say types={name}:text to read the column as text"
        )


def _header(file: Found) -> tuple[bytes, list[str]]:
    """Return the header line as it stands, newline included, and its names; nothing for an empty file."""
    with opened(file) as stream:
        raw = stream.readline(_HEADER_BYTES)
    if not raw:
        return b"", []
    if not raw.endswith(b"\n"):
        raise IncompleteLine(f"the header of {file.path} is not whole: wait for its newline, or end the line", whole=0)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{file.path}: line 1 is not UTF-8: write the file again in UTF-8") from error
    names = next(csv.reader([text]))
    doubled = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if doubled:
        raise SourceError(f"{file.path} has the column {doubled[0]!r} twice: rename one of them")
    return raw, names


class _Checked(io.RawIOBase):
    """The header where the stream lacks it, and the stream; raises where it is not UTF-8."""

    def __init__(self, file: Found, head: bytes, stream: Bytes) -> None:
        self._file, self._head, self._stream = file, head, stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._head[: len(buffer)] or self._stream.read(len(buffer))
        self._head = self._head[len(chunk) :]
        try:
            if not chunk.isascii() or self._decoder.getstate()[0] or not chunk:
                self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError:
            raise SourceError(
                f"{self._file.path}: line {line_of_bad_text(self._file)} is not UTF-8: mend the file, or "
                "rename it so that it begins with '_' to go on without it"
            ) from None
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _is_open_ended(file: Found) -> bool:
    """Whether an uncompressed file does not end with a newline."""
    if is_gzip(file):
        return False
    with file.path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - 1))
        return stream.read(1) not in (b"\n", b"\r", b"")


def _last_line_end(file: Found) -> int:
    """Return the number of bytes up to the last newline, that included."""
    with file.path.open("rb") as stream:
        end = stream.seek(0, io.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            stream.seek(start)
            cut = stream.read(end - start).rfind(b"\n")
            if cut >= 0:
                return start + cut + 1
            end = start
    return 0
