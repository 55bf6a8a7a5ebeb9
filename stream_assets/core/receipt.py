"""The receipt: what a published partition says of itself, written into its Parquet footer as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, cast

from stream_assets.core.digest import Digest
from stream_assets.core.intervals import Intervals
from stream_assets.core.lateness import Lateness
from stream_assets.core.window import EPOCH, GRID, TimeWindow
from stream_assets.errors import LakeError, UsageError

FORMAT = 1
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class WindowFact:
    """Rows, digest, duplicates, rejected rows and discarded values of one 5-minute window; a day's receipt keeps one for each."""

    start: datetime
    rows: int
    digest: Digest
    duplicates: int = 0
    rejected: int = 0
    discarded: int = 0

    @property
    def window(self) -> TimeWindow:
        """The window that the fact is about."""
        return TimeWindow(self.start, self.start + GRID)


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from event time to queryable, over the events of a partition."""

    p50: float
    p95: float
    max: float


@dataclass(frozen=True, slots=True)
class Accepted:
    """Event time that is sealed without data, because somebody said that it is gone for good: who, and why."""

    span: TimeWindow
    said: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a published partition says of itself.

    Attributes:
        table: table of the lake, for example `events_daily`.
        span: the partition, `[start, end)`.
        revision: 1 for the first publication, one more for each later one.
        rows: rows in the file.
        duplicates: rows of the source that a newer row with the same id replaced.
        rejected: rows of the source that could not be conformed; they are kept beside the lake's tables.
        discarded: values of columns that are new to the stream, which its drift policy leaves out.
        digest: of events, the sum of the row hashes (`core/digest.py`); of consumers' rows, the same of all columns.
        covered: the windows that the content is made of. Of a sealed partition, the whole span.
        rows_read: rows that the source gave, counted before anything was left out: written + duplicates + rejected.
        windows: rows and digest of every window, for days of a stream; otherwise empty.
        min_event_time, max_event_time: of the rows; None without rows or without event times.
        latency: from event time to queryable; None without rows, or for consumers.
        lateness: how late the events of a stream came; None for consumers, and where it was not counted yet.
        inputs: what the content was made from: table name -> digest over the covered span.
        inputs_seq: the ledger's sequence number when the inputs were read.
        code: code hash or stated code version; empty for streams.
        reason: why this revision was made.
        run_id: of the Dagster run, or of the command.
        accepted: of `covered`, what is sealed without data, oldest first.
        columns: files whose receipts say the same here have the same columns, in names, order and types; empty where it
            was not counted yet.
        committed_at: instant of publication.
    """

    table: str
    span: TimeWindow
    revision: int
    rows: int
    digest: Digest
    covered: Intervals
    committed_at: datetime
    duplicates: int = 0
    rejected: int = 0
    rows_read: int = 0
    windows: tuple[WindowFact, ...] = ()
    min_event_time: datetime | None = None
    max_event_time: datetime | None = None
    latency: Latency | None = None
    lateness: Lateness | None = None
    inputs: dict[str, str] = field(default_factory=dict[str, str])
    inputs_seq: int = 0
    code: str = ""
    reason: str = ""
    run_id: str = ""
    accepted: tuple[Accepted, ...] = ()
    discarded: int = 0
    columns: str = ""

    @property
    def missing(self) -> Intervals:
        """The windows of the partition that are not in its content."""
        return Intervals.of(self.span) - self.covered

    @property
    def complete_through(self) -> datetime:
        """End of the unbroken run of covered windows from the partition's start."""
        return self.covered.unbroken_from(self.span.start)

    @property
    def is_sealed(self) -> bool:
        """Whether the partition is complete."""
        return not self.missing

    def to_json(self) -> str:
        """Return the receipt as one line of JSON."""
        return json.dumps({"format": FORMAT, **_plain(self)}, separators=(",", ":"))

    def facts(self) -> dict[str, Any]:
        """Return what people read: the receipt without its windows, in JSON's types."""
        shown = _plain(self)
        for inner in ("windows", "columns"):
            shown.pop(inner)
        shown["missing"] = [[span.start.isoformat(), span.end.isoformat()] for span in self.missing]
        shown["complete_through"] = self.complete_through.isoformat()
        return shown

    def refuse_other_types(self) -> None:
        """Raise TypeError where a plain field is not of its type: a receipt that was read may say anything."""
        counts = (self.revision, self.rows, self.duplicates, self.rejected, self.rows_read, self.inputs_seq)
        counts += tuple(n for f in self.windows for n in (f.rows, f.duplicates, f.rejected))
        words = (self.table, self.code, self.reason, self.run_id, self.columns, *self.inputs, *self.inputs.values())
        if not all(type(n) is int and 0 <= n < 1 << 63 for n in counts) or not all(type(w) is str for w in words):
            raise TypeError("a count or a name is none")

    @classmethod
    def from_json(cls, text: str | bytes) -> Receipt:
        """Read what `to_json` wrote.

        Raises:
            LakeError: terminal; no receipt, or one of another format.
        """
        try:
            raw = json.loads(text)
            if raw.pop("format") != FORMAT:
                raise LakeError("the receipt was written by another release of stream_assets")
            raw["span"] = _window(raw["span"])
            raw["covered"] = Intervals.union_of(map(_window, raw["covered"]))
            raw["digest"] = Digest.parse(raw["digest"])
            raw["windows"] = tuple(windows_from(raw["windows"]))
            raw["accepted"] = tuple(Accepted(_window([a, b]), said) for a, b, said in raw.get("accepted", ()))
            raw["latency"] = Latency(*raw["latency"]) if raw["latency"] else None
            raw["lateness"] = Lateness.from_raw(raw["lateness"]) if raw.get("lateness") else None
            for name in ("min_event_time", "max_event_time", "committed_at"):
                raw[name] = datetime.fromisoformat(raw[name]) if raw[name] else None
            receipt = cls(**raw)
            receipt.refuse_other_types()
            return receipt
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            UsageError,
            ValueError,
        ) as error:
            raise LakeError(
                f"the file's receipt cannot be read ({type(error).__name__}): run `stream-assets verify`"
            ) from error


def windows_to(facts: tuple[WindowFact, ...]) -> list[list[Any]]:
    """Return window facts in JSON's types: `[epoch seconds, rows, digest, duplicates, rejected, discarded]` each."""
    return [[int(f.start.timestamp()), f.rows, str(f.digest), f.duplicates, f.rejected, f.discarded] for f in facts]


def windows_from(raw: list[list[Any]]) -> list[WindowFact]:
    """Read what `windows_to` wrote."""
    return [WindowFact(EPOCH + s * _SECOND, rows, Digest.parse(digest), *left) for s, rows, digest, *left in raw]


def _plain(receipt: Receipt) -> dict[str, Any]:
    raw: dict[str, Any] = {f.name: getattr(receipt, f.name) for f in fields(receipt)}
    raw["span"] = [receipt.span.start.isoformat(), receipt.span.end.isoformat()]
    raw["covered"] = [[span.start.isoformat(), span.end.isoformat()] for span in receipt.covered]
    raw["digest"] = str(receipt.digest)
    raw["windows"] = windows_to(receipt.windows)
    raw["accepted"] = [[a.span.start.isoformat(), a.span.end.isoformat(), a.said] for a in receipt.accepted]
    raw["latency"] = list(asdict(receipt.latency).values()) if receipt.latency else None
    raw["lateness"] = receipt.lateness.to_raw() if receipt.lateness else None
    for name in ("min_event_time", "max_event_time", "committed_at"):
        instant = cast("datetime | None", raw[name])
        raw[name] = instant.isoformat() if instant else None
    return raw


def _window(pair: list[str]) -> TimeWindow:
    return TimeWindow(datetime.fromisoformat(pair[0]), datetime.fromisoformat(pair[1]))
