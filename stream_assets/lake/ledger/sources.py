"""What the ledger knows of sources and consumers: watermarks, cursors, files, first meetings, pauses."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from stream_assets.core.window import TimeWindow
from stream_assets.lake.ledger.database import Database, instant, text


@dataclass(frozen=True, slots=True)
class ConsumerRecord:
    """What the ledger remembers of a consumer.

    Attributes:
        code: hash or stated version that was declared last time.
        reconciled_seq: publications of its inputs up to this one have been looked at.
    """

    name: str
    first_seen: datetime
    code: str
    code_stated: bool
    reconciled_seq: int
    paused_at: datetime | None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What is known of one version of one source file.

    Attributes:
        hull: all that the file has or may have lies in it; None for nothing.
        fact: everything as JSON, which the ledger does not look into; the other fields are what it compares.
    """

    path: str
    size: int
    mtime_ns: int
    hull: TimeWindow | None
    fact: str


class SourceRecords:
    """The ledger's records of the two ends of the lake: what fills it and who reads it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Streams.

    def advance(self, stream: str, watermark: datetime, looked_at: datetime | None = None) -> datetime:
        """Return the highest watermark ever seen, this one included; neither it nor the instant of the look goes back."""
        with self._database.transaction():
            row = self._database.row("select watermark from stream where name = ?", (stream,))
            known = instant(row["watermark"]) if row and row["watermark"] else None
            highest = max(watermark, known) if known else watermark
            last = max(filter(None, (looked_at, self.looked_at(stream))), default=None)
            self._database.change(
                "insert into stream (name, watermark, looked_at) values (?, ?, ?) on conflict (name) do update set"
                " watermark = excluded.watermark, looked_at = excluded.looked_at",
                (stream, text(highest), text(last) if last else None),
            )
        return highest

    def looked_at(self, stream: str) -> datetime | None:
        """Return the latest instant as of which a stream's source has been asked what arrived; None before the first."""
        row = self._database.row("select looked_at from stream where name = ?", (stream,))
        return instant(row["looked_at"]) if row and row["looked_at"] else None

    def watermarks(self) -> dict[str, datetime]:
        """Return the highest watermark of every stream."""
        rows = self._database.rows("select name, watermark from stream where watermark is not null")
        return {r["name"]: instant(r["watermark"]) for r in rows}

    def cursor(self, stream: str) -> str | None:
        """Return up to where the arrivals of `stream` have been looked at."""
        row = self._database.row("select cursor from stream where name = ?", (stream,))
        return row["cursor"] if row else None

    def move_cursor(self, stream: str, cursor: str) -> None:
        """Set the cursor; belongs into the transaction that records what it reopened."""
        self._database.change(
            "insert into stream (name, cursor) values (?, ?) on conflict (name) do update set cursor = excluded.cursor",
            (stream, cursor),
        )

    def columns(self, stream: str) -> str | None:
        """Return the columns that a stream is known to have, as text that the ledger does not look into; None: not known."""
        row = self._database.row("select columns from stream where name = ?", (stream,))
        return row["columns"] if row else None

    def know_columns(self, stream: str, columns: str | None) -> None:
        """Set what is known of a stream's columns; belongs into the transaction that publishes them. None forgets."""
        self._database.change(
            "insert into stream (name, columns) values (?, ?) on conflict (name) do update set columns = excluded.columns",
            (stream, columns),
        )

    def file_versions(self, stream: str, without: TimeWindow | None = None) -> Iterable[tuple[str, int, int, int]]:
        """Return `(path, size, mtime_ns, number of the look that found it)` of each source file.

        With `without`, only of those whose hull lies outside of it.
        """
        query, values = "select path, size, mtime_ns, seen from source_file where stream = ?", [stream]
        if without is not None:
            query += ' and (start is null or start >= ? or "end" <= ?)'
            values += [text(without.end), text(without.start)]
        return (tuple(row) for row in self._database.rows(query, values))

    def file_fact(self, stream: str, path: str) -> tuple[str, int] | None:
        """Return `(fact, number of the look that found it)` of one source file; None for an unknown one."""
        row = self._database.row("select fact, seen from source_file where stream = ? and path = ?", (stream, path))
        return tuple(row) if row else None

    def file_facts_since(self, stream: str, seen: int) -> list[tuple[str, int]]:
        """Return `(fact, number of the look that found it)` of the source files that were found after look `seen`."""
        rows = self._database.rows("select fact, seen from source_file where stream = ? and seen > ?", (stream, seen))
        return [tuple(row) for row in rows]

    def remember_files(self, stream: str, files: Iterable[FileRecord]) -> None:
        """Record what is known of source files, all under one look greater than any before."""
        with self._database.transaction():
            row = self._database.row("select max(seen) as seen from source_file where stream = ?", (stream,))
            seen = ((row["seen"] if row else 0) or 0) + 1
            self._database.change_many(
                "insert or replace into source_file values (?, ?, ?, ?, ?, ?, ?, ?)",
                [(stream, f.path, f.size, f.mtime_ns, seen, *_ends(f.hull), f.fact) for f in files],
            )

    def forget_files(self, stream: str, paths: Iterable[str]) -> None:
        """Strike out source files that are gone."""
        with self._database.transaction():
            self._database.change_many(
                "delete from source_file where stream = ? and path = ?", [(stream, p) for p in paths]
            )

    # Consumers.

    def meet(self, name: str, code: str, *, code_stated: bool, seq: int, now: datetime) -> ConsumerRecord | None:
        """Record a consumer as it is declared now, and return what was known of it before; None for a new one."""
        row = self._database.row("select * from consumer where name = ?", (name,))
        if row is None:
            self._database.change(
                "insert or ignore into consumer values (?,?,?,?,?,null)", (name, text(now), code, code_stated, seq)
            )
            return None
        if row["code"] != code or bool(row["code_stated"]) != code_stated:
            self._database.change(
                "update consumer set code = ?, code_stated = ? where name = ?", (code, code_stated, name)
            )
        return ConsumerRecord(
            name, instant(row["first_seen"]), row["code"], bool(row["code_stated"]), row["reconciled_seq"],
            instant(row["paused_at"]) if row["paused_at"] else None,
        )  # fmt: skip

    def consumers(self, names: Iterable[str] | None = None) -> dict[str, ConsumerRecord]:
        """Return the consumers that the lake has met: those of `names`, or all."""
        query, values = "select * from consumer", ()
        if names is not None:
            query += " where name in (select value from json_each(?))"
            values = (json.dumps(list(names)),)
        return {
            r["name"]: ConsumerRecord(
                r["name"], instant(r["first_seen"]), r["code"], bool(r["code_stated"]), r["reconciled_seq"],
                instant(r["paused_at"]) if r["paused_at"] else None,
            )
            for r in self._database.rows(query, values)
        }  # fmt: skip

    def reconciled(self, names: Iterable[str], seq: int) -> None:
        """Record that publications up to `seq` have been looked at for these consumers."""
        self._database.change(
            "update consumer set reconciled_seq = ? where name in (select value from json_each(?))",
            (seq, json.dumps(list(names))),
        )

    def pause(self, name: str, paused_at: datetime | None) -> None:
        """Pause a consumer, or with None resume it."""
        self._database.change(
            "update consumer set paused_at = ? where name = ?", (text(paused_at) if paused_at else None, name)
        )


def _ends(hull: TimeWindow | None) -> tuple[str | None, str | None]:
    return (text(hull.start), text(hull.end)) if hull else (None, None)
