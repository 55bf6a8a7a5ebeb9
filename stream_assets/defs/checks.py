"""Asset checks with numbers: rows that add up, the promise, and holes. Evaluated by the sensors, and on a click."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from stream_assets.core.declaration import Declarations, Table
from stream_assets.core.freshness import compact
from stream_assets.defs.assets import Open
from stream_assets.defs.names import Names

if TYPE_CHECKING:
    from stream_assets.pipeline import Pipeline
    from stream_assets.pipeline.promises import Standing

PROMISE, HOLES, ROWS = "promise", "holes", "rows_add_up"


def build_checks(
    declarations: Declarations, names: Names, open_from: Open, resource_keys: set[str]
) -> list[dg.AssetChecksDefinition]:
    """Return `promise` and `holes` for each consumer, and `rows_add_up` for both tables of each stream."""
    checks: list[dg.AssetChecksDefinition] = []
    for table in declarations.tables.values():
        wanted = (PROMISE, HOLES) if table.consumer else (ROWS,)
        checks += [_check(table, name, names, open_from, resource_keys) for name in wanted]
    return checks


_ABOUT = {
    PROMISE: "Data is as fresh as the consumer was promised, from event time to now.",
    HOLES: "Nothing is missing before the live span.",
    ROWS: "Rows read = written + duplicates + rejected, in the newest receipts.",
}


def _check(table: Table, name: str, names: Names, open_from: Open, resource_keys: set[str]) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=names.key(table.name), name=name, description=_ABOUT[name], required_resource_keys=resource_keys
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        pipeline = open_from(context.resources)
        if name == ROWS:
            passed, metadata = _rows_add_up(pipeline, table)
            return dg.AssetCheckResult(passed=passed, metadata=metadata)
        standing = next(s for s in _standings(pipeline) if s.consumer.name == table.name)
        passed, metadata = _promise(standing) if name == PROMISE else _holes(standing)
        return dg.AssetCheckResult(passed=passed, metadata=metadata, severity=_severity(standing))

    return check


def evaluations(pipeline: "Pipeline", names: Names) -> Iterator[tuple[str, str, dg.AssetCheckEvaluation]]:
    """Yield `(check, what its state depends on, evaluation)` of every consumer's checks, for a sensor to record."""
    for standing in _standings(pipeline):
        for name, (passed, metadata) in ((PROMISE, _promise(standing)), (HOLES, _holes(standing))):
            evaluation = dg.AssetCheckEvaluation(
                asset_key=names.key(standing.consumer.name), check_name=name, passed=passed, metadata=metadata,
                severity=_severity(standing),
            )  # fmt: skip
            state = f"{'passed' if passed else 'failed'}, complete through {standing.complete_through:%Y-%m-%dT%H:%MZ}"
            yield f"{standing.consumer.name}.{name}", state, evaluation


def sums(pipeline: "Pipeline", names: Names) -> Iterator[dg.AssetCheckEvaluation]:
    """Yield the evaluation of `rows_add_up` for every table of a stream that has partitions, for a sensor to record."""
    for table in pipeline.declarations.tables.values():
        passed, metadata = _rows_add_up(pipeline, table) if table.stream else (True, {"partitions": 0})
        if metadata["partitions"]:
            yield dg.AssetCheckEvaluation(
                asset_key=names.key(table.name), check_name=ROWS, passed=passed,
                metadata={name: dg.MetadataValue.int(count) for name, count in metadata.items()},
            )  # fmt: skip


def _standings(pipeline: "Pipeline") -> "list[Standing]":
    from stream_assets.pipeline.promises import standings

    return standings(pipeline.site, pipeline.state())


def _severity(standing: "Standing") -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if standing.decision.can_be_kept else dg.AssetCheckSeverity.WARN


def _promise(standing: "Standing") -> tuple[bool, dict[str, dg.MetadataValue]]:
    kept = standing.is_kept and standing.decision.can_be_kept
    return kept, {
        "now": dg.MetadataValue.text(str(standing)),
        "lag_s": dg.MetadataValue.float(standing.lag.total_seconds()),
        "limit_s": dg.MetadataValue.float(standing.promise.limit.total_seconds()),
        "complete_through": dg.MetadataValue.text(standing.complete_through.isoformat()),
        "arithmetic": dg.MetadataValue.text(str(standing.decision)),
        "held_by": dg.MetadataValue.text(standing.held_by or "-"),
    }


def _holes(standing: "Standing") -> tuple[bool, dict[str, dg.MetadataValue]]:
    return not standing.holes, {
        "missing": dg.MetadataValue.text(compact(standing.holes.duration)),
        "where": dg.MetadataValue.text(str(standing.holes)),
        "stale_code_partitions": dg.MetadataValue.int(standing.stale_code),
        "failed_partitions": dg.MetadataValue.int(len(standing.failures)),
    }


def _rows_add_up(pipeline: "Pipeline", table: Table) -> tuple[bool, dict[str, int]]:
    totals = pipeline.lake.ledger.totals(table.name)
    return totals.rows_read == totals.rows + totals.duplicates + totals.rejected, {
        "rows_read": totals.rows_read,
        "written": totals.rows,
        "duplicates": totals.duplicates,
        "rejected": totals.rejected,
        "partitions": totals.partitions,
    }
