# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""JSON lines, a block of whole lines at a time.

pyarrow parses; we cut the blocks, so that a line that is no JSON object can be named and left out, and so
that the end of a file that is still being written is noticed.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa
import pyarrow.json

from stream_assets.errors import SourceError
from stream_assets.sources.files.listing import Found
from stream_assets.sources.files.opening import Bytes, IncompleteLine, opened, reading
from stream_assets.sources.files.piece import Flaw, Piece

BLOCK_BYTES = 8 << 20
_LONGEST_LINE = 64 << 20
_PARSED_AT_ONCE = 1 << 20


@dataclass(slots=True)
class JsonLines:
    """Reads the JSON lines of files.

    Attributes:
        id: name of the id column.
        times: names of the columns that tell times, that of the event first.
        text: types of the columns found to hold text that looks like a date, from block to block and file to
        file.
    """

    id: str
    times: Sequence[str]
    text: dict[str, pa.DataType] = field(default_factory=dict[str, pa.DataType])

    def __call__(self, file: Found, *, offset: int = 0, times_only: bool = False) -> Iterator[Piece]:
        """Yield the file's objects; a `piece.Reader`."""
        line, done = 1, offset
        with reading(file), opened(file, offset) as stream:
            for block in _blocks(stream, file):
                if not block.endswith(b"\n") and not _is_object(block[block.rfind(b"\n") + 1 :]):
                    cut = block.rfind(b"\n") + 1
                    if cut:
                        yield self._piece(file, block[:cut], line, block.count(b"\n"), times_only)
                    raise IncompleteLine(
                        f"the last line of {file.path} is not whole, so it is still being written: wait for "
                        "its newline, or end the line if nobody writes there any more",
                        whole=done + cut,
                    )
                newlines = block.count(b"\n")
                yield self._piece(file, block, line, newlines, times_only)
                line += newlines
                done += len(block)

    def _piece(self, file: Found, block: bytes, line: int, newlines: int, times_only: bool) -> Piece:
        if line == 1 and block.startswith(b"\xef\xbb\xbf"):
            block = block[3:]
        try:
            if not block.isascii():
                block.decode()
            table = self._table(block, times_only)
            if table.num_rows == newlines + (not block.endswith(b"\n")) or table.num_rows == _lines(block):
                self._check_id(file, table)
                return Piece(table)
        except (UnicodeDecodeError, pa.ArrowInvalid):
            pass
        return self._line_by_line(file, block, line, times_only)

    def _line_by_line(self, file: Found, block: bytes, first: int, times_only: bool) -> Piece:
        """Leave out the lines that are no objects, and say which they are."""
        last = first + block.count(b"\n") - block.endswith(b"\n")
        good: list[bytes] = []
        flaws: list[Flaw] = []
        for number, line in enumerate(block.split(b"\n"), first):
            if not line.strip():
                continue
            try:
                value = json.loads(line.decode())
                wrong = None if isinstance(value, dict) else "is JSON, but no object"
            except UnicodeDecodeError:
                wrong = "is not UTF-8"
            except (ValueError, RecursionError) as error:
                wrong = f"is not JSON ({error})"
            if wrong is None:
                good.append(line)
            else:
                flaws.append(Flaw(len(good), f"{file.path}: line {number} {wrong}: mend or remove it"))
        if not good:
            return Piece(pa.table({}), tuple(flaws))
        try:
            table = self._table(b"\n".join(good) + b"\n", times_only)
        except pa.ArrowInvalid as error:
            raise SourceError(_why(file, str(error), first, last)) from error
        if table.num_rows != len(good):
            raise SourceError(f"{file.path}: lines {first} to {last} do not hold one object each: write one a line")
        self._check_id(file, table)
        return Piece(table, tuple(flaws))

    def _table(self, block: bytes, times_only: bool) -> pa.Table:
        if not block.strip():
            return pa.table({})
        known = {name: kind for name, kind in self.text.items() if not times_only or name in self.times}
        if times_only:
            known = {name: pa.string() for name in self.times} | known
        try:
            table = self._parse(block, known, ignore=times_only)
        except pa.ArrowInvalid:
            # What an earlier block taught may not hold for this one.
            return self._parse(block, {}, ignore=False)
        if times_only and _is_null(table, self.times[0]):
            return self._parse(block, {}, ignore=False)
        # A column that was asked for is there, even where no object has it.
        spare = [n for n in known if n not in (self.id, *self.times) and _is_null(table, n)]
        return table.drop_columns(spare) if spare else table

    def _parse(self, block: bytes, known: dict[str, pa.DataType], *, ignore: bool) -> pa.Table:
        """Parse; text that looks like a date is read again as the text that it is, until none is left."""
        while True:
            table = self._parse_as(block, known, ignore=ignore)
            types: dict[str, Any] = dict(zip(table.schema.names, table.schema.types, strict=True))
            dates = {name: _as_text(kind) for name, kind in types.items() if _as_text(kind) != kind}
            if not dates:
                return table
            self.text |= dates
            known = known | dates

    @staticmethod
    def _parse_as(block: bytes, known: dict[str, pa.DataType], *, ignore: bool) -> pa.Table:
        return pyarrow.json.read_json(
            io.BytesIO(block),
            read_options=pyarrow.json.ReadOptions(block_size=max(_PARSED_AT_ONCE, len(block) // 8)),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema(list(known.items())) if known else None,
                unexpected_field_behavior="ignore" if ignore else "infer",
            ),
        )

    def _check_id(self, file: Found, table: pa.Table) -> None:
        place = table.schema.get_field_index(self.id)
        if place >= 0 and pa.types.is_floating(cast("Any", table.schema.field(place).type)):
            raise SourceError(
                f"{file.path}: column {self.id!r} has numbers with a fraction or of more than 64 bits, which "
                "are no exact ids: write ids as text"
            )


def _blocks(stream: Bytes, file: Found) -> Iterator[bytes]:
    """Yield blocks of whole lines; the last one may end without a newline."""
    waiting: list[bytes] = []
    size = 0
    while chunk := stream.read1(BLOCK_BYTES):
        waiting.append(chunk)
        size += len(chunk)
        if size < BLOCK_BYTES:
            continue
        block = b"".join(waiting)
        cut = block.rfind(b"\n") + 1
        if cut:
            yield block[:cut]
        elif size > _LONGEST_LINE:
            raise SourceError(f"{file.path} has a line of more than {_LONGEST_LINE >> 20} MiB: write one object a line")
        waiting = [block[cut:]]
        size -= cut
    if size:
        yield b"".join(waiting)


def _lines(block: bytes) -> int:
    return sum(1 for line in block.split(b"\n") if line.strip())


def _is_object(line: bytes) -> bool:
    try:
        return not line.strip() or isinstance(json.loads(line.decode()), dict)
    except (ValueError, RecursionError):
        return False


def _is_null(table: pa.Table, name: str) -> bool:
    return name in table.schema.names and table.column(name).null_count == table.num_rows


def _as_text(kind: Any) -> Any:
    """Return `kind` with text in the place of timestamps, which JSON does not have."""
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        fields: list[Any] = [kind.field(place) for place in range(kind.num_fields)]
        return pa.struct([(field.name, _as_text(field.type)) for field in fields])
    if pa.types.is_list(kind):
        return pa.list_(_as_text(kind.value_type))
    return kind


def _why(file: Found, message: str, first: int, last: int) -> str:
    found = re.search(r"Column\(/?(.*?)\) changed from (\w+) to (\w+)", message)
    what = f"column {found[1]!r} changes from {found[2]} to {found[3]}" if found else message
    return f"{file.path}: in lines {first} to {last} {what}: give it one type throughout"
