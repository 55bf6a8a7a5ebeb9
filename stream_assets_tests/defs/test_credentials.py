"""The password of a source is in no log, metadata, receipt, ledger, error or page, whatever its driver says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from stream_assets.core.window import TimeWindow
from stream_assets.pipeline.verify import verify
from stream_assets_tests.defs.conftest import Host, error_of
from stream_assets_tests.defs.dagster_dev import DagsterDev
from stream_assets_tests.defs.dagster_ui import DagsterUI
from stream_assets_tests.defs.locations.declared import LAKES, dashboard, report
from stream_assets_tests.defs.locations.vault import PASSWORD, Vault, vault

SECRET = "s3cr3t-0f-the-vault"

PAGES = {
    "resources": """query ($at: RepositorySelector!) { allTopLevelResourceDetailsOrError(repositorySelector: $at) {
      ... on ResourceDetailsList { results { name description resourceType configFields { name description
        defaultValueAsJson } configuredValues { key value } } } } }""",
    "assets": """query { assetNodes { assetKey { path } description metadataEntries { label description
      ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr } ... on JsonMetadataEntry { jsonString } }
      assetMaterializations { runId metadataEntries { label ... on TextMetadataEntry { text } ... on JsonMetadataEntry {
      jsonString } ... on MarkdownMetadataEntry { mdStr } } } } }""",
    "runs": """query { runsOrError { ... on Runs { results { runId status runConfigYaml tags { key value } } } } }""",
    "automations": """query ($at: RepositorySelector!) { sensorsOrError(repositorySelector: $at) { ... on Sensors { results {
      name description } } } schedulesOrError(repositorySelector: $at) { ... on Schedules { results { name description } } } }""",
}
LOG = """query ($id: ID!, $after: String) { logsForRun(runId: $id, afterCursor: $after) { ... on EventConnection { cursor hasMore
  events { __typename ... on MessageEvent { message } ... on ErrorEvent { error { message stack errorChain { error { message
  stack } } causes { message stack } } } ... on ExecutionStepFailureEvent { failureMetadata { description } } } } } }"""


def files_with(secret: str, folder: Path) -> list[str]:
    """Return the files below a folder that hold a text, as it is or as JSON has it."""
    found = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    return sorted(str(p.relative_to(folder)) for p in found if secret.encode() in p.read_bytes())


def first_hours(host: Host) -> TimeWindow:
    start = host.yesterday().start
    return TimeWindow(start, start.replace(hour=10))


def test_no_credential_in_events_lake_ledger_or_errors(folder: Path, instance: dg.DagsterInstance) -> None:
    host = Host(vault(folder, SECRET), [dashboard, report], instance)
    result = host.run(["events", "dashboard"], first_hours(host))
    assert not result.success
    said = error_of(result)
    assert "the source of 'events' raised RuntimeError for" in said
    assert "vault://ann:***@host does not answer" in said
    found = verify(host.pipeline.site, ["events", "events_daily"], first_hours(host))
    assert SECRET not in said + repr(found.differences) + repr(host.pipeline.site.sources)
    assert {f.transient for f in host.pipeline.lake.ledger.work.failures()["events"]} == {True, False}
    assert files_with(SECRET, folder) == []
    assert files_with("login ann", folder) == []


def test_a_resource_has_the_fields_of_its_source_but_for_credentials(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    host = Host(vault(folder, SECRET), [report], instance)
    (resource,) = [
        r for n, r in (host.definitions.resources or {}).items() if n != "stream_assets_lake" and "source" in n
    ]
    assert SECRET not in repr(resource)
    assert "password" not in type(resource).model_fields
    assert type(resource).model_fields.keys() >= {"rate", "user"}
    assert resource.source() == Vault(rate=0.02, late_share=0.0, password=SECRET)


@pytest.fixture(scope="module")
def dev(memory: Path) -> Iterator[DagsterDev]:
    folder = memory / "credentials"
    variables = {LAKES: str(folder / "lakes"), PASSWORD: SECRET}
    with DagsterDev({"vault": "stream_assets_tests.defs.locations.vault"}, folder / "home", variables) as made:
        yield made


@pytest.mark.ui
@pytest.mark.slow
def test_no_credential_on_any_page_or_in_anything_that_dagster_keeps(dev: DagsterDev, memory: Path) -> None:
    pipeline = vault(memory / "credentials" / "lakes", SECRET).open([dashboard, report], is_loading=False)
    calendar = pipeline.calendar
    yesterday = calendar.days(TimeWindow(pipeline.lake.start, calendar.day_around(pipeline.clock.now()).start))[-1]
    hours = TimeWindow(yesterday.start, yesterday.start.replace(hour=10))
    windows = list(hours.windows())
    first, last = (calendar.key(w, "5 min") for w in (windows[0], windows[-1]))
    ui = DagsterUI(dev, "vault")
    run = ui.materialize(["events"], first, last)
    assert ui.finished(run)["status"] == "FAILURE"
    at = {"repositoryName": "__repository__", "repositoryLocationName": "vault"}
    pages = {name: json.dumps(dev.ask(query, {"at": at} if "$at" in query else {})) for name, query in PAGES.items()}
    pages["log"] = json.dumps(dev.ask(LOG, {"id": run}))
    assert '"rate"' in pages["resources"]
    assert "does not answer" in pages["log"]
    assert "Events of five minutes" in pages["assets"]
    assert [name for name, page in pages.items() if SECRET in page] == []
    assert SECRET not in dev.said()
    assert files_with(SECRET, memory / "credentials") == []
    assert os.environ.get(PASSWORD) is None
