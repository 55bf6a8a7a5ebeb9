"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from stream_assets.cli.command import Command


def command(short: str) -> Callable[[Callable[..., Any]], Command]:
    """Make a `Command` of a function that takes a `Session` first. `short`: its line in the list of commands."""
    return click.command(cls=Command, short_help=short)


def in_range(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--from` and `--to`, both optional, as `start` and `end`."""
    function = click.option("--to", "end", metavar="INSTANT", help="End of the range, not included.")(function)
    return click.option("--from", "start", metavar="INSTANT", help="Start of the range.")(function)
