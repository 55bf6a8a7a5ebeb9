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
from stream_assets.sources.files.exact import refuse_rounded_cells
from stream_assets.sources.files.kinds import KINDS, as_kind, misfit
from stream_assets.sources.files.limits import MOST_FLAWS, Expansion, refuse_columns, refuse_doubled, too_many_flaws
from stream_assets.sources.files.listing import Found
from stream_assets.sources.files.opening import (
    Bytes,
    IncompleteLine,
    Lending,
    inside,
    is_gzip,
    line_at,
    line_of_bad_text,
    opened,
    reading,
)
from stream_assets.sources.files.piece import Flaw, Piece
from stream_assets.sources.files.quotes import QuotedAmid, Quotes

BLOCK_BYTES = 4 << 20
_HEADER_BYTES = 1 << 20


@dataclass(slots=True)
class Delimited:
    """Reads one CSV file. Its own instance a file: the types that it finds hold for one."""

    texts: Sequence[str]
    times: Sequence[str]
    declared: dict[str, str]
    max_ratio: int
    max_columns: int
    kinds: dict[str, str] = field(default_factory=dict[str, str])

    def __call__(self, file: Found, *, offset: int = 0, times_only: bool = False) -> Iterator[Piece]:
        """Yield the file's rows; a `piece.Reader`."""
        self.kinds = {**self.declared, **dict.fromkeys(self.texts, "text")}
        with reading(file):
            header, columns = _header(file)
            if not columns:
                return
            refuse_columns(file, len(columns), self.max_columns)
            for name in self.declared:
                if name not in columns:
                    raise SourceError(
                        f"{file.path} has no column {name!r}, of which types= says the type: mend either; there are "
                        f"{', '.join(map(repr, columns))}"
                    )
            with opened(file, offset) as stream:
                checked = _Checked(file, header if offset else b"", stream, offset, Expansion(file, self.max_ratio))
                wanted = [name for name in self.times if name in columns] if times_only else columns
                yield from self._pieces(file, checked, columns, wanted, from_start=not offset)

    def _pieces(
        self, file: Found, checked: _Checked, columns: list[str], wanted: list[str], *, from_start: bool
    ) -> Iterator[Piece]:
        wrong: list[tuple[int, str]] = []

        def skip(row: Any) -> Literal["skip", "error"]:
            wrong.append((row.number, f"has {row.actual_columns} cells, the header {row.expected_columns}"))
            # The scan refuses what has so many; the rest need not be looked at.
            return "skip" if len(wrong) <= MOST_FLAWS else "error"

        rows = 2  # The header is row 1.
        told = 0
        waiting: tuple[pa.RecordBatch, tuple[Flaw, ...], int] | None = None
        try:
            for batch in _batches(checked, columns, wanted, skip):
                if waiting:
                    yield self._piece(file, *waiting)
                flaws: list[Flaw] = []
                while told < len(wrong) and wrong[told][0] - rows - len(flaws) < batch.num_rows:
                    flaws.append(self._flaw(file, wrong[told], wrong[told][0] - rows - len(flaws), from_start))
                    told += 1
                waiting = batch, tuple(flaws), rows
                rows += batch.num_rows + len(flaws)
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            if len(wrong) > MOST_FLAWS:
                raise too_many_flaws(file) from error
            raise _unreadable(file, str(error)) from error
        # The row with a quote that is not closed has swallowed all that follows.
        is_swallowed = checked.opened_at is not None
        is_cut_short = len(wrong) > told and (is_swallowed or _is_open_ended(file))
        if waiting:
            batch, flaws_of_batch, first = waiting
            whole = len(batch) - (is_swallowed and not is_cut_short)
            yield self._piece(file, batch.slice(0, whole), flaws_of_batch, first)
        if rest := wrong[told : len(wrong) - is_cut_short]:
            yield Piece(pa.table({}), tuple(self._flaw(file, row, 0, from_start) for row in rest))
        if is_swallowed:
            raise checked.not_closed()
        if is_cut_short:
            raise IncompleteLine(
                f"the last line of {file.path} is not whole, so it is still being written: wait for its "
                "newline, or end the line if nobody writes there any more",
                whole=_last_line_end(file),
            )

    @staticmethod
    def _flaw(file: Found, row: tuple[int, str], before: int, from_start: bool) -> Flaw:
        where = f"row {row[0]}" if from_start else "one of the last rows"
        return Flaw(before, f"{file.path}: {where} {row[1]}: mend or remove it")

    def _piece(self, file: Found, batch: pa.RecordBatch, flaws: tuple[Flaw, ...], first: int) -> Piece:
        columns = {
            name: self._column(file, name, batch.column(place), first) for place, name in enumerate(batch.schema.names)
        }
        return Piece(pa.table(columns), flaws)

    def _column(self, file: Found, name: str, cells: Any, first: int) -> Any:
        values = self._typed(file, name, cells, first)
        if self.kinds.get(name) == "float" and name not in self.declared:
            refuse_rounded_cells(file, name, cells, values, first)
        return values

    def _typed(self, file: Found, name: str, cells: Any, first: int) -> Any:
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


def _batches(checked: _Checked, columns: list[str], wanted: list[str], skip: Any) -> Iterator[pa.RecordBatch]:
    """Yield the rows in batches, none of them empty; `skip` is asked what to do with a row of too few or many cells."""
    with Lending() as lend:
        yield from filter(
            len,
            pyarrow.csv.open_csv(
                lend(io.BufferedReader(checked, 1 << 20)),
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
            ),
        )


def _header(file: Found) -> tuple[bytes, list[str]]:
    """Return the header as it stands, newline included, and its names; nothing for an empty file."""
    with opened(file) as stream:
        raw = stream.readline(_HEADER_BYTES)
        while raw in (b"\n", b"\r\n"):
            raw = stream.readline(_HEADER_BYTES)
        lines, size, is_open = [raw], len(raw), raw.count(b'"') % 2
        while is_open and size < _HEADER_BYTES and (more := stream.readline(_HEADER_BYTES)):
            lines.append(more)
            size += len(more)
            is_open ^= more.count(b'"') % 2
        raw = b"".join(lines)
    if not raw:
        return b"", []
    if len(raw) >= _HEADER_BYTES:
        raise SourceError(f"{file.path} has a header of more than {_HEADER_BYTES >> 20} MiB: is it CSV, with a header?")
    if not raw.endswith(b"\n"):
        if b"\r" in raw[:-1]:
            raise SourceError(f"{file.path} ends its lines with CR alone: write LF, or CR and LF")
        raise IncompleteLine(f"the header of {file.path} is not whole: wait for its newline, or end the line", whole=0)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{file.path}: line 1 is not UTF-8: write the file again in UTF-8") from error
    names = next(csv.reader(io.StringIO(text, newline="")))
    refuse_doubled(file, names)
    return raw, names


def _unreadable(file: Found, said: str) -> SourceError:
    if "straddling" in said:
        said = f"a row has more than {BLOCK_BYTES >> 20} MiB; is a quote not closed?"
    return SourceError(f"{file.path}: {said}: mend it, or rename it so that it begins with '_' to go on without it")


class _Checked(io.RawIOBase):
    """The header where the stream lacks it, and the stream; raises where it is not UTF-8, or a quote is amid a cell.

    Attributes:
        opened_at: byte of the file where a quote opens that is not closed so far.
    """

    def __init__(self, file: Found, head: bytes, stream: Bytes, offset: int, expansion: Expansion) -> None:
        self._expansion = expansion
        self._file, self._head, self._stream, self._offset = file, head, stream, offset
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._quotes = Quotes()

    @property
    def opened_at(self) -> int | None:
        opened = self._quotes.opened_at
        return None if opened is None else self._offset + opened

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._head:
            chunk, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        else:
            chunk = self._stream.read(len(buffer))
            self._expansion.add(len(chunk))
            self._check(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def _check(self, chunk: bytes) -> None:
        try:
            if not chunk.isascii() or self._decoder.getstate()[0] or not chunk:
                self._decoder.decode(chunk, final=not chunk)
            self._quotes.feed(chunk)
        except UnicodeDecodeError:
            raise SourceError(
                f"{self._file.path}: line {line_of_bad_text(self._file)} is not UTF-8: mend the file, or "
                "rename it so that it begins with '_' to go on without it"
            ) from None
        except QuotedAmid as error:
            raise SourceError(
                f"{self._file.path}: line {line_at(self._file, self._offset + error.place)} has a quote amid a cell: "
                "close the one before it, or write two for one"
            ) from None

    def not_closed(self) -> SourceError | IncompleteLine:
        """Return the error of a quote that is open at the end: of a compressed file, which nobody appends to, terminal."""
        assert self.opened_at is not None
        said = f"{self._file.path}: a quote in line {line_at(self._file, self.opened_at)} is not closed"
        if is_gzip(self._file):
            return SourceError(f"{said}: close it, or rename the file so that it begins with '_' to go on without it")
        whole = _last_line_end(self._file)
        # Where the row began is known only if the quote opens in the last line.
        return IncompleteLine(
            f"{said}, so the row is still being written: wait, or close it if nobody writes there any more",
            whole=whole if whole <= self.opened_at else 0,
        )


def _is_open_ended(file: Found) -> bool:
    """Whether an uncompressed file does not end with a newline."""
    if is_gzip(file):
        return False
    with inside(file) as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - 1))
        return stream.read(1) not in (b"\n", b"\r", b"")


def _last_line_end(file: Found) -> int:
    """Return the number of bytes up to the last newline, that included."""
    with inside(file) as stream:
        end = stream.seek(0, io.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            stream.seek(start)
            cut = stream.read(end - start).rfind(b"\n")
            if cut >= 0:
                return start + cut + 1
            end = start
    return 0
