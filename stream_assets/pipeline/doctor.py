"""Examines a project: its lake's disk and ledger, its sources, and what stands still."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from stream_assets.core.check import Check
from stream_assets.pipeline.horizon import MANY_KEYS, MOST_KEYS, keys

if TYPE_CHECKING:
    from stream_assets.pipeline.pipeline import Pipeline

CLOCKS_DIFFER = timedelta(minutes=1)
LONG = timedelta(hours=6)
"""Work that has been running for longer than this is worth a look."""


def examine(pipeline: Pipeline) -> Iterator[Check]:
    """Yield what can be said of an open lake and its sources; asks each source what has arrived, and runs nothing."""
    yield _place(pipeline)
    yield _clock(pipeline)
    yield from _sources(pipeline)
    yield _leases(pipeline)
    yield _failures(pipeline)
    yield _keys(pipeline)
    yield versions()


def _place(pipeline: Pipeline) -> Check:
    lake = pipeline.lake
    if lake.is_copy:
        said = f"a copy of the lake in {lake.meta.get('made_at')}, so it is only read"
        return Check("place", "warning", said, "stream-assets split makes it a lake of its own")
    return Check("place", "ok", f"lake {lake.id} in {lake.layout.root}; stream-assets verify looks into its files")


def _clock(pipeline: Pipeline) -> Check:
    now, newest = pipeline.clock.now(), pipeline.lake.ledger.history.newest_instant()
    if newest and newest > now + CLOCKS_DIFFER:
        said = f"the ledger has work of {newest:%Y-%m-%d %H:%M:%SZ}, and it is {now:%Y-%m-%d %H:%M:%SZ}: the clock went back"
        return Check("clock", "problem", said, "set the clock right (NTP)")
    return Check("clock", "ok", "nothing in the ledger is of the future")


def _sources(pipeline: Pipeline) -> Iterator[Check]:
    silent = pipeline.observe()
    marks = pipeline.lake.ledger.sources.watermarks()
    for stream in pipeline.declarations.streams:
        name = f"source of {stream.name}"
        if stream.name in silent:
            yield Check(name, "problem", silent[stream.name], "mend the source, or what STREAM_ASSETS_SOURCE says")
        else:
            told = pipeline.site.sources[stream.name].describe()
            yield Check(name, "ok", f"{told}; complete up to {marks[stream.name]:%Y-%m-%d %H:%M:%SZ}")


def _leases(pipeline: Pipeline) -> Check:
    now, work = pipeline.clock.now(), pipeline.lake.ledger.work
    going = work.unfinished()
    lost = sum(claim.is_lost(now) for claim in going)
    long = [c for c in going if not c.is_lost(now) and c.state == "running" and now - c.requested_at > LONG]
    if long:
        said = f"{', '.join(long[0].tables)} has been running since {long[0].requested_at:%Y-%m-%d %H:%M:%SZ}"
        more = f" (and {len(long) - 1} more)" if len(long) > 1 else ""
        return Check("work", "warning", said + more, "look at its process: its lease is alive, so nobody else does it")
    if lost:
        said = f"given up by its process without a word: {lost}"
        return Check("work", "warning", said, "none needed: they are planned again")
    return Check("work", "ok", f"in flight: {len(going)}" if going else "nothing is in flight")


def _failures(pipeline: Pipeline) -> Check:
    failures = [(t, f) for t, found in pipeline.lake.ledger.work.failures().items() for f in found]
    paused = [(t, f) for t, f in failures if f.is_paused]
    if paused:
        table, failure = paused[0]
        said = f"{len(paused)} partitions are paused after failures, such as {table} {failure.span}: {failure.error}"
        todo = f"mend it and `stream-assets retry {table}`, or `stream-assets accept-gap {table}` where it is gone for good"
        return Check("failures", "problem", said, todo)
    if failures:
        table, failure = failures[0]
        said = f"{len(failures)} partitions failed and are tried again, such as {table} {failure.span}: {failure.error}"
        return Check("failures", "warning", said, "none needed, if that passes")
    return Check("failures", "ok", "nothing has failed")


def _keys(pipeline: Pipeline) -> Check:
    count = keys(pipeline)
    said = f"{count:,} windows since {pipeline.calendar.day_of(pipeline.lake.windows_from)}"
    if count < MANY_KEYS:
        return Check("keys", "ok", said)
    said += f"; Dagster recommends at most {MOST_KEYS:,} partitions an asset"
    todo = "stream-assets horizon says what `stream-assets horizon --advance` would remove: older events stay in days"
    return Check("keys", "problem" if count > MOST_KEYS else "warning", said, todo)


def versions() -> Check:
    """Say which releases of what it rests on are at work."""
    found = {name: _version(name) for name in ("stream_assets", "pyarrow", "dagster")} | {
        "SQLite": sqlite3.sqlite_version
    }
    said = ", ".join(f"{name} {number or 'not installed'}" for name, number in found.items())
    if not found["dagster"]:
        return Check("versions", "warning", said, "install dagster, where automations are to run")
    return Check("versions", "ok", said)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
