"""`stream-assets split`."""

from __future__ import annotations

from typing import Any

from stream_assets.cli.options import command
from stream_assets.cli.session import Session
from stream_assets.cli.show.page import Page


@command("make a copied lake a lake of its own")
def split(session: Session) -> None:
    """Make a lake that was copied to another place a lake of its own, which may be written.

    It gets an id of its own, so that the ledger of one is never taken for that of the other.
    """
    lake = session.open().lake
    was, is_copy = lake.id, lake.is_copy
    if is_copy:
        lake.split()
    session.give({"lake": str(lake.layout.root), "was_copy": is_copy, "was": was, "lake_id": lake.id}, _show)


def _show(facts: dict[str, Any], page: Page) -> None:
    if facts["was_copy"]:
        page.line(f"{facts['lake']} is a lake of its own now ({facts['lake_id']}, split off {facts['was']}).")
    else:
        page.line(f"{facts['lake']} is no copy: there is nothing to split.")
