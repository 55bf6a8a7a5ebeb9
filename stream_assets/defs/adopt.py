"""Tells a Dagster instance of the partitions that a lake has: `python -m stream_assets.defs.adopt`.

What runs is decided by the ledger alone, so an instance that was told nothing runs nothing twice; adopting is for people,
who want to see in the UI what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from stream_assets.core.window import TimeWindow
from stream_assets.defs.names import Names
from stream_assets.defs.runless import materialization
from stream_assets.errors import DeclarationError, StreamAssetsError, UsageError

if TYPE_CHECKING:
    from stream_assets.core.declaration import Table
    from stream_assets.lake.ledger import Current
    from stream_assets.pipeline import Pipeline

STEP = timedelta(days=7)
"""Event time looked at together, so that memory does not grow with history."""
HOME = Path(".dagster_home")
"""Where `make dev` keeps its instance."""


def adopt(
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    names: Names | None = None,
    *,
    progress: Callable[[str, int], None] = lambda _table, _count: None,
) -> dict[str, int]:
    """Report every partition that the lake has and the instance does not know, as a materialization without a run.

    Idempotent: interrupted, it goes on where it was. Dagster stores such events one by one; the newest come first, and
    days before windows, so that a long history is useful soon.

    Args:
        instance: a Dagster instance.
        pipeline: the project.
        names: of its definitions, where they were given a name or a key prefix.
        progress: told of each table and how many of its partitions have been reported.

    Returns:
        By table, how many partitions were reported.
    """
    names = names or Names()
    reported: dict[str, int] = {}
    for table in sorted(pipeline.declarations.tables.values(), key=lambda t: t.grain != "day"):
        key = names.key(table.name)
        known = instance.get_materialized_partitions(key)
        reported[table.name] = 0
        for current in _newest_first(pipeline, table):
            partition = pipeline.calendar.key(current.span, table.grain)
            if partition not in known:
                instance.report_runless_asset_event(materialization(pipeline, key, current))
                reported[table.name] += 1
                progress(table.name, reported[table.name])
    return reported


def _newest_first(pipeline: Pipeline, table: Table) -> Iterator[Current]:
    first = pipeline.lake.ledger.first(table.grain)
    end = pipeline.calendar.day_around(pipeline.clock.now()).end
    while first < end:
        start = max(first, end - STEP)
        found = pipeline.lake.ledger.current(table.name, TimeWindow(start, end))
        # A day that the step cuts belongs to the step that it begins in.
        yield from (c for c in reversed(found) if c.span.start >= start)
        end = start


def main(arguments: list[str] | None = None) -> int:
    """Adopt this project's lake; returns the exit status: 0 fine, 1 failed, 2 wrong use."""
    parser = argparse.ArgumentParser(
        prog="stream-assets adopt",
        description="Tell a Dagster instance of the partitions that are in the lake already.",
    )
    parser.add_argument(
        "--instance-from",
        metavar="DAGSTER_HOME",
        type=Path,
        help=f"folder of the instance; by default $DAGSTER_HOME, else {HOME} here, where `make dev` keeps it",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    try:
        return _main(options.instance_from, as_json=options.json)
    except StreamAssetsError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, (DeclarationError, UsageError)) else 1


def _main(home: Path | None, *, as_json: bool) -> int:
    from stream_assets.pipeline.project import find_consumers
    from stream_assets.project import project

    home = _home(home)
    pipeline = project.with_environment().open(find_consumers(), is_loading=False)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        reported = adopt(instance, pipeline, progress=_say)
    if as_json:
        print(json.dumps({"instance": str(home), "reported": reported}, indent=2))  # noqa: T201
        return 0
    for table, count in reported.items():
        print(f"{table}: {count} partitions reported" if count else f"{table}: nothing new")  # noqa: T201
    return 0


def _home(given: Path | None) -> Path:
    """Return the folder of the instance.

    Raises:
        UsageError: terminal; there is none.
    """
    said = os.environ.get("DAGSTER_HOME")
    home = given or (Path(said) if said else HOME)
    if not home.is_dir():
        raise UsageError(
            f"there is no Dagster instance in {home}: set DAGSTER_HOME, or name its folder with --instance-from"
        )
    return home.resolve()


def _say(table: str, count: int) -> None:
    if count % 500 == 0:
        print(f"{table}: {count} so far", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
