"""`stream-assets horizon`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream_assets.cli.options import command
from stream_assets.cli.session import Session

if TYPE_CHECKING:
    from stream_assets.pipeline.pipeline import Pipeline

HOME = Path(".dagster_home")
"""Where `make dev` keeps its instance."""


@command("where 5-minute keys begin, and let them begin later")
@click.option("--advance", "is_advancing", is_flag=True, help="Remove the keys before --to. There is no way back.")
@click.option("--to", "day", metavar="DAY", help="First day with 5-minute keys; by default the newest 300 have them.")
@click.option(
    "--instance-from",
    "home",
    metavar="DAGSTER_HOME",
    type=click.Path(path_type=Path),
    help=f"Folder of the Dagster instance to ask; by default $DAGSTER_HOME, else {HOME} here.",
)
@click.option("--without-dagster", is_flag=True, help="Ask no Dagster instance: none has this lake's assets.")
def horizon(session: Session, is_advancing: bool, day: str | None, home: Path | None, without_dagster: bool) -> None:
    """Say where the 5-minute keys begin, how many that are, and when Dagster has too many; --advance lets them begin later.

    Older history lives in days alone. No file is removed. Refused while a run or backfill of the Dagster instance, or work
    in the ledger, fills a key that would go, and while a day before is not sealed.
    """
    from stream_assets.cli.facts.horizon import horizon_facts, move_facts
    from stream_assets.cli.show.horizon import show_horizon
    from stream_assets.errors import UsageError
    from stream_assets.pipeline.horizon import advance, usual

    pipeline = session.open()
    pipeline.observe()
    to = usual(pipeline) if day is None else pipeline.calendar.instant(day)
    move = move_facts(pipeline, to)
    instance: Path | None = None
    if is_advancing:
        if move["refused"]:
            raise UsageError(move["refused"])
        instance = None if without_dagster else _instance(home)
        if instance:
            _refuse_targeted(pipeline, instance, to)
        advance(pipeline, to)
    facts = {
        **horizon_facts(pipeline),
        "move": move,
        "advanced": is_advancing and bool(move["removed_keys"]),
        "instance": str(instance) if instance else None,
    }
    session.give(facts, show_horizon)


def _instance(given: Path | None) -> Path:
    """Return the folder of the Dagster instance that is asked."""
    from stream_assets.errors import UsageError

    said = os.environ.get("DAGSTER_HOME")
    home = given or (Path(said) if said else HOME)
    if not home.is_dir():
        raise UsageError(
            f"there is no Dagster instance in {home} that could say whether it is about to fill a key that goes: set "
            "DAGSTER_HOME, or name its folder with --instance-from; where no Dagster uses this lake, say --without-dagster"
        )
    return home.resolve()


def _refuse_targeted(pipeline: Pipeline, instance: Path, to: datetime) -> None:
    """Ask in a process of its own, since this package's command line never loads Dagster."""
    from stream_assets.errors import LakeError, UsageError
    from stream_assets.pipeline.horizon import names

    asked = [sys.executable, "-m", "stream_assets.defs.targets", str(instance), pipeline.calendar.zone, to.isoformat()]
    answer = subprocess.run([*asked, *names(pipeline)], check=False, stdout=subprocess.PIPE, text=True)
    if answer.returncode:
        raise LakeError(
            f"the Dagster instance in {instance} could not be asked, and nothing was changed: mend what is said above, or say "
            "--without-dagster where nothing runs in it"
        )
    found: list[str] = json.loads(answer.stdout)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise UsageError(
            f"{found[0]}{more}, before {pipeline.calendar.day_of(to)}: wait until it is done, or cancel it in the UI, and try again"
        )
