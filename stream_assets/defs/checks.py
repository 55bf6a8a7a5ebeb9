"""Asset checks with numbers: rows that add up, the promise, and holes. Evaluated by the sensors, and on a click."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from stream_assets.core.declaration import Declarations, Table
from stream_assets.core.freshness import compact
from stream_assets.core.window import GRID, Calendar, Grain, TimeWindow
from stream_assets.defs.assets import Open
from stream_assets.defs.facts import some
from stream_assets.defs.names import Names

if TYPE_CHECKING:
    from stream_assets.lake.ledger.ledger import Totals
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
            found = _rows_add_up(pipeline.lake.ledger.totals(table.name))
            return dg.AssetCheckResult(passed=found.passed, description=found.says, metadata=found.metadata)
        standing = next(s for s in _standings(pipeline) if s.consumer.name == table.name)
        found = _promise(standing) if name == PROMISE else _holes(standing, pipeline.calendar)
        return dg.AssetCheckResult(
            passed=found.passed, description=found.says, metadata=found.metadata, severity=_severity(standing)
        )

    return check


def evaluations(pipeline: "Pipeline", names: Names) -> Iterator[tuple[str, str, dg.AssetCheckEvaluation]]:
    """Yield `(check, what its state depends on, evaluation)` of every consumer's checks, for a sensor to record."""
    for standing in _standings(pipeline):
        for name, found in ((PROMISE, _promise(standing)), (HOLES, _holes(standing, pipeline.calendar))):
            evaluation = dg.AssetCheckEvaluation(
                asset_key=names.key(standing.consumer.name), check_name=name, passed=found.passed, description=found.says,
                metadata=found.metadata, severity=_severity(standing),
            )  # fmt: skip
            state = f"{'passed' if found.passed else evaluation.severity.value}, complete through {standing.complete_through:%Y-%m-%dT%H:%MZ}"
            yield f"{standing.consumer.name}.{name}", state, evaluation


def sums(pipeline: "Pipeline", names: Names) -> Iterator[dg.AssetCheckEvaluation]:
    """Yield the evaluation of `rows_add_up` for every table of a stream that has partitions, for a sensor to record."""
    for table in pipeline.declarations.tables.values():
        totals = pipeline.lake.ledger.totals(table.name) if table.stream else None
        if totals and totals.partitions:
            found = _rows_add_up(totals)
            yield dg.AssetCheckEvaluation(
                asset_key=names.key(table.name), check_name=ROWS, passed=found.passed, description=found.says,
                metadata=found.metadata,
            )  # fmt: skip


def _standings(pipeline: "Pipeline") -> "list[Standing]":
    from stream_assets.pipeline.promises import standings

    return standings(pipeline.site, pipeline.state())


def _severity(standing: "Standing") -> dg.AssetCheckSeverity:
    # A new project is not red before its first run had its chance.
    is_grave = standing.decision.can_be_kept and not standing.is_awaited
    return dg.AssetCheckSeverity.ERROR if is_grave else dg.AssetCheckSeverity.WARN


@dataclass(frozen=True)
class _Found:
    """What a check found: in a sentence, and in figures that Dagster plots."""

    passed: bool
    says: str
    metadata: dict[str, dg.MetadataValue]


def _promise(standing: "Standing") -> _Found:
    figures: dict[str, dg.MetadataValue] = {
        "limit_s": dg.MetadataValue.float(standing.promise.limit.total_seconds()),
        "arithmetic": dg.MetadataValue.text(standing.decision.explanation),
    }
    if not standing.is_empty:
        figures["lag_s"] = dg.MetadataValue.float(round(standing.lag.total_seconds(), 1))
        figures["complete_through"] = dg.MetadataValue.text(standing.complete_through.isoformat())
    if standing.held_by:
        figures["held_by"] = dg.MetadataValue.text(standing.held_by)
    can_be_kept = standing.decision.can_be_kept
    says = str(standing)
    if not can_be_kept and not standing.paused_at:
        says += f"; but by its lane's arithmetic it {standing.decision.verdict}"
    return _Found(standing.is_kept and can_be_kept, says, figures)


def _holes(standing: "Standing", calendar: Calendar) -> _Found:
    missing = standing.holes.duration
    where = (_keys(span, standing.consumer.grain, calendar) for span in standing.holes)
    says = f"missing {compact(missing)}: {some(where)}" if missing else "nothing missing"
    figures: dict[str, dg.MetadataValue] = {
        "missing_s": dg.MetadataValue.float(missing.total_seconds()),
        "stale_code_partitions": dg.MetadataValue.int(standing.stale_code),
        "failed_partitions": dg.MetadataValue.int(len(standing.failures)),
    }
    if standing.failures:
        figures["failures"] = dg.MetadataValue.text(some((f.error for f in standing.failures), "\n"))
    return _Found(not standing.holes, says, figures)


def _keys(span: TimeWindow, grain: Grain, calendar: Calendar) -> str:
    first, last = (calendar.key(s, grain) for s in (span, TimeWindow(span.end - GRID, span.end)))
    return first if first == last else f"{first} to {last}"


def _rows_add_up(totals: "Totals") -> _Found:
    passed = totals.rows_read == totals.rows + totals.duplicates + totals.rejected
    counts = {
        "rows_read": totals.rows_read,
        "written": totals.rows,
        "duplicates": totals.duplicates,
        "rejected": totals.rejected,
        "partitions": totals.partitions,
    }
    says = (
        f"{totals.rows_read:,} rows read {'=' if passed else 'is not'} {totals.rows:,} written + {totals.duplicates:,} "
        f"duplicates + {totals.rejected:,} rejected, in {totals.partitions:,} partitions"
    )
    return _Found(passed, says, {name: dg.MetadataValue.int(count) for name, count in counts.items()})
