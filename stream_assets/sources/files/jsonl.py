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
from stream_assets.events.schema import DEEPEST
from stream_assets.sources.files.exact import refuse_rounded
from stream_assets.sources.files.limits import LONGEST_LINE, MOST_CELLS, MOST_FLAWS, Expansion, first_doubled
from stream_assets.sources.files.listing import Found
from stream_assets.sources.files.opening import Bytes, IncompleteLine, Lending, opened, reading
from stream_assets.sources.files.piece import Flaw, Piece

BLOCK_BYTES = 8 << 20
_PARSED_AT_ONCE = 1 << 20
_MOST_RUNS = 64
_DEEP = (b"]" * DEEPEST, b"}" * DEEPEST, b"]}" * (DEEPEST // 2), b"}]" * (DEEPEST // 2))
"""How values end that are nested too deep: looked for in all bytes, because the parser would run out of stack."""


@dataclass(slots=True)
class JsonLines:
    """Reads the JSON lines of files.

    Attributes:
        id: name of the id column.
        times: names of the columns that tell times, that of the event first.
        max_ratio: how many times its own size a compressed file's content may be.
        text: types of the columns found to hold text that looks like a date, from block to block and file to
        file.
    """

    id: str
    times: Sequence[str]
    max_ratio: int
    text: dict[str, pa.DataType] = field(default_factory=dict[str, pa.DataType])

    def __call__(self, file: Found, *, offset: int = 0, times_only: bool = False) -> Iterator[Piece]:
        """Yield the file's objects; a `piece.Reader`."""
        line, done = 1, offset
        with reading(file), opened(file, offset) as stream:
            for block in _blocks(stream, file, Expansion(file, self.max_ratio)):
                if not block.endswith(b"\n") and not _is_json(block[block.rfind(b"\n") + 1 :]):
                    cut = block.rfind(b"\n") + 1
                    if cut:
                        yield from self._pieces(file, block[:cut], line, block.count(b"\n"), times_only)
                    raise IncompleteLine(
                        f"the last line of {file.path} is not whole, so it is still being written: wait for "
                        "its newline, or end the line if nobody writes there any more",
                        whole=done + cut,
                    )
                newlines = block.count(b"\n")
                yield from self._pieces(file, block, line, newlines, times_only)
                line += newlines
                done += len(block)

    def _pieces(self, file: Found, block: bytes, line: int, newlines: int, times_only: bool) -> list[Piece]:
        if line == 1 and block.startswith(b"\xef\xbb\xbf"):
            block = block[3:]
        try:
            if not block.isascii():
                block.decode()
            if not _is_deep(block):
                table = self._table(block, times_only)
                if table.num_rows == newlines + (not block.endswith(b"\n")) or table.num_rows == _lines(block):
                    self._check(file, table, block)
                    return [Piece(table)]
        except (UnicodeDecodeError, pa.ArrowInvalid):
            pass
        return self._line_by_line(file, block, line, times_only)

    def _line_by_line(self, file: Found, block: bytes, first: int, times_only: bool) -> list[Piece]:
        """Leave out the lines that are no objects, and say which they are."""
        last = first + block.count(b"\n") - block.endswith(b"\n")
        good: list[bytes] = []
        flaws: list[Flaw] = []
        for number, line in enumerate(block.split(b"\n"), first):
            if not line.strip():
                continue
            wrong = _wrong(line)
            if wrong is None:
                good.append(line)
            else:
                what_next = "mend or remove it (a file holds one object a line)"
                flaws.append(Flaw(len(good), f"{file.path}: line {number} {wrong}: {what_next}"))
                if len(flaws) > MOST_FLAWS:  # the scan refuses what has so many; the rest need not be looked at
                    break
        if not good:
            return [Piece(pa.table({}), tuple(flaws))]
        pieces: list[Piece] = []
        wrong = self._runs(good, flaws, pieces, times_only)
        if wrong is not None:
            raise SourceError(_why(file, str(wrong), first, last)) from wrong
        if sum(piece.table.num_rows for piece in pieces) != len(good):
            raise SourceError(f"{file.path}: lines {first} to {last} do not hold one object each: write one a line")
        begin = 0
        for piece in pieces:
            end = begin + piece.table.num_rows
            self._check(file, piece.table, b"\n".join(good[begin:end]))
            begin = end
        return pieces

    def _runs(
        self, good: list[bytes], flaws: list[Flaw], pieces: list[Piece], times_only: bool
    ) -> pa.ArrowInvalid | None:
        """Add lines as pieces in each of which every column has one type; what is wrong where that is many or none."""
        try:
            pieces.append(Piece(self._of_one_type(good, times_only), tuple(flaws)))
            return None
        except pa.ArrowInvalid as error:
            if len(good) == 1 or len(pieces) >= _MOST_RUNS:
                return error
        middle = len(good) // 2
        later = [Flaw(flaw.before - middle, flaw.message) for flaw in flaws if flaw.before >= middle]
        wrong = self._runs(good[:middle], [f for f in flaws if f.before < middle], pieces, times_only)
        return wrong or self._runs(good[middle:], later, pieces, times_only)

    def _of_one_type(self, good: list[bytes], times_only: bool) -> pa.Table:
        try:
            return self._table(b"\n".join(good) + b"\n", times_only)
        except pa.ArrowInvalid:
            # A time that is no text is one row's fault, and rejected with it.
            return self._table(b"\n".join(map(self._times_as_text, good)) + b"\n", times_only)

    def _times_as_text(self, line: bytes) -> bytes:
        """Return the object with its times as text, so that one that is a number is no other type than the rest."""
        value: dict[str, Any] = json.loads(line)
        wrong = {n: json.dumps(value[n]) for n in self.times if not isinstance(value.get(n), str | None)}
        return json.dumps(value | wrong).encode() if wrong else line

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

    def _parse_as(self, block: bytes, known: dict[str, pa.DataType], *, ignore: bool) -> pa.Table:
        options = pyarrow.json.ParseOptions(
            explicit_schema=pa.schema(list(known.items())) if known else None,
            unexpected_field_behavior="ignore" if ignore else "infer",
        )
        try:
            return _read_json(block, max(_PARSED_AT_ONCE, len(block) // 8), options)
        except pa.ArrowInvalid as error:
            if "straddling" not in str(error):
                raise
            # A line is longer than what is parsed at once.
            return _read_json(block, len(block) + 1, options)

    def _check(self, file: Found, table: pa.Table, text: bytes) -> None:
        place = table.schema.get_field_index(self.id)
        if place >= 0 and pa.types.is_floating(cast("Any", table.schema.field(place).type)):
            raise SourceError(
                f"{file.path}: column {self.id!r} has numbers with a fraction or of more than 64 bits, which "
                "are no exact ids: write ids as text"
            )
        refuse_rounded(file, table, text)


def _read_json(block: bytes, at_once: int, options: pyarrow.json.ParseOptions) -> pa.Table:
    with Lending() as lend:
        table = pyarrow.json.read_json(lend(io.BytesIO(block)), pyarrow.json.ReadOptions(block_size=at_once), options)
    for place, column in enumerate(table.schema):
        if _lists_nulls(column.type):
            chunks = [_with_all_nulls(chunk) for chunk in table.column(place).chunks]
            table = table.set_column(place, column, pa.chunked_array(chunks, column.type))
    return table


def _lists_nulls(kind: Any) -> bool:
    if pa.types.is_list(kind) and pa.types.is_null(kind.value_type):
        return True
    return any(_lists_nulls(kind.field(n).type) for n in range(kind.num_fields))


def _with_all_nulls(array: Any) -> Any:
    """Return the same with as many nulls in its lists as their offsets say: Arrow's parser makes one a list."""
    kind = array.type
    if pa.types.is_list(kind):
        is_nulls = pa.types.is_null(kind.value_type)
        values = pa.nulls(array.offsets[-1].as_py()) if is_nulls else _with_all_nulls(array.values)
        return pa.ListArray.from_arrays(array.offsets, values, type=kind, mask=array.is_null())
    if pa.types.is_struct(kind) and kind.num_fields:
        fields = [kind.field(n) for n in range(kind.num_fields)]
        inner = [_with_all_nulls(array.field(n)) for n in range(kind.num_fields)]
        return pa.StructArray.from_arrays(inner, fields=fields, mask=array.is_null())
    return array


def _blocks(stream: Bytes, file: Found, expansion: Expansion) -> Iterator[bytes]:
    """Yield blocks of whole lines; the last one may end without a newline."""
    for block in _whole_lines(stream, file, expansion):
        yield from _parsable(block)


def _parsable(block: bytes) -> Iterator[bytes]:
    """Cut a block so that what is parsed at once cannot need more than `MOST_CELLS`, whatever its keys are."""
    middle = block.find(b"\n", len(block) // 2) + 1 or block.rfind(b"\n", 0, len(block) // 2) + 1
    if block.count(b"\n") * block.count(b":") <= MOST_CELLS or not 0 < middle < len(block):
        yield block
        return
    yield from _parsable(block[:middle])
    yield from _parsable(block[middle:])


def _whole_lines(stream: Bytes, file: Found, expansion: Expansion) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    while chunk := stream.read1(BLOCK_BYTES):
        expansion.add(len(chunk))
        waiting.append(chunk)
        size += len(chunk)
        if size < BLOCK_BYTES:
            continue
        block = b"".join(waiting)
        cut = block.rfind(b"\n") + 1
        if cut:
            yield block[:cut]
        elif size > LONGEST_LINE:
            raise SourceError(f"{file.path} has a line of more than {LONGEST_LINE >> 20} MiB: write one object a line")
        waiting = [block[cut:]]
        size -= cut
    if size:
        yield b"".join(waiting)


def _lines(block: bytes) -> int:
    return sum(1 for line in block.split(b"\n") if line.strip())


def _is_json(line: bytes) -> bool:
    """Whether a line is whole: an object that was cut short is no JSON."""
    if not line.strip():
        return True
    try:
        json.loads(line.decode("utf-8-sig"))
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _is_deep(text: bytes) -> bool:
    return any(end in text for end in _DEEP)


def _wrong(line: bytes) -> str | None:
    """Say why a line is no object that can be read; None where it is one."""
    if _is_deep(line):
        return f"is nested more than {DEEPEST} levels deep"
    try:
        value = json.loads(line.decode(), object_pairs_hook=_keys_once)
    except UnicodeDecodeError:
        return "is not UTF-8"
    except json.JSONDecodeError as error:
        return f"is not JSON ({error.msg} at character {error.colno})"
    except (ValueError, RecursionError) as error:
        return f"is not JSON ({error})"
    return None if isinstance(value, dict) else "is JSON, but no object"


def _keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"the key {first_doubled([name for name, _ in pairs])!r} is there twice")
    return found


def _is_null(table: pa.Table, name: str) -> bool:
    place = table.schema.get_field_index(name)
    return place >= 0 and table.column(place).null_count == table.num_rows


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
