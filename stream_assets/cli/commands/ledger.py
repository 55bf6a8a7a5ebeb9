"""`stream-assets ledger check`, `backup`, `restore` and `rebuild`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stream_assets.cli.command import Command
from stream_assets.cli.progress import bar
from stream_assets.cli.session import Session
from stream_assets.cli.show.page import Page
from stream_assets.cli.show.words import many


@click.group(short_help="check, back up, restore or rebuild the ledger")
def ledger() -> None:
    """Look after the lake's ledger: `_ledger.sqlite`, the one file of the lake that is not Parquet."""


@ledger.command(cls=Command, short_help="look for damage")
def check(session: Session) -> bool:
    """Read every page of the ledger, and say what is wrong; exit 1 on damage."""
    from stream_assets.lake.custody import damage

    path = session.root() / "_ledger.sqlite"
    found = damage(path)
    session.give({"ledger": str(path), "is_whole": not found, "damage": found}, _show_check)
    return not found


@ledger.command(cls=Command, short_help="write a consistent copy")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(session: Session, file: Path) -> None:
    """Write a copy of the ledger as it is at one moment to FILE, which is replaced; others may write meanwhile."""
    from stream_assets.lake.custody import backup as write

    write(session.open().lake.layout, file)
    session.give({"backup": str(file.resolve()), "bytes": file.stat().st_size}, _show_backup)


@ledger.command(cls=Command, short_help="put a backup in place")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(session: Session, file: Path) -> bool:
    """Put the backup FILE of this lake's ledger in place, and keep the old one beside it.

    What was published since is found in the partitions' files, and is there at once. Exit 1 where newer files are no whole
    partitions.
    """
    from stream_assets.lake.custody import restore as put
    from stream_assets.pipeline.recognise import recognise

    restored = put(session.root(), file, session.clock.now())
    facts = {
        "restored": str(file.resolve()),
        "adopted": dict(sorted(restored.adopted.items())),
        "stale": recognise(session.open().site),
        "broken": _broken(restored.broken),
        "kept": str(restored.kept) if restored.kept else None,
    }
    session.give(facts, _show_restored)
    return not restored.broken


@ledger.command(cls=Command, short_help="make it anew from the partitions")
def rebuild(session: Session) -> bool:
    """Make the ledger anew from the partitions' files: where it is gone, damaged, or of an older release.

    All but history comes back. Pauses and failures are forgotten, and sources are asked from the beginning: equal content
    moves nothing. Exit 1 where files are no whole partitions.
    """
    from stream_assets.lake.rebuild import rebuild as make
    from stream_assets.pipeline.recognise import recognise

    root = session.root()
    with bar() as shown:
        rebuilt = make(root, session.clock.now(), begin=lambda count: shown.begin("rebuild", count), step=shown.step)
    reopened = recognise(session.open().site)
    facts = {
        "lake": str(root),
        "partitions": dict(sorted(rebuilt.partitions.items())),
        "rows": rebuilt.rows,
        "stale": reopened,
        "broken": _broken(rebuilt.broken),
        "kept": str(rebuilt.kept) if rebuilt.kept else None,
    }
    session.give(facts, _show_rebuilt)
    return not rebuilt.broken


def _broken(files: list[tuple[Path, str]]) -> list[dict[str, str]]:
    return [{"file": str(path), "said": said} for path, said in files]


def _show_check(facts: dict[str, Any], page: Page) -> None:
    if facts["is_whole"]:
        page.line(f"{facts['ledger']} is whole.", "green")
    for said in facts["damage"]:
        page.line(said, "red")
    if not facts["is_whole"]:
        page.line("stream-assets ledger rebuild makes it anew, stream-assets ledger restore puts a backup in place.")


def _show_backup(facts: dict[str, Any], page: Page) -> None:
    page.line(f"{facts['backup']}: {facts['bytes']:,} bytes. stream-assets ledger restore FILE puts it in place.")


def _show_restored(facts: dict[str, Any], page: Page) -> None:
    adopted = _counts(facts["adopted"])
    page.line(f"{facts['restored']} is in place. Published since it was made, and adopted: {adopted}.")
    _show_stale_and_broken(facts, page)
    _show_kept(facts, page)


def _show_rebuilt(facts: dict[str, Any], page: Page) -> None:
    page.line(f"{facts['lake']}: partitions of {_counts(facts['partitions'])}; {many(facts['rows'], 'row')}.")
    _show_stale_and_broken(facts, page)
    page.line(
        "Pauses and failures are forgotten, and sources are asked from the beginning; equal content moves nothing."
    )
    _show_kept(facts, page)


def _counts(partitions: dict[str, int]) -> str:
    return ", ".join(f"{table} {count:,}" for table, count in partitions.items()) or "none"


def _show_stale_and_broken(facts: dict[str, Any], page: Page) -> None:
    if facts["stale"]:
        page.line(
            f"{many(facts['stale'], 'partition')} made from other inputs than those there now: made again by itself, where those are kept."
        )
    for broken in facts["broken"]:
        page.line(f"left out: {broken['said']}", "red")


def _show_kept(facts: dict[str, Any], page: Page) -> None:
    if facts["kept"]:
        page.line(f"The ledger before is kept as {facts['kept']}: remove it once all is well.", "dim")
