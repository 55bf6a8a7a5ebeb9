"""A ledger made, or brought up to date, from the receipts in the partitions' files: everything but history."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from uuid import uuid4

from stream_assets.core.declaration import DAILY_SUFFIX
from stream_assets.core.intervals import Intervals
from stream_assets.core.receipt import Receipt
from stream_assets.core.window import Calendar, Grain
from stream_assets.errors import DeclarationError, LakeError, SourceError
from stream_assets.events.columns import Columns
from stream_assets.lake.disk import lake_errors, sync_folder
from stream_assets.lake.founding import write_marker
from stream_assets.lake.layout import Layout
from stream_assets.lake.ledger import FORMAT, Ledger, is_other_place, place
from stream_assets.lake.ledger.alone import alone, put_in_place
from stream_assets.lake.parquet import columns_of, read_footer, receipt_of

READERS = min(16, (os.cpu_count() or 1) * 4)
"""Footers are read by so many threads: most of the time of each is spent waiting, or outside of Python."""

BORDERS = ("kept_from:", "rejected_from:")
"""What has been removed is not wanted again, whatever becomes of the ledger."""

Step = Callable[[], None]


@dataclass
class Rebuilt:
    """What a ledger was made of.

    Attributes:
        partitions: by table.
        broken: files that are no whole partition, each with what is wrong; they lie where they lay.
        kept: where the ledger before is kept; None where there was none.
        columns: by stream, those that have a value in its partitions; None where they do not fit together.
    """

    partitions: Counter[str] = field(default_factory=Counter[str])
    rows: int = 0
    broken: list[tuple[Path, str]] = field(default_factory=list[tuple[Path, str]])
    kept: Path | None = None
    columns: dict[str, Columns | None] = field(default_factory=dict[str, Columns | None])


@dataclass(frozen=True, slots=True)
class _Folder:
    """A partition's folder, and its parts by revision, the newest first."""

    table: str
    grain: Grain
    path: Path
    parts: tuple[str, ...]


def rebuild(
    root: Path, now: datetime, *, begin: Callable[[int], None] = lambda _: None, step: Step = lambda: None
) -> Rebuilt:
    """Make the ledger of the lake in `root` anew, whatever has become of it, and keep the old one beside it.

    What was published is in the files, and what was fixed when the lake was made is in `_lake.json`. Requests, failures,
    pauses, cursors, watermarks and known files are not, so sources are asked from the beginning, and equal content moves
    nothing. The ledger has a new epoch, and its sequence starts above every number in a receipt. Consumers' partitions
    count as older than all their inputs: see `pipeline/recognise.py`. Interrupted, it leaves the old ledger as it was.

    Args:
        root: the lake's folder.
        now: the present instant.
        begin: told of how many partitions there are.
        step: called after each of them was read.

    Raises:
        LakeError: terminal; another process has the ledger open, or `_lake.json` is not there.
        LakeUnavailable: transient; the disk is full.
    """
    meta = _fixed(root)
    layout = Layout(root, Calendar(meta["zone"]))
    with lake_errors(root), alone(layout.ledger):
        folders = list(_folders(layout))
        begin(len(folders))
        rebuilt = Rebuilt()
        found = list(_receipts(layout, folders, rebuilt, step))
        draft = layout.root / "_ledger.sqlite.rebuilt"
        for left in layout.root.glob(draft.name + "*"):
            left.unlink()
        ledger = Ledger(draft)
        ledger.database.create()
        with ledger.transaction():
            ledger.change_meta(meta)
            _record(ledger, layout, found, rebuilt.columns, "rebuilt")
        ledger.database.close()
        sync_folder(layout.root)
        rebuilt.kept = put_in_place(draft, layout.ledger, now)
        sync_folder(layout.root)
        layout.staging.mkdir(exist_ok=True)
        write_marker(layout, meta)
    return rebuilt


def adopt_all(layout: Layout, ledger: Ledger) -> Rebuilt:
    """Roll a ledger that is older than its lake forward to every partition that is newer on disk, and return which.

    Nobody else may write meanwhile. What is not newer keeps its history; see `rebuild` for consumers' partitions.
    """
    adopted = Rebuilt()
    found = list(_receipts(layout, list(_folders(layout, ledger.revisions())), adopted, lambda: None))
    with ledger.transaction():
        _record(ledger, layout, found, adopted.columns, "adopted")
        for receipt, *_ in found:
            # What failed there has been made since.
            ledger.work.clear_failures(receipt.table, receipt.span)
    return adopted


def _fixed(root: Path) -> dict[str, str]:
    """Return what was fixed when the lake was made, with a new epoch."""
    marker = root / "_lake.json"
    try:
        said = json.loads(marker.read_text())
        known = {
            key: str(said[key]) for key in ("lake_id", "zone", "start", "windows_from", "created_at", "made_in")
        } | {key: str(said[key]) for key in said if key in ("made_at", "copy_of") or key.startswith(BORDERS)}
        for key in ("start", "windows_from"):
            datetime.fromisoformat(known[key])
        Calendar(known["zone"])
    except (OSError, ValueError, KeyError, TypeError, DeclarationError) as error:
        raise LakeError(
            f"{marker} does not say what was fixed when the lake was made ({type(error).__name__}): put it back from a copy "
            "of the lake, or choose another STREAM_ASSETS_LAKE"
        ) from error
    # Format 1 wrote the folder's number alone.
    is_at_home = known["made_in"] == str(root.stat().st_ino) or not is_other_place(known, root)
    return known | {"epoch": uuid4().hex, "format": FORMAT} | (place(root) if is_at_home else {})


def _folders(layout: Layout, known: Mapping[str, int] = MappingProxyType({})) -> Iterator[_Folder]:
    """Yield every folder that has a part where a partition of its table would lie, newer than the `known` revision of it."""
    for table in sorted(p for p in layout.root.iterdir() if p.is_dir() and not p.name.startswith("_")):
        for day in sorted(table.glob("day=*")):
            for path in (day, *sorted(day.glob("window_start=*"))):
                names = [p.name for p in path.iterdir()] if path.is_dir() else []
                least = known.get(str(path.relative_to(layout.root)), 0)
                newer = {n: r for n in names if (r := layout.revision_of(n) or 0) > least}
                if newer:
                    parts = tuple(sorted(newer, key=lambda n: newer[n], reverse=True))
                    yield _Folder(table.name, "day" if path == day else "5 min", path, parts)


def _receipts(
    layout: Layout, folders: Sequence[_Folder], rebuilt: Rebuilt, step: Step
) -> Iterator[tuple[Receipt, Grain, Path]]:
    """Yield the newest whole part of each folder."""

    def newest(folder: _Folder) -> tuple[tuple[Receipt, Columns] | None, Path, list[tuple[Path, str]]]:
        broken: list[tuple[Path, str]] = []
        for name in folder.parts:
            path = folder.path / name
            try:
                return _whole(layout, folder, path), path, broken
            except (LakeError, OSError) as error:
                broken.append((path, str(error)))
        return None, folder.path, broken

    with ThreadPoolExecutor(READERS, thread_name_prefix="rebuild") as pool:
        for folder, (whole, path, broken) in zip(folders, pool.map(newest, folders), strict=True):
            rebuilt.broken += broken
            if whole:
                receipt, columns = whole
                stream = receipt.table.removesuffix(DAILY_SUFFIX)
                rebuilt.columns[stream] = _together(rebuilt.columns.get(stream, Columns()), columns)
                rebuilt.partitions[receipt.table] += 1
                rebuilt.rows += receipt.rows
                yield receipt, folder.grain, path
            step()


def _whole(layout: Layout, folder: _Folder, path: Path) -> tuple[Receipt, Columns]:
    footer = read_footer(path)
    receipt = receipt_of(footer, path)
    expected = layout.partition(receipt.table, folder.grain, receipt.span) / layout.part(
        receipt.revision, receipt.digest
    )
    if path != expected:
        raise LakeError(
            f"{path} says of itself that it is {receipt.table} {receipt.span}, revision {receipt.revision}: move it out of the lake"
        )
    # A consumer's columns are its own affair.
    return receipt, Columns() if receipt.inputs else columns_of(footer)


def _together(known: Columns | None, found: Columns | None) -> Columns | None:
    """Return the columns of both; None where they do not fit together: nothing is known then, and the next read says why."""
    try:
        return known.plus(found) if known and found else None
    except SourceError:
        return None


def _record(
    ledger: Ledger,
    layout: Layout,
    found: list[tuple[Receipt, Grain, Path]],
    columns: Mapping[str, Columns | None],
    kind: str,
) -> None:
    """Write what the receipts say, oldest publication first."""
    ledger.start_above(max((r.inputs_seq for r, *_ in found), default=0))
    for receipt, _, path in sorted(found, key=lambda f: (f[0].committed_at, f[0].table, f[0].span.start)):
        ledger.record(receipt, str(path.relative_to(layout.root)), receipt.covered, kind=kind)
    tables, consumers = ledger.tables(), ledger.sources.consumers()
    for table, of_table in groupby(sorted(found, key=lambda f: f[0].table), key=lambda f: f[0].table):
        every = list(of_table)
        receipts = [receipt for receipt, *_ in every]
        newest = max(receipts, key=lambda r: r.committed_at)
        stream = None if newest.inputs else table.removesuffix(DAILY_SUFFIX)
        if table not in tables:
            days = sum(grain == "day" for _, grain, _ in every)
            grain: Grain = "day" if 2 * days > len(every) else "5 min"
            ledger.register(table, grain, stream)
        ledger.cover(table, [r.span for r in receipts], Intervals.union_of(s for r in receipts for s in r.covered))
        if stream and stream + DAILY_SUFFIX == table and stream not in tables:
            ledger.register(stream, "5 min", stream)  # of its windows there may be none
        if stream:
            text = ledger.sources.columns(stream)
            # What a ledger of before does not know, these parts alone do not say.
            known = Columns.from_text(text) if text else None if tables else Columns()
            together = _together(known, columns[stream])
            ledger.sources.know_columns(stream, together.to_text() if together else None)
        elif table not in consumers:
            first = min(r.committed_at for r in receipts)
            ledger.sources.meet(table, newest.code, code_stated=False, seq=0, now=first)
