"""One asset a table: its body fills the partitions of the run's range."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from stream_assets.core.cadence import DAILY, DAY_MARGIN
from stream_assets.core.declaration import Declarations, StreamSpec, Table
from stream_assets.core.freshness import compact, words
from stream_assets.core.planning.decision import decide
from stream_assets.core.window import Grain, TimeWindow
from stream_assets.defs.facts import facts, failed, some
from stream_assets.defs.names import (
    BACKFILL_TAG,
    FAILED_PARTITIONS,
    PARTITION,
    RANGE_END,
    RANGE_START,
    WHY_TAG,
    WORK_TAG,
    Names,
    group_of,
)
from stream_assets.defs.partitions import Partitions, mapping
from stream_assets.errors import DeclarationError, NotReady, StreamAssetsError, UsageError

if TYPE_CHECKING:
    from stream_assets.pipeline import Pipeline, Report

Open = Callable[[object], "Pipeline"]
"""Opens the pipeline from a Dagster context's resources."""

Needs = Callable[[Table], set[str]]
"""Names the resources that are needed to fill a table: the lake, and the sources of what it is made of."""


def build_assets(
    declarations: Declarations,
    partitions: Partitions,
    names: Names,
    group: str | None,
    open_from: Open,
    needs: Needs,
) -> list[dg.AssetsDefinition]:
    """Return the assets of every table: windows and days of each stream, and each consumer at its grain."""
    made: list[dg.AssetsDefinition] = []
    for table in declarations.tables.values():
        try:
            made.append(_asset(table, declarations, partitions, names, group, open_from, needs))
        except dg.DagsterInvalidDefinitionError as error:
            raise DeclarationError(f"{table.name!r} cannot be an asset: {error}") from error
    return made


def _asset(
    table: Table, declarations: Declarations, partitions: Partitions, names: Names, group: str | None, open_from: Open, needs: Needs,
) -> dg.AssetsDefinition:  # fmt: skip
    consumer = table.consumer

    @dg.asset(
        key=names.key(table.name),
        partitions_def=partitions.of_grain(table.grain),
        deps=_deps(table, declarations, names),
        group_name=group_of(table, group),
        description=_description(table, declarations),
        kinds={"parquet", *({"pandas", "arrow", "duckdb"} & set(consumer.forms.values()) if consumer else {"stream"})}
        - {"arrow"},
        owners=list(consumer.owners) if consumer else None,
        tags=dict(consumer.tags) if consumer else None,
        metadata=_metadata(table, declarations),
        # `dg launch --partition-range` refuses any other; the pipeline takes ranges of any length in bounded memory.
        backfill_policy=dg.BackfillPolicy.single_run(),
        freshness_policy=_freshness(table, declarations),
        required_resource_keys=needs(table),
        output_required=True,
    )
    def fill(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        return _fill(context, table, open_from(context.resources), names)

    return fill


def _fill(
    context: dg.AssetExecutionContext, table: Table, pipeline: "Pipeline", names: Names
) -> dg.MaterializeResult[Any]:
    request, reason = _asked(context.run.tags)
    try:
        for tag in (PARTITION, RANGE_START, RANGE_END):
            # Dagster takes a key that was typed by hand for the next one that there is, and fails on one that has gone.
            if tag in context.run.tags:
                asked = pipeline.calendar.parse_key(context.run.tags[tag], table.grain)
                pipeline.refuse_before_first(table, asked.start)
        spans = [pipeline.calendar.parse_key(key, table.grain) for key in context.partition_keys]
        span = TimeWindow(min(s.start for s in spans), max(s.end for s in spans))
        with pipeline.running(table.name, span, request=request, run_id=context.run.run_id, reason=reason) as running:
            report = pipeline.fill(table.name, span, running)
    except (UsageError, NotReady) as error:
        # What was asked for cannot be: the sentence says all, a stack of our own code would only bury it.
        raise dg.Failure(str(error), allow_retries=False) from None
    except StreamAssetsError as error:
        every = {FAILED_PARTITIONS: dg.MetadataValue.json(list(context.partition_keys))}
        raise dg.Failure(str(error), metadata=every, allow_retries=False) from error
    context.log.info(str(report))
    if report.failed:
        keys, lines = failed(pipeline, report.failed)
        pipeline.give_back(running, lines)
        _keep_good(context, table, pipeline, names, report)
        raise dg.Failure(
            f"{table.name}: {len(keys)} of {len(report.outcomes)} partitions failed ({some(keys)}); "
            f"{len(report.outcomes) - len(keys)} are there.\n{lines}",
            metadata={FAILED_PARTITIONS: dg.MetadataValue.json(keys)},
            allow_retries=False,
        )
    for key, metadata in facts(pipeline, report.outcomes):
        context.add_asset_metadata(metadata, asset_key=names.key(table.name), partition_key=key)
    return dg.MaterializeResult()


def _asked(tags: Mapping[str, str]) -> tuple[int | None, str]:
    """Return the request in the ledger that a run was started for, and why: a click and a backfill have none."""
    request = tags.get(WORK_TAG, "")
    if re.fullmatch("[0-9]{1,18}", request):
        return int(request), tags.get(WHY_TAG, "")
    backfill = tags.get(BACKFILL_TAG)
    return None, f"asked by a person, backfill {backfill}" if backfill else "asked by a person"


def _keep_good(
    context: dg.AssetExecutionContext, table: Table, pipeline: "Pipeline", names: Names, report: "Report"
) -> None:
    """Record what was committed as materialised, in a step that is about to fail."""
    for key, metadata in facts(pipeline, [o for o in report.outcomes if o.is_good]):
        context.log_event(dg.AssetMaterialization(names.key(table.name), partition=key, metadata=metadata))


def _deps(table: Table, declarations: Declarations, names: Names) -> list[dg.AssetDep]:
    """Lineage follows grain: windows for 5-minute grain, days for day grain; a consumer reads the consumers it names."""
    if table.is_days_of_stream and table.stream:
        return [dg.AssetDep(names.key(table.stream.name), partition_mapping=mapping("day", "5 min"))]
    if table.consumer is None:
        return []
    deps: list[dg.AssetDep] = []
    for name in table.consumer.inputs:
        days = table.consumer.lookback.days if table.grain == "day" else 0
        if declarations.is_stream(name):
            upstream = name if table.grain == "5 min" else declarations.stream(name).daily
        else:
            upstream = name
        grain = declarations.tables[upstream].grain
        deps.append(dg.AssetDep(names.key(upstream), partition_mapping=mapping(table.grain, grain, days)))
    return deps


def _freshness(table: Table, declarations: Declarations) -> dg.FreshnessPolicy | None:
    """Return what Dagster shows as "is anything running": it looks at the last materialization, of whatever partition.

    What data is complete through is said by the check `promise`.
    """
    if table.consumer is None or all(declarations.stream(s).end for s in declarations.streams_of(table.name)):
        return None
    limit = table.consumer.cadence.step + declarations.promise(table.consumer).grace
    return dg.FreshnessPolicy.time_window(fail_window=max(limit, timedelta(minutes=1)))


def _description(table: Table, declarations: Declarations) -> str:
    if table.consumer:
        # Lists show the beginning alone, so what the table holds comes first; what it promises stands at the top of its page.
        promised = decide(declarations, table.consumer).explanation
        return "\n\n".join(filter(None, [table.consumer.description, promised[0].upper() + promised[1:]]))
    assert table.stream is not None
    if table.grain == "5 min":
        return (
            f"The stream {table.stream.name} in 5-minute windows of event time.\n\nThey fill the open day; a closed day "
            f"is the truth in `{table.stream.daily}`. Windows of a day that was read whole stay missing here on purpose: "
            "that day delivers them."
        )
    return (
        f"The stream {table.stream.name} in local days.\n\nA closed day is the truth, sealed from its windows or read "
        f"whole. The newest partition is the open day, which is never sealed: materialize `{table.stream.name}` for it."
    )


def _metadata(table: Table, declarations: Declarations) -> dict[str, object]:
    if table.consumer is None:
        assert table.stream is not None
        readers = declarations.readers[table.stream.name]
        return {
            "read_by": ", ".join(c.name for c in readers) or "nobody yet",
            "explain": dg.MetadataValue.md(_filled_by(table.stream, table.grain, declarations)),
        }
    decision = decide(declarations, table.consumer)
    return {
        **table.consumer.metadata,
        "promise": str(decision.promise),
        "lane": decision.lane,
        "cadence": decision.cadence.name,
        "explain": dg.MetadataValue.md(decision.explanation),
    }


def _filled_by(stream: StreamSpec, grain: Grain, declarations: Declarations) -> str:
    if grain == "day":
        return (
            f"Sealed by `{DAILY.name}`, {words(DAY_MARGIN)} after the last window of a day has settled: from the windows "
            "where all are sealed, else read whole in one query. `heal` does it where that was missed."
        )
    cadences = sorted(c for c in declarations.demand()[stream.name] if not c.is_batch)
    if not cadences:
        return "Filled by nobody: no consumer needs events within the day, and a day is read whole in one query."
    hungry = [
        c.name
        for c in declarations.consumers
        if not c.cadence.is_batch and stream.name in declarations.streams_of(c.name)
    ]
    return (
        f"Filled by {', '.join(f'`{c.name}`' for c in cadences)} for {', '.join(hungry)}. A window settles "
        f"{compact(stream.settling)} after its end."
    )
