"""What is not kept any longer: how far back there is still something, and what is on its way out of the lake."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal, cast, get_args

from stream_assets.lake.ledger.current import Current
from stream_assets.lake.ledger.database import Database, instant, text

Border = Literal["kept_from", "rejected_from", "history_from"]
"""What is removed from the oldest on: days of a stream, its rejected rows, records of the ledger."""


class GoneRecords:
    """The ledger's records of what went. Borders are kept with what is fixed, so that the lake's marker has them too."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def advance(self, what: Border, name: str, to: datetime) -> None:
        """Record that what `what` says of `name` reaches no further back than `to` any more; it never goes back."""
        known = self.borders()[what].get(name)
        if known is None or known < to:
            self.move_border(what, name, to)

    def move_border(self, what: Border, name: str, to: datetime) -> None:
        """Record from when on there is still what `what` says of `name`."""
        self._database.change("insert or replace into meta values (?, ?)", (f"{what}:{name}", text(to)))

    def take_borders(self, said: Mapping[str, str]) -> None:
        """Take over the borders that a lake's marker names, where they are further on."""
        for key, value in said.items():
            what, _, name = key.partition(":")
            if name and what in get_args(Border):
                self.advance(cast("Border", what), name, instant(value))

    def borders(self) -> dict[Border, dict[str, datetime]]:
        """Return, by what has been removed before, by name from when on there is still something."""
        found: dict[Border, dict[str, datetime]] = {what: {} for what in get_args(Border)}
        for row in self._database.rows("select key, value from meta where key like '%:%'"):
            what, _, name = row["key"].partition(":")
            if what in found:
                found[what][name] = instant(row["value"])
        return found

    def leave(self, places: Iterable[tuple[str, Current | None]]) -> None:
        """Record what is to leave the lake: folders and files, relative to its own, with the partition that was there."""
        self._database.change_many(
            "insert or replace into leaving values (?, ?, ?)",
            [(place, c.table, text(c.span.start)) if c else (place, "", "") for place, c in places],
        )

    def leaving(self) -> list[str]:
        """Return what is to leave the lake and may be there still; not where there is a partition again."""
        rows = self._database.rows(
            "select folder from leaving l where not exists"
            " (select 1 from current c where c.tbl = l.tbl and c.key_start = l.key_start) order by folder"
        )
        return [row["folder"] for row in rows]

    def left(self, but: Iterable[str]) -> None:
        """Record that what was to leave has left, `but` what could not."""
        self._database.change(
            "delete from leaving where folder not in (select value from json_each(?))", (json.dumps([*but]),)
        )
