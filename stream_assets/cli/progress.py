"""How far long work has come: a bar in a terminal, nothing elsewhere (finished work is printed line by line there)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stream_assets.pipeline.outcome import Outcome


class Bar(Protocol):
    """Told of each piece of work, and of each partition of it."""

    def begin(self, what: str, total: int) -> None:
        """Start the next piece of work, of `total` partitions."""
        ...

    def step(self, outcome: object = None) -> None:
        """Count one partition."""
        ...


class NoBar:
    """Takes no notice."""

    def begin(self, what: str, total: int) -> None:
        """Take no notice."""

    def step(self, outcome: Outcome | object = None) -> None:
        """Take no notice."""


@contextmanager
def bar() -> Iterator[Bar]:
    """Show a bar on stderr while the block runs, if that is a terminal."""
    if not sys.stderr.isatty():
        yield NoBar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

    class RichBar:
        def begin(self, what: str, total: int) -> None:
            for task in shown.task_ids:
                shown.remove_task(task)
            shown.add_task(what, total=total)

        def step(self, outcome: object = None) -> None:
            if shown.task_ids:
                shown.advance(shown.task_ids[-1])

    # Rich must not take over a stdout that goes elsewhere than to this terminal.
    taken = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=taken) as shown:
        yield RichBar()
