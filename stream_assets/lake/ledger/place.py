"""Where a lake is, so that a copy of it is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stream_assets.lake.disk import identity


def place(folder: Path) -> dict[str, str]:
    """Return where a lake is: its path, and what no copy of its folder has."""
    return {"made_in": identity(folder), "made_at": str(folder)}


def is_other_place(meta: Mapping[str, str], folder: Path) -> bool:
    """Whether a ledger that says `meta` has come to `folder` by copying: both its path and its folder are others.

    A lake that was moved, mounted elsewhere, or restored where it was is no copy.
    """
    return meta.get("made_at") != str(folder) and meta.get("made_in") != identity(folder)
