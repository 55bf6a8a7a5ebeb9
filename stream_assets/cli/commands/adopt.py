"""`stream-assets adopt`."""

from __future__ import annotations

import subprocess
import sys

import click


@click.command(
    short_help="tell a Dagster instance what is there",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def adopt(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Tell a Dagster instance of the partitions that are in the lake already."""
    # The one command that needs Dagster, which this package's command line never loads.
    ctx.exit(subprocess.run([sys.executable, "-m", "stream_assets.defs.adopt", *arguments], check=False).returncode)
