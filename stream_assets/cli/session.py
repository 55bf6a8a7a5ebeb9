"""One call of a command: the project that it works on, and where its answer goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_assets.cli.show.page import Page, page
from stream_assets.core.clock import Clock
from stream_assets.core.window import TimeWindow
from stream_assets.errors import UsageError

if TYPE_CHECKING:
    from stream_assets.core.declaration import Consumer, StreamSpec
    from stream_assets.pipeline.pipeline import Pipeline
    from stream_assets.pipeline.project import Project

Facts = dict[str, Any]


class Session:
    """Opens the project, and gives the answer either as JSON or as text; both are made from the same facts."""

    def __init__(self, clock: Clock, *, as_json: bool = False) -> None:
        self.clock = clock
        self.as_json = as_json
        self._pipeline: Pipeline | None = None

    def open(self) -> Pipeline:
        """Return the project's pipeline, as the environment overrides it; its lake is made where there is none."""
        if self._pipeline is None:
            from stream_assets.pipeline.project import find_consumers

            self._pipeline = self.project().open(find_consumers(), self.clock)
        return self._pipeline

    def project(self) -> Project:
        """Return the project as the environment overrides it; opens nothing."""
        from stream_assets.project import project

        return project.with_environment()

    def root(self) -> Path:
        """Return the lake's folder, whatever state its lake is in.

        Raises:
            UsageError: terminal; there is no such folder.
        """
        root = self.project().lake_folder().expanduser().resolve()
        if not root.is_dir():
            raise UsageError(f"there is no lake in {root}: check STREAM_ASSETS_LAKE")
        return root

    def is_changing(self) -> bool:
        """Whether the ledger is in the middle of a change."""
        return self._pipeline is not None and self._pipeline.lake.ledger.database.is_changing

    def table(self, name: str) -> str:
        """Return `name`, which must be a declared table.

        Raises:
            UsageError: terminal; it is none.
        """
        known = self.open().declarations.tables
        if name not in known:
            raise UsageError(f"there is no table {name!r}; there are: {', '.join(known)}")
        return name

    def stream(self, name: str) -> StreamSpec:
        """Return the declared stream of that name.

        Raises:
            UsageError: terminal; there is none.
        """
        streams = {stream.name: stream for stream in self.open().declarations.streams}
        if name not in streams:
            raise UsageError(f"there is no stream {name!r}; there are: {', '.join(streams)}")
        return streams[name]

    def consumer(self, name: str) -> Consumer:
        """Return the declared consumer of that name.

        Raises:
            DeclarationError: terminal; there is none.
        """
        return self.open().declarations.consumer(name)

    def span(self, start: str | None, end: str | None) -> TimeWindow:
        """Return `[start, end)` of event time, an end that is not given being that of all there is.

        Raises:
            UsageError: terminal; no instants, off the 5-minute grid, an end that is not after the start, or a range that
                the lake cannot have anything of.
        """
        everything = self.everything()
        calendar = self.open().calendar
        first = everything.start if start is None else calendar.instant(start)
        last = everything.end if end is None else calendar.instant(end)
        if start is not None and end is not None and last <= first:
            raise UsageError(f"the range ends ({end}) before it begins ({start}); --to is not included in it")
        if not everything.overlaps(TimeWindow(first, max(first, last))):
            raise UsageError(
                f"the range {start or first} to {end or last} is outside of the lake, which has {everything.start} to "
                f"{everything.end}"
            )
        span = TimeWindow(first, last)
        if not span.is_on_grid:
            raise UsageError(
                f"the range {start or first} to {end or last} is not on the 5-minute grid: its ends must be whole 5 minutes"
            )
        return span.clip(everything)

    def everything(self) -> TimeWindow:
        """Return the span of all partitions that the lake can have by now."""
        pipeline = self.open()
        today = pipeline.calendar.day_around(self.clock.now())
        return TimeWindow(min(pipeline.lake.start, today.start), today.end)

    def say(self, line: str) -> None:
        """Say something aside from the answer, on stderr."""
        click.echo(line, err=True)

    def give(self, facts: Facts, show: Callable[[Facts, Page], None]) -> None:
        """Print the answer: `facts` as one JSON document, or as `show` words them."""
        if self.as_json:
            click.echo(json.dumps(facts, indent=2))
        else:
            show(facts, page())
