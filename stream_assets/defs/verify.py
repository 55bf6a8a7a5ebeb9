"""The asset check `verify` on every table, the job that runs them, and a schedule that is off until somebody wants it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from stream_assets.core.declaration import Declarations, Table
from stream_assets.core.window import GRID, TimeWindow
from stream_assets.defs.assets import Open
from stream_assets.defs.facts import some
from stream_assets.defs.names import Names

if TYPE_CHECKING:
    from stream_assets.pipeline import Pipeline
    from stream_assets.pipeline.verify import Verification

VERIFY = "verify"
CLOSED_DAYS = 2
"""The check looks at the open day and so many closed ones: of those, most late events have come. `stream-assets verify`
looks at all of history."""
CRON = "30 3 * * *"

_ABOUT = (
    "Source, lake, ledger and files agree, and a consumer's rows are those that its inputs give now: the open day and the "
    "last {days} closed ones, with a verdict on each partition. It reads all of that again, so it runs in the job `{job}` or "
    "when it is executed by itself, and leaves runs that materialize alone."
)
_ASKS_AGAIN = (
    "Runs the check `verify` of every table once a day. Off by default, because it asks the source for the live span again "
    "and computes its consumers once more."
)


def build_verify(
    declarations: Declarations, names: Names, zone: str, open_from: Open, resource_keys: set[str]
) -> tuple[list[dg.AssetChecksDefinition], dg.ScheduleDefinition]:
    """Return `verify` for every table, and the schedule of the job that runs them all."""
    job = dg.define_asset_job(
        names.prefixed(VERIFY),
        selection=dg.AssetSelection.checks(*(dg.AssetCheckKey(names.key(t), VERIFY) for t in declarations.tables)),
        description="Compares source, lake, ledger and files, and computes consumers again; publishes nothing.",
    )
    schedule = dg.ScheduleDefinition(
        name=names.prefixed(VERIFY), job=job, cron_schedule=CRON, execution_timezone=zone, description=_ASKS_AGAIN,
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )  # fmt: skip
    return [_check(table, names, open_from, resource_keys) for table in declarations.tables.values()], schedule


def _check(table: Table, names: Names, open_from: Open, resource_keys: set[str]) -> dg.AssetChecksDefinition:
    key = names.key(table.name)
    about = _ABOUT.format(job=names.prefixed(VERIFY), days=CLOSED_DAYS)

    # One that may be left out gives nothing where it is not wanted; a single check has to give a result.
    @dg.multi_asset_check(
        name=names.prefixed(f"{table.name}_{VERIFY}"),
        specs=[dg.AssetCheckSpec(VERIFY, asset=key, description=about)],
        can_subset=True,
        required_resource_keys=resource_keys,
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        if context.job_def.asset_layer.selected_asset_keys:
            context.log.info("not verified in a run that materializes: execute the check by itself, or its job")
            return
        yield _result(key, _look(open_from(context.resources), table))

    return check


@dataclass(frozen=True)
class _Found:
    """What was verified, and where."""

    pipeline: "Pipeline"
    table: Table
    span: TimeWindow
    verification: "Verification"


def _look(pipeline: "Pipeline", table: Table) -> _Found:
    from stream_assets.pipeline.verify import verify

    now = pipeline.clock.now()
    pipeline.observe()
    start = pipeline.rule().horizon(table).open_from
    for _ in range(CLOSED_DAYS):
        start = pipeline.calendar.day_around(start - GRID).start
    span = TimeWindow(max(start, pipeline.lake.start), pipeline.calendar.day_around(now).end)
    return _Found(pipeline, table, span, verify(pipeline.site, [table.name], span))


def _result(key: dg.AssetKey, found: _Found) -> dg.AssetCheckResult:
    said = found.verification
    wrong = [d for d in said.differences if not d.is_known]
    records = list(_records(found))
    says = f"{len(wrong)} differences: {wrong[0].said}" if wrong else f"{len(records)} partitions, nothing differs"
    known = [f"{d.span}: {d.said}" for d in said.differences if d.is_known]
    if known := [*known, *(f"{count} {reason}" for reason, count in said.reasons.items())]:
        says += f"; known: {some(known)}"
    metadata: dict[str, dg.MetadataValue] = {
        "partitions": dg.MetadataValue.table(records, schema=_SCHEMA),
        "differences": dg.MetadataValue.int(len(wrong)),
        "known": dg.MetadataValue.int(len(said.differences) - len(wrong) + said.reasons.total()),
        "rows": dg.MetadataValue.int(said.rows + said.consumer_rows),
        "source_queries": dg.MetadataValue.int(said.queries),
        "verified": dg.MetadataValue.text(str(found.span)),
    }
    if wrong:
        metadata["mend"] = dg.MetadataValue.text("\n".join(dict.fromkeys(str(d.mend) for d in wrong)))
    return dg.AssetCheckResult(
        asset_key=key, check_name=VERIFY, passed=not wrong, description=says, metadata=metadata,
        severity=dg.AssetCheckSeverity.ERROR,
    )  # fmt: skip


_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn("partition", "string"),
        dg.TableColumn("rows", "int"),
        dg.TableColumn("digest", "string"),
        dg.TableColumn("verdict", "string"),
    ]
)


def _records(found: _Found) -> Iterator[dg.TableRecord]:
    """Yield a line for each partition that is there, and one for each difference where none is."""
    said, calendar, grain = found.verification, found.pipeline.calendar, found.table.grain
    there = found.pipeline.lake.ledger.current(found.table.name, found.span)
    for current in there:
        differences = [d for d in said.differences if d.span.overlaps(current.span)]
        verdict = said.skipped.get((current.table, current.span), "agrees")
        if differences:
            verdict = "; ".join(f"{'known: ' * d.is_known}{d.said}" for d in differences)
        yield dg.TableRecord(
            {
                "partition": calendar.key(current.span, grain),
                "rows": current.rows,
                "digest": str(current.digest),
                "verdict": verdict,
            }
        )
    for difference in (d for d in said.differences if not any(d.span.overlaps(c.span) for c in there)):
        first = calendar.partitions(difference.span, grain)[0]
        yield dg.TableRecord(
            {"partition": calendar.key(first, grain), "rows": 0, "digest": "", "verdict": difference.said}
        )
