"""Pages of Dagster's UI at many partitions: the queries that its own pages send, to a real webserver."""

from __future__ import annotations

import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from stream_assets.core.clock import SystemClock
from stream_assets_tests.benchmarks.figure import Figure, median
from stream_assets_tests.benchmarks.idle import processor_seconds
from stream_assets_tests.benchmarks.settings import Settings
from stream_assets_tests.defs.dagster_dev import DagsterDev, GraphQLError

NAME = "pages"
KEYS = 90_000
SHARED = ("AssetViewDefinitionQuery", "AssetGraphLiveQuery", "AssetStaleStatusDataQuery", "AssetsFreshnessInfoQuery")
PAGES = {
    "partitions": ("PartitionHealthQuery", *SHARED),
    "asset": ("AssetOverviewMetadataEventsQuery", "AssetDefinitionCollisionQuery", *SHARED),
}
"""What each page of an asset was seen to ask."""
NEIGHBOURS = ("events_daily", "fraud_alerts", "revenue_dashboard")
"""The asset page asks for the state of the assets up- and downstream too."""


def measure(settings: Settings) -> list[Figure]:
    """Ask all queries of a page at once, as it does, and take the time until the last one is answered."""
    from dagster import DagsterInstance

    from stream_assets.pipeline.project import find_consumers
    from stream_assets_tests.benchmarks import history
    from stream_assets_tests.benchmarks.told import PLAIN, tell

    is_quick = settings.rounds == 1
    folder, now = settings.scratch / "pages", SystemClock().now()
    # A lake's windows reach back 300 days from the day on which it is made.
    days, older = (5, 0) if is_quick else (313, 13)
    pipeline = history.make(
        str(folder / "lake"), days, now, find_consumers("stream_assets.consumers"), made=now - timedelta(days=older)
    )
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with DagsterInstance.from_config(str(home)) as instance:
        keys = tell(instance, pipeline)
    queries = Queries()
    sides = [(page, asset) for page in PAGES for asset in ("events", PLAIN)]
    found: dict[Any, list[float]] = {name: [] for name in (*sides, *(q for names in PAGES.values() for q in names))}
    cpu: dict[Any, list[float]] = {side: [] for side in sides}
    env = {
        "STREAM_ASSETS_LAKE": str(folder / "lake"),
        "STREAM_ASSETS_SOURCE": "synthetic:?rate=0.05&late_share=0&quiet=",
        "STREAM_ASSETS_START": f"{pipeline.lake.start:%F}",
    }
    modules = {"pages": "stream_assets.definitions", "plain": "stream_assets_tests.benchmarks.plain"}
    with Webserver(modules, home, env) as server, ThreadPoolExecutor(8) as pool:
        for _ in range(settings.ticks + 1):
            for page, asset in sides:
                names = PAGES[page]
                began, before = time.perf_counter(), server.spent()
                asked = [pool.submit(server.took, queries.text(name), _variables(name, page, asset)) for name in names]
                took = [future.result() for future in asked]
                found[page, asset].append(time.perf_counter() - began)
                cpu[page, asset].append(server.spent() - before)
                for name, seconds in zip(names if asset == "events" else (), took, strict=False):
                    found[name].append(seconds)
    warm = {name: median(seconds[1:] if name in sides else seconds) for name, seconds in found.items()}
    note = f"`events` at {keys:,} keys, all queries of the page at once, median of {settings.ticks}"
    figures: list[Figure] = []
    for page in PAGES:
        ours, plain = (median(cpu[page, asset][1:]) for asset in ("events", PLAIN))
        figures += [
            Figure(f"page_{page}", warm[page, "events"], "s", 1.5, 0.5, note),
            Figure(f"page_{page}_plain", warm[page, PLAIN], "s", note="the same of an asset that has those partitions and nothing else"),
            Figure(f"page_{page}_ratio", ours / plain, "x", None, 1.1, "processor time of the webserver, `events` / that asset"),
        ]  # fmt: skip
    return [
        *figures,
        Figure("page_partitions_first", found["partitions", "events"][0], "s", note="the first time, when Dagster reads all events"),
        *(Figure(f"page_{name}", warm[name], "s", note="beside the page's others") for name in ("PartitionHealthQuery", *SHARED)),
    ]  # fmt: skip


def _variables(query: str, page: str, asset: str) -> dict[str, Any]:
    if query in ("AssetGraphLiveQuery", "AssetStaleStatusDataQuery", "AssetsFreshnessInfoQuery"):
        neighbours = NEIGHBOURS if page == "asset" and asset == "events" else ()
        return {"assetKeys": [{"path": [name]} for name in (asset, *neighbours)]}
    key = {"path": [asset]}
    return {"assetKeys": [key]} if query == "AssetDefinitionCollisionQuery" else {"assetKey": key}


class Queries:
    """The queries of the installed webserver's pages, as its scripts have them."""

    @cached_property
    def _parts(self) -> dict[str, str]:
        import dagster_webserver

        scripts = (Path(dagster_webserver.__file__).parent / "webapp/build/_next/static/chunks").rglob("*.js")
        parts: dict[str, str] = {}
        for script in scripts:
            text = script.read_text().replace("\\n", "\n")
            for match in re.finditer(r"\b(?:query (\w+)|fragment (\w+) on \w+)\s*[({]", text):
                parts.setdefault(match[1] or match[2], _whole(text, match.start()))
        return parts

    def text(self, name: str) -> str:
        """Return a query with the fragments that it names, and those that they name."""
        names, found = [name], dict[str, str]()
        while names:
            part = names.pop()
            if part not in found:
                found[part] = self._parts[part]
                names += re.findall(r"\.\.\.\s*(?!on\b)(\w+)", found[part])
        return "\n".join(found.values())


def _whole(text: str, start: int) -> str:
    depth = 0
    for match in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if match[0] == "{" else -1
        if not depth:
            return text[start : match.end()]
    raise ValueError(text[start : start + 80])


class Webserver(DagsterDev):
    """The webserver alone, without a daemon."""

    def took(self, query: str, variables: dict[str, Any]) -> float:
        """Return the seconds until an answer is there."""
        began = time.perf_counter()
        self.ask(query, variables, patience=600)
        return time.perf_counter() - began

    def spent(self) -> float:
        """Return the processor seconds of all its processes so far."""
        return sum(seconds for _, seconds in processor_seconds(self.group).values())

    def _prepare(self) -> list[str]:
        super()._prepare()
        (self.home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        options = ["-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(self.port)]
        return [sys.executable, "-m", "dagster_webserver", *options]

    def _is_ready(self) -> bool:
        try:
            entries = self.ask("{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }")
        except (GraphQLError, OSError):
            return False
        return all(entry["loadStatus"] == "LOADED" for entry in entries["workspaceOrError"]["locationEntries"])
