# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""The columns that a stream is known to have, and what may become of them when a source gives others."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stream_assets.errors import SourceError
from stream_assets.events.schema import wider

EXACT = 2**53
"""A float holds every integer up to here."""

_LARGE, _DISCARDED = b"stream_assets.large", b"stream_assets.discarded"
_MOST_DISCARDED = 100


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns that have had a value, with the type that holds all of their values.

    Attributes:
        kinds: type by name.
        large: columns of integers of which one is beyond 2**53, so that no float holds them.
        discarded: names of columns that were left out, the first hundred.
    """

    kinds: Mapping[str, pa.DataType] = field(default_factory=dict[str, pa.DataType])
    large: frozenset[str] = frozenset()
    discarded: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: pa.Table) -> Columns:
        """Return the columns of `table` that have a value."""
        kinds: dict[str, pa.DataType] = {}
        large: set[str] = set()
        for name, column in zip(table.column_names, table.columns, strict=True):
            if column.null_count < table.num_rows:
                kinds[name] = column.type
                if pa.types.is_integer(column.type) and column.type.bit_width == 64 and beyond(column) is not None:
                    large.add(name)
        return cls(kinds, frozenset(large))

    def plus(self, other: Columns) -> Columns:
        """Return the columns of both, types widened.

        Raises:
            SourceError: terminal; a type holds not both, and the message says which column and which types.
        """
        kinds = dict(self.kinds)
        large = self.large | other.large
        for name, kind in other.kinds.items():
            was = kinds.get(name, kind)
            widened = wider(was, kind)
            if widened is None:
                raise SourceError(f"column {name!r} is {kind}, and {was} so far")
            if name in large and pa.types.is_floating(widened):
                raise SourceError(
                    f"column {name!r} is {kind}, and {was} so far, and has integers beyond 2**53, which a float cannot hold"
                )
            kinds[name] = widened
        names = dict.fromkeys([*self.discarded, *other.discarded])
        return Columns(kinds, large, tuple(names)[:_MOST_DISCARDED])

    def without(self, names: tuple[str, ...]) -> Columns:
        """Return these columns, with `names` noted as left out."""
        return replace(self, discarded=tuple(dict.fromkeys([*self.discarded, *names]))[:_MOST_DISCARDED])

    def to_text(self) -> str:
        """Return the columns as one line of text, an Arrow schema."""
        fields = [
            pa.field(name, kind, metadata={_LARGE: b"1"} if name in self.large else None)
            for name, kind in self.kinds.items()
        ]
        noted: Any = {_DISCARDED: "\0".join(self.discarded).encode(errors="surrogatepass")} if self.discarded else None
        return base64.b64encode(pa.schema(fields, metadata=noted).serialize().to_pybytes()).decode()

    @classmethod
    def from_text(cls, text: str) -> Columns:
        """Read what `to_text` wrote."""
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
        noted = (schema.metadata or {}).get(_DISCARDED, b"").decode(errors="surrogatepass")
        large = frozenset(f.name for f in schema if _LARGE in (f.metadata or {}))
        kinds = dict(zip(schema.names, schema.types, strict=True))
        return cls(kinds, large, tuple(noted.split("\0")) if noted else ())


def beyond(column: Any) -> int | None:
    """Return an integer of `column` that no float holds for certain; None without one."""
    ends: Any = pc.min_max(column).as_py()
    return next((v for v in (ends["min"], ends["max"]) if v is not None and abs(v) > EXACT), None)
