"""The group of all commands; a command's module is imported when it is called, or listed."""

from __future__ import annotations

import importlib

import click

from stream_assets.core.clock import SystemClock

MODULES = {
    "plan": "plan",
    "run": "run",
    "status": "status",
    "explain": "explain",
    "materialize": "materialize",
    "refresh": "refresh",
    "retry": "retry",
    "reopen": "reopen",
    "accept-gap": "accept_gap",
    "pause": "pause",
    "resume": "pause",
    "lateness": "lateness",
    "compact": "compact",
    "retain": "retain",
    "history": "history",
    "verify": "verify",
    "rejected": "rejected",
    "prove": "prove",
    "files": "files",
    "sql": "sql",
    "adopt": "adopt",
    "doctor": "doctor",
    "ledger": "ledger",
    "split": "split",
    "horizon": "horizon",
}
"""Command -> module of `commands/`, in the order of the help."""


class Lazily(click.Group):
    """Imports a command's module on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the order of `MODULES`."""
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name."""
        if cmd_name not in MODULES:
            return None
        module = importlib.import_module(f"stream_assets.cli.commands.{MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


@click.group(cls=Lazily, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="stream_assets")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Fill event-time partitions as fresh as their consumers need them, and prove it.

    Sources, lake and consumers are declared in stream_assets/project.py and stream_assets/consumers/, or by
    STREAM_ASSETS_SOURCE, STREAM_ASSETS_LAKE, STREAM_ASSETS_TIMEZONE, STREAM_ASSETS_START, STREAM_ASSETS_END and
    STREAM_ASSETS_CONSUMERS. Instants are written 2026-03-01, 2026-03-01T00:05 (in the lake's time zone) or
    2026-03-01T00:05+01:00.
    """
    ctx.obj = ctx.obj or SystemClock()
