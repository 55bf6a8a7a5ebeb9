"""Removing: what is not kept any longer goes out of the ledger first, and then out of its place, into staging for an hour.

The ledger keeps the list of what is to leave until it has left. So a crash leaves a partition that is there as it was, or
a folder that no reader is told of any more and that whoever comes next moves away.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import Grain, TimeWindow
from stream_assets.errors import Conflict
from stream_assets.lake.disk import hold, lake_errors, move_new, sync_folder
from stream_assets.lake.layout import Layout
from stream_assets.lake.ledger import Current, Ledger
from stream_assets.lake.publish import adopt_newer, newer


def remove(
    layout: Layout, ledger: Ledger, span: TimeWindow, partitions: Sequence[tuple[Grain, Current]], reason: str, now: datetime,
    together: Callable[[], Iterable[Path]],
) -> None:  # fmt: skip
    """Take partitions out of the ledger, in one transaction, all or nothing; `clear` takes them out of their places.

    Args:
        layout: of the lake.
        ledger: of the lake.
        span: whole days, of which nothing is delivered by these tables any more.
        partitions: all that the tables have there, with the grain of each.
        reason: for the ledger.
        now: the present instant.
        together: checks what must hold, records what belongs into the same transaction, and returns further folders that go.

    Raises:
        Conflict: transient; another writer published one of the partitions, or a crash left a newer one, which is adopted
            now. Nothing was removed.
        LakeUnavailable: transient; the ledger stayed locked, or its disk is full. Nothing was removed.
    """
    try:
        with ledger.transaction():
            for grain, current in partitions:
                if newer(layout, ledger, current.table, grain, current.span):
                    raise Conflict(f"a crash left a newer {current.table} {current.span}: the work is planned again")
                ledger.remove(current, reason, now)
            for table in {current.table for _, current in partitions}:
                ledger.cover(table, [span], Intervals())
            places = [(layout.partition(c.table, grain, c.span), c) for grain, c in partitions]
            places += [(path, None) for path in together()]
            ledger.gone.leave((str(path.relative_to(layout.root)), current) for path, current in places)
    except Conflict:
        for grain, current in partitions:
            adopt_newer(layout, ledger, current.table, grain, current.span)
        raise


def clear(layout: Layout, ledger: Ledger) -> None:
    """Move into staging what is to leave; what has been adopted or published there since stays.

    Raises:
        LakeUnavailable: transient; the disk is full. What could be moved has been, and the next call goes on.
        LakeError: terminal; something cannot be moved, such as a folder that is on another disk. The rest has been.
    """
    if not ledger.gone.leaving():
        return
    stuck: dict[str, OSError] = {}
    with lake_errors(layout.root), _held(layout.staging / uuid4().hex) as staging, ledger.transaction():
        moved: list[Path] = []
        for number, name in enumerate(ledger.gone.leaving()):
            place = layout.root / name
            try:
                move_new(place, staging / f"{number:06d}")
                moved.append(place)
            except FileNotFoundError:
                continue  # it has left already
            except OSError as error:
                stuck[name] = error
        for parent in {place.parent for place in moved if place.parent.name.startswith("day=")}:
            with suppress(OSError):  # it has other windows
                parent.rmdir()
        for parent in {place.parent if place.parent.exists() else place.parent.parent for place in moved}:
            sync_folder(parent)
        ledger.gone.left(stuck)
    for name, error in stuck.items():
        with lake_errors(layout.root / name):
            raise error


@contextmanager
def _held(folder: Path) -> Generator[Path]:
    """Make a folder that no sweep takes while it is filled; it stays if it has something in it."""
    folder.mkdir(parents=True)
    descriptor = hold(folder)
    try:
        yield folder
    finally:
        os.close(descriptor)
        with suppress(OSError):
            folder.rmdir()
