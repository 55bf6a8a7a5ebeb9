"""What was fixed when a lake was made: its folder, zone, start and ledger. Needs no Arrow, so it opens at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Self
from uuid import uuid4

from stream_assets.core.window import Calendar
from stream_assets.errors import DeclarationError, LakeError, UsageError
from stream_assets.lake.disk import lake_errors, refuse_unfit, refuse_without_exchange, take_name
from stream_assets.lake.horizon import advance
from stream_assets.lake.layout import Layout
from stream_assets.lake.ledger import FORMAT, Ledger, is_other_place, place

DAYS_BEFORE = 2
WINDOWS_BEFORE_END = timedelta(days=300)


class Foundation:
    """A lake in a local folder without its rows: enough to declare, to plan, and to load definitions."""

    def __init__(self, root: Path, calendar: Calendar) -> None:
        self.layout = Layout(root, calendar)
        self.calendar = calendar
        self.ledger = Ledger(self.layout.ledger)

    @classmethod
    def open(
        cls, root: Path, zone: str, now: datetime, *, start: str | None = None, end: datetime | None = None
    ) -> Self:
        """Open the lake in `root`, and make it where there is none. Of several that make it at once the first wins.

        Args:
            root: a folder of a local file system.
            zone: time zone of the lake's days.
            now: the present instant.
            start: first day kept, like `2026-03-01`; by default two days before the lake is made.
            end: for finished histories, the instant from which nothing is wanted any more.

        Raises:
            DeclarationError: terminal; a start that is no day, or in the future.
            LakeError: terminal; the folder cannot be used, or its lake has another zone or start.
            LakeUnavailable: transient; the disk is full.
        """
        try:
            root = root.expanduser().resolve()
        except RuntimeError:  # of a user who is not there, or links in a circle
            raise LakeError(f"{root} is no folder that can be found: choose another STREAM_ASSETS_LAKE") from None
        lake = cls(root, Calendar(zone))
        first = None if start is None else lake._first_day(start)
        with lake_errors(root):
            if not lake.ledger.is_made():
                lake._make(first, end, now)
            lake._refuse_other(zone, first)
            lake._refuse_other_ledger()
        return lake

    def _first_day(self, start: str) -> datetime:
        try:
            first = self.calendar.instant(start)
        except UsageError as error:
            raise DeclarationError(f"the lake's start (STREAM_ASSETS_START): {error}") from None
        if self.calendar.day_around(first).start != first:
            raise DeclarationError(
                f"the lake's start {start!r} (STREAM_ASSETS_START) is not a local day in {self.calendar.zone}: write it "
                "like 2026-03-01"
            )
        return first

    def _make(self, start: datetime | None, end: datetime | None, now: datetime) -> None:
        today = self.calendar.day_of(now)
        first = self.calendar.midnight(today - timedelta(days=DAYS_BEFORE)) if start is None else start
        if first > now:
            raise DeclarationError(
                f"the lake would start on {self.calendar.day_of(first)}, which is in the future, and a lake keeps its start: "
                "set STREAM_ASSETS_START to a day up to today"
            )
        if end is not None and end <= first:
            raise DeclarationError(
                f"the lake would start on {self.calendar.day_of(first)}, and its streams end on {self.calendar.day_of(end)}: "
                "set an earlier start (STREAM_ASSETS_START), or a later end (STREAM_ASSETS_END)"
            )
        windows_from = max(first, self.newest_windows(end, now))
        root = self.layout.root
        root.mkdir(parents=True, exist_ok=True)
        # Somebody else may make the lake and fill it meanwhile, so its ledger is looked for after its partitions.
        was_used = self.layout.marker.exists() or next(root.glob("*/day=*"), None) is not None
        if was_used and not self.ledger.is_made():
            raise LakeError(
                f"{root} holds partitions but no ledger: run `stream-assets ledger rebuild`, which makes it anew from the "
                "partitions' files, or `stream-assets ledger restore` with a backup of it, or choose an empty folder"
            )
        refuse_unfit(root)
        self.layout.staging.mkdir(exist_ok=True)
        refuse_without_exchange(self.layout.staging)
        self.ledger.create(self.calendar, first, windows_from, now)

    def newest_windows(self, end: datetime | None, now: datetime) -> datetime:
        """Return the start of the newest 300 days: up to now, or to the `end` of a finished history."""
        last = min(end, now) if end else now
        return self.calendar.day_around(last - WINDOWS_BEFORE_END).start

    def _refuse_other(self, zone: str, start: datetime | None) -> None:
        meta = self.meta
        if meta.get("format") != FORMAT:
            raise LakeError(
                f"the ledger of {self.layout.root} was made by another release of stream_assets (format {meta.get('format')}, not "
                f"{FORMAT}): run `stream-assets ledger rebuild`, which makes it anew from the partitions' files, or use that release"
            )
        if meta.get("zone") != zone:
            raise LakeError(
                f"the lake {self.layout.root} has days in {meta.get('zone')}, not in {zone}: set STREAM_ASSETS_TIMEZONE={meta.get('zone')}, "
                "or choose another STREAM_ASSETS_LAKE"
            )
        if start is not None and start != self.start:
            first = self.calendar.day_of(self.start)
            raise LakeError(
                f"the lake {self.layout.root} starts on {first}, not on {self.calendar.day_of(start)}: set STREAM_ASSETS_START={first}, or choose another STREAM_ASSETS_LAKE"
            )

    def _refuse_other_ledger(self) -> None:
        """A lake and its ledger know each other: both keep the lake's id."""
        try:
            marker = json.loads(self.layout.marker.read_text())
            said = marker["lake_id"]
        except FileNotFoundError:
            self.mark()
            return
        except (ValueError, KeyError, TypeError):
            said, marker = None, {}
        if said is not None and said == self.meta.get("copy_of") and not self.is_copy:
            self.mark()  # a crash between the two steps of `split`
        elif said != self.id:
            raise LakeError(
                f"{self.layout.marker} names the lake {said}, but the ledger beside it is that of {self.id}: "
                "they come from two lakes. Put back the ledger that belongs here (`stream-assets ledger restore`), or make it anew "
                "(`stream-assets ledger rebuild`)"
            )
        elif marker != self.meta and not self.is_copy:
            self.mark()  # a crash between the two steps of a change

    def mark_changes(self) -> None:
        """Write the marker where it says other than the ledger.

        Raises:
            LakeError: terminal; the marker is none.
        """
        try:
            said = json.loads(self.layout.marker.read_text())
        except ValueError as error:
            raise LakeError(
                f"{self.layout.marker} is no marker of a lake: open the lake again to be told more"
            ) from error
        if said != self.ledger.meta():
            self.mark()

    def mark(self) -> None:
        """Write beside the ledger whose lake this is, what is fixed, and what has been removed; one at a time, so that the newest stays."""
        with self.ledger.transaction():
            write_marker(self.layout, self.ledger.meta())
        self.__dict__.pop("meta", None)

    @property
    def id(self) -> str:
        """Drawn when the lake was made; a copy has the same until it is split off."""
        return self.meta["lake_id"]

    @property
    def is_copy(self) -> bool:
        """Whether the lake was copied to another place than it was made in; see `is_other_place`."""
        return is_other_place(self.meta, self.layout.root)

    def refuse_copy(self) -> None:
        """Let nothing change a copy before somebody has said what it is; where a lake that moved is now, is remembered.

        Raises:
            LakeError: terminal; the lake is a copy.
        """
        here = place(self.layout.root)
        known = self.ledger.meta()
        if is_other_place(known, self.layout.root):
            raise LakeError(
                f"the lake {self.layout.root} is a copy of the one in {known.get('made_at')}, so it is only read: `stream-assets "
                "split` makes it a lake of its own"
            )
        if here.items() - known.items():
            self.ledger.change_meta(here)
            self.mark()

    def split(self) -> None:
        """Make a copy a lake of its own, with an id of its own, so that the two can never be mistaken.

        The ledger changes first; the marker follows here, or, after a crash, when the lake is opened next.
        """
        with self.ledger.transaction():
            was = self.ledger.meta()["lake_id"]
            self.ledger.change_meta({"lake_id": uuid4().hex, "copy_of": was, **place(self.layout.root)})
        self.mark()

    def advance(self, windows_from: datetime, refuse: Callable[[], None]) -> None:
        """Let 5-minute partitions begin on a later day. No file is touched; what lies before is not made again.

        The ledger changes first; the marker follows here, or, after a crash, when the lake is opened next.

        Args:
            windows_from: local midnight of the first day that has them.
            refuse: called when nobody else can write; what it raises leaves everything as it is.
        """
        with self.ledger.transaction():
            refuse()
            advance(self.ledger, windows_from)
        self.mark()

    @cached_property
    def meta(self) -> dict[str, str]:
        """What was fixed when the lake was made."""
        return self.ledger.meta()

    @property
    def start(self) -> datetime:
        """Local midnight of the first day kept."""
        return self.ledger.first("day")

    @property
    def created_at(self) -> datetime:
        """When the lake was made."""
        return datetime.fromisoformat(self.meta["created_at"])

    @property
    def windows_from(self) -> datetime:
        """Local midnight of the first day that has 5-minute partitions."""
        return self.ledger.first("5 min")


def write_marker(layout: Layout, meta: Mapping[str, str]) -> None:
    """Write `_lake.json` in one step that a power cut cannot undo by half."""
    draft = layout.staging / f".{uuid4().hex}"
    draft.write_text(json.dumps(dict(meta), indent=1) + "\n")
    take_name(draft, layout.marker)
