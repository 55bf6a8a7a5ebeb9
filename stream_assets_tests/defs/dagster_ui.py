"""What Dagster's UI asks and tells a webserver of one code location, in a few verbs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stream_assets_tests.defs.dagster_dev import DagsterDev, GraphQLError, Json

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
RUN_DONE = {"SUCCESS", "FAILURE", "CANCELED"}
BACKFILL_DONE = {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}


@dataclass(frozen=True)
class Statuses:
    """Ranges of keys, both ends included, by status, in time order."""

    materialized: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    materializing: list[tuple[str, str]] = field(default_factory=list)


class DagsterUI:
    """One code location, whose assets have the location's name as key prefix."""

    def __init__(self, dev: DagsterDev, location: str) -> None:
        self.dev = dev
        self.location = location
        self._selector = {"repositoryName": "__repository__", "repositoryLocationName": location}

    def _key(self, table: str) -> Json:
        return {"path": [self.location, table]}

    # Runs.

    def materialize(self, tables: Iterable[str], first: str, last: str | None = None, **tags: str) -> str:
        """Launch one run over the partitions from `first` to `last` (a click, or a range in one run); returns its id."""
        range_tags = {RANGE_START: first, RANGE_END: last or first, **tags}
        selector = {**self._selector, "jobName": "__ASSET_JOB", "assetSelection": [self._key(t) for t in tables]}
        params = {
            "mode": "default", "selector": selector, "runConfigData": {},
            "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in range_tags.items()]},
        }  # fmt: skip
        result = self.dev.ask(_LAUNCH, {"params": params})["launchPipelineExecution"]
        if result["__typename"] != "LaunchRunSuccess":
            raise GraphQLError(json.dumps(result))
        return result["run"]["runId"]

    def finished(self, run: str, patience: float = 240) -> Json:
        """Wait for a run, and return its status, tags and assets."""

        def look() -> Json | None:
            found = self.dev.ask(_RUN, {"id": run})["runOrError"]
            return found if found["status"] in RUN_DONE else None

        return self.dev.wait_for(look, f"run {run}", patience)

    def runs(self, tags: Mapping[str, str] | None = None) -> list[Json]:
        """Return the runs of this location, newest first; their tags as a dictionary."""
        wanted = {**(tags or {}), "dagster/code_location": self.location}
        found = self.dev.ask(_RUNS, {"filter": {"tags": [{"key": k, "value": v} for k, v in wanted.items()]}})
        return [
            {
                **run,
                "tags": {t["key"]: t["value"] for t in run["tags"]},
                "tables": sorted(a["path"][-1] for a in run["assetSelection"]),
            }
            for run in found["runsOrError"]["results"]
        ]

    def failures(self, run: str) -> str:
        """Return what the failed steps of a run say."""
        events = self.dev.ask(_EVENTS, {"id": run})["logsForRun"]["events"]
        failed = [e for e in events if e["__typename"] == "ExecutionStepFailureEvent"]
        said = [e["failureMetadata"]["description"] if e["failureMetadata"] else "" for e in failed]
        return "\n".join([*filter(None, said), *(e["error"]["message"] for e in failed)])

    def log(self, run: str) -> list[str]:
        """Return all messages of a run."""
        return [e["message"] for e in self.dev.ask(_EVENTS, {"id": run})["logsForRun"]["events"]]

    # Backfills.

    def backfill(self, ranges: Mapping[str, tuple[str, str]]) -> str:
        """Launch a backfill of these tables, each over its range of keys, both ends included; returns its id."""
        params = {
            "partitionsByAssets": [
                {"assetKey": self._key(table), "partitions": {"ranges": [{"start": first, "end": last}]}}
                for table, (first, last) in ranges.items()
            ]
        }
        return self._launched(params)

    def backfill_keys(self, tables: Sequence[str], keys: Sequence[str]) -> str:
        """Launch the backfill that the dialog sends: keys of the selection's roots, the others get what maps to them."""
        return self._launched({"assetSelection": [self._key(t) for t in tables], "partitionNames": list(keys)})

    def _launched(self, params: Json) -> str:
        result = self.dev.ask(_BACKFILL, {"params": params})["launchPartitionBackfill"]
        if result["__typename"] != "LaunchBackfillSuccess":
            raise GraphQLError(json.dumps(result)[:2000])
        return result["backfillId"]

    def backfilled(self, backfill: str, patience: float = 420) -> Json:
        """Wait for a backfill, and return its status, error, runs, and by table the counts of its partitions."""

        def look() -> Json | None:
            found = self.dev.ask(_BACKFILL_STATE, {"id": backfill})["partitionBackfillOrError"]
            return found if found["status"] in BACKFILL_DONE else None

        state = self.dev.wait_for(look, f"backfill {backfill}", patience)
        counted = (state["assetBackfillData"] or {}).get("assetBackfillStatuses", [])
        state["counts"] = {
            c["assetKey"]["path"][-1]: (
                c["numPartitionsTargeted"],
                c["numPartitionsMaterialized"],
                c["numPartitionsFailed"],
            )
            for c in counted
        }
        return state

    # Assets.

    def statuses(self, table: str) -> Statuses:
        """Return which partitions of a table have which status."""
        node = self.dev.ask(_STATUS, {"key": self._key(table)})["assetNodeOrError"]
        found = Statuses()
        for row in node["assetPartitionStatuses"]["ranges"]:
            getattr(found, row["status"].lower()).append((row["startKey"], row["endKey"]))
        return found

    def facts(self, table: str, key: str) -> Json:
        """Return the metadata of the newest materialization of one partition."""
        node = self.dev.ask(_MATERIALIZATIONS, {"key": self._key(table), "partitions": [key]})["assetNodeOrError"]
        (newest, *_) = node["assetMaterializations"]
        return _metadata(newest["metadataEntries"])

    def checks(self, table: str, name: str) -> list[Json]:
        """Return the newest evaluations of a check."""
        found = self.dev.ask(_CHECKS, {"key": self._key(table), "name": name})["assetCheckExecutions"]
        evaluations = [c["evaluation"] for c in found if c["evaluation"]]
        return [{**e, "metadata": _metadata(e["metadataEntries"])} for e in evaluations]

    # Automations.

    def automation(self, name: str) -> Json:
        """Return the state of a sensor or schedule, with its newest ticks."""
        return self.dev.ask(_AUTOMATION, {"selector": {**self._selector, "name": name}})["instigationStateOrError"]

    def ticks(self, name: str) -> list[Json]:
        """Return the newest finished ticks, newest first, with `said`: what it skipped for, and what it logged."""
        ticks = [t for t in self.automation(name)["ticks"] if t["status"] != "STARTED"]
        return [
            {**t, "said": " ".join([t["skipReason"] or "", *(e["message"] for e in t["logEvents"]["events"])])}
            for t in ticks
        ]

    def start(self, name: str) -> None:
        """Turn an automation on, as a person does."""
        kind = self.automation(name)["instigationType"].lower()
        query = _START_SENSOR if kind == "sensor" else _START_SCHEDULE
        self._turned(query, {"selector": {**self._selector, f"{kind}Name": name}}, "RUNNING")

    def stop(self, name: str) -> None:
        """Turn an automation off, as a person does."""
        state = self.automation(name)
        query = _STOP_SENSOR if state["instigationType"] == "SENSOR" else _STOP_SCHEDULE
        self._turned(query, {"id": state["id"]}, "STOPPED")

    def _turned(self, query: str, variables: Json, wanted: str) -> None:
        (result,) = self.dev.ask(query, variables).values()
        state = result.get("instigationState") or result.get("scheduleState") or result.get("sensorState")
        if state is None or state["status"] != wanted:
            raise GraphQLError(json.dumps(result)[:2000])


def _metadata(entries: Iterable[Json]) -> dict[str, Any]:
    names = ("intValue", "floatValue", "boolValue", "text", "mdStr", "jsonString", "path", "schema", "table")
    return {e["label"]: next((e[n] for n in names if e.get(n) is not None), None) for e in entries}


_ENTRIES = """metadataEntries { label ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue }
  ... on BoolMetadataEntry { boolValue } ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr }
  ... on JsonMetadataEntry { jsonString } ... on PathMetadataEntry { path }
  ... on TableSchemaMetadataEntry { schema { columns { name type } } }
  ... on TableMetadataEntry { table { records } } }"""
_LAUNCH = """mutation ($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } ... on InvalidSubsetError { message } } }"""
_RUN_FIELDS = "runId status creationTime startTime endTime tags { key value } assetSelection { path } assetCheckSelection { name }"
_RUN = f"query ($id: ID!) {{ runOrError(runId: $id) {{ __typename ... on Run {{ {_RUN_FIELDS} }} }} }}"
_RUNS = f"""query ($filter: RunsFilter) {{ runsOrError(filter: $filter, limit: 200) {{ __typename
  ... on Runs {{ results {{ {_RUN_FIELDS} }} }} }} }}"""
_EVENTS = """query ($id: ID!) { logsForRun(runId: $id, limit: 1000) { ... on EventConnection { events { __typename
  ... on MessageEvent { message } ... on ExecutionStepFailureEvent { error { message } failureMetadata { description } } } } } }"""
_BACKFILL = """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) { __typename
  ... on LaunchBackfillSuccess { backfillId } ... on PartitionKeysNotFoundError { message } ... on PythonError { message }
  ... on InvalidSubsetError { message } ... on RunConfigValidationInvalid { errors { message } } } }"""
_BACKFILL_STATE = f"""query ($id: String!) {{ partitionBackfillOrError(backfillId: $id) {{ __typename
  ... on PartitionBackfill {{ id status error {{ message }} runs {{ {_RUN_FIELDS} }} assetBackfillData {{ assetBackfillStatuses {{
    __typename ... on AssetPartitionsStatusCounts {{ assetKey {{ path }} numPartitionsTargeted numPartitionsMaterialized
      numPartitionsFailed }} }} }} }} }} }}"""
_STATUS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { __typename ... on AssetNode {
  assetPartitionStatuses { __typename ... on TimePartitionStatuses { ranges { startKey endKey status } } } } } }"""
_MATERIALIZATIONS = f"""query ($key: AssetKeyInput!, $partitions: [String!]) {{ assetNodeOrError(assetKey: $key) {{
  ... on AssetNode {{ assetMaterializations(partitions: $partitions, limit: 1) {{ partition runId {_ENTRIES} }} }} }} }}"""
_CHECKS = f"""query ($key: AssetKeyInput!, $name: String!) {{ assetCheckExecutions(assetKey: $key, checkName: $name, limit: 10) {{
  status runId evaluation {{ success severity {_ENTRIES} }} }} }}"""
_AUTOMATION = """query ($selector: InstigationSelector!) { instigationStateOrError(instigationSelector: $selector) { __typename
  ... on InstigationState { id instigationType status ticks(limit: 40) { tickId status timestamp skipReason runIds runKeys
    error { message } logEvents { events { message } } } } } }"""
_STOP_SENSOR = """mutation ($id: String!) { stopSensor(id: $id) { __typename ... on PythonError { message }
  ... on StopSensorMutationResult { instigationState { status } } } }"""
_STOP_SCHEDULE = """mutation ($id: String!) { stopRunningSchedule(id: $id) { __typename ... on PythonError { message }
  ... on ScheduleStateResult { scheduleState { status } } } }"""
_START_SENSOR = """mutation ($selector: SensorSelector!) { startSensor(sensorSelector: $selector) { __typename
  ... on PythonError { message } ... on Sensor { sensorState { status } } } }"""
_START_SCHEDULE = """mutation ($selector: ScheduleSelector!) { startSchedule(scheduleSelector: $selector) { __typename
  ... on PythonError { message } ... on ScheduleStateResult { scheduleState { status } } } }"""
