"""Where text goes: a terminal gets colour and tables, anything else plain lines.

Ids, names and values come from strangers: whatever is printed is one line for each line asked for, and nothing in it is
obeyed by a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol

import click

from stream_assets.errors import escaped, printable


class Page(Protocol):
    """Takes lines and tables, in order."""

    def line(self, text: str = "", style: str = "") -> None:
        """Print one paragraph. `style` is a colour or weight that a terminal shows: `bold`, `green`, `red`, `dim`."""
        ...

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print a table; None is an empty cell, numbers are set to the right."""
        ...


class Plain:
    """Lines and aligned columns, for pipes, logs and cron's mail."""

    def line(self, text: str = "", style: str = "") -> None:
        """Print one line."""
        click.echo(escaped(text))

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print aligned columns, two spaces apart."""
        texts = [[cell(header) for header in headers], *([cell(value) for value in row] for row in rows)]
        widths = [max(len(row[i]) for row in texts) for i in range(len(headers))]
        numeric = [is_numeric(rows, i) for i in range(len(headers))]
        for row in texts:
            cells = (t.rjust(w) if n else t.ljust(w) for t, w, n in zip(row, widths, numeric, strict=True))
            click.echo("  ".join(cells).rstrip())


class Terminal:
    """Rich's tables and colours."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False, soft_wrap=True)

    def line(self, text: str = "", style: str = "") -> None:
        """Print one paragraph."""
        self._console.print(escaped(text), style=style or None, markup=False)

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print a table without a frame."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for index, header in enumerate(headers):
            table.add_column(
                Text(cell(header)), justify="right" if is_numeric(rows, index) else "left", overflow="fold"
            )
        for row in rows:
            table.add_row(*(Text(cell(value)) for value in row))
        self._console.print(table, soft_wrap=False)


def page() -> Page:
    """Return the page for stdout."""
    return Terminal() if sys.stdout.isatty() else Plain()


def cell(value: Any) -> str:
    """Return a value as a table shows it."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,.12g}" if isinstance(value, float) else printable(str(value))


def is_numeric(rows: Sequence[Sequence[Any]], index: int) -> bool:
    """Whether a column holds numbers alone."""
    values = [row[index] for row in rows if row[index] is not None]
    return bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
