"""What all commands share: --json and --debug, errors as one sentence, exit codes, signals."""

from __future__ import annotations

import sqlite3
import traceback
from typing import Any

import click

from stream_assets.cli.session import Session
from stream_assets.cli.stop import Stopped, stopping
from stream_assets.errors import DeclarationError, StreamAssetsError, UsageError, printable

FOUND, WRONG_USE = 1, 2


class Command(click.Command):
    """A command whose function takes a `Session` first. It returns False where it found a difference or a failure."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.params += [
            click.Option(["--json", "as_json"], is_flag=True, help="One JSON document on stdout, nothing else."),
            click.Option(["--debug"], is_flag=True, help="Show where an error came from."),
        ]

    def invoke(self, ctx: click.Context) -> None:
        """Run the function and exit with what it found."""
        as_json: bool = ctx.params.pop("as_json")
        debug: bool = ctx.params.pop("debug")
        session = Session(ctx.obj, as_json=as_json)
        try:
            with stopping(session.is_changing):
                found = ctx.invoke(self.callback, session, **ctx.params) if self.callback else None
        except StreamAssetsError as error:
            code = WRONG_USE if isinstance(error, DeclarationError | UsageError) else FOUND
            _end(session, error, code, debug=debug)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            where = f" ({error.filename})" if error.filename else ""
            _end(session, error, FOUND, f"the system refused: {error.strerror}{where}", debug=debug)
        except MemoryError as error:
            said = "memory ran out: nothing is half done. Give the process more memory, or ask for a shorter range"
            _end(session, error, FOUND, said, debug=debug)
        except sqlite3.Error as error:
            said = f"the ledger could not be used ({error}): is the disk full, or the lake read-only?"
            _end(session, error, FOUND, said, debug=debug)
        except Stopped as stop:
            session.say(f"stopped by {stop}: what was published stays, the rest is planned again")
            ctx.exit(stop.exit_code)
        else:
            ctx.exit(FOUND if found is False else 0)


def _end(session: Session, error: Exception, code: int, said: str = "", *, debug: bool) -> None:
    said = printable(said) or str(error)
    if debug:
        traceback.print_exception(error)
    session.say(f"Error: {said}")
    if session.as_json:
        session.give({"error": said, "kind": type(error).__name__}, lambda _facts, _page: None)
    raise click.exceptions.Exit(code)
