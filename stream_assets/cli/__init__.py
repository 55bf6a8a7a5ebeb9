"""The command line: `stream-assets`. The same code as Dagster runs, without any Dagster.

`commands/` holds one command a file, `facts/` computes what it tells as one JSON document, `show/` prints that
document for people. Every module imports what it needs when it is used, so that a command starts at once.
"""

from __future__ import annotations


def main() -> None:
    """Run `stream-assets` and exit: 0 fine, 1 a difference or a failed piece of work, 2 wrong use, 128 + signal."""
    from stream_assets.cli.group import cli

    cli(prog_name="stream-assets")
