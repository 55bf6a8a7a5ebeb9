"""Puts one project's definitions together, for a code location of its own or to be merged into a host's."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import dagster as dg

from stream_assets.core.declaration import Consumer, Table
from stream_assets.defs.assets import build_assets
from stream_assets.defs.automations import build_automations
from stream_assets.defs.checks import build_checks
from stream_assets.defs.names import DEFAULT, Names
from stream_assets.defs.partitions import Partitions
from stream_assets.defs.resources import LakeResource, open_pipeline, source_resource
from stream_assets.defs.verify import build_verify
from stream_assets.pipeline.project import Project, find_consumers

if TYPE_CHECKING:
    from stream_assets.pipeline import Pipeline


def build_definitions(
    project: Project,
    consumers: ModuleType | Iterable[Consumer] | str | None = None,
    *,
    key_prefix: Sequence[str] = (),
    group: str | None = None,
    name: str = DEFAULT,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
    executor: dg.ExecutorDefinition | None = None,
) -> dg.Definitions:
    """Return assets, checks, automations and resources of one project. Opens its lake, and makes it where there is none.

    Merges into a host's own `Definitions`. With a `name` of its own every automation, job and resource is prefixed by it.

    Args:
        project: streams and lake; `STREAM_ASSETS_...` variables override it.
        consumers: a module or package of consumers, its name, the path of a folder, or the consumers themselves; by
            default what `STREAM_ASSETS_CONSUMERS` names.
        key_prefix: of every asset key.
        group: of every asset; by default `streams` and `consumers`.
        name: of this set of definitions.
        default_status: of the automations, where nobody has started or stopped them.
        executor: of all runs of these definitions. A host that merges several sets one executor itself.

    Raises:
        DeclarationError: terminal; streams or consumers are declared wrongly.
        LakeError: terminal; the lake cannot be used.
    """
    project = project.with_environment()
    found = (
        find_consumers(consumers) if isinstance(consumers, (ModuleType, str)) or consumers is None else list(consumers)
    )
    names = Names(name, tuple(key_prefix))
    declarations, lake = project.found(found)
    partitions = Partitions.of(project.timezone, lake.start, lake.windows_from, declarations.end)
    sources = {s.name: names.source(s.name) for s in project.streams}
    everything = {names.lake, *sources.values()}

    def needs(table: Table) -> set[str]:
        # Not all of them: Dagster goes through the resources of each asset, several times.
        made_of = (table.stream.name,) if table.stream else declarations.streams_of(table.name)
        return {names.lake, *(sources[stream] for stream in made_of)}

    def open_from(resources: object) -> Pipeline:
        return open_pipeline(project, found, resources, names.lake, sources)

    # Parameters that have been called beta since they came; the warnings would be printed by every run.
    warnings.filterwarnings("ignore", message="Parameter `(backfill_policy|allow_nonexistent)", category=dg.BetaWarning)
    is_running = default_status == dg.DefaultSensorStatus.RUNNING
    sensors, schedules = build_automations(declarations, names, project.timezone, is_running, open_from, everything)
    verifying, verified_daily = build_verify(declarations, names, project.timezone, open_from, everything)
    return dg.Definitions(
        assets=build_assets(declarations, partitions, names, group, open_from, needs),
        asset_checks=[*build_checks(declarations, names, open_from, everything), *verifying],
        sensors=sensors,
        schedules=[*schedules, verified_daily],
        resources={
            names.lake: LakeResource.of(project),
            **{sources[s.name]: source_resource(s.source) for s in project.streams},
        },
        executor=executor,
    )
