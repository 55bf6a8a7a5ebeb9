"""Sources and lake as typed Dagster resources of the same fields."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import dagster as dg
from pydantic import create_model

from stream_assets.core.freshness import words
from stream_assets.core.lateness import Auto, parse_lateness
from stream_assets.pipeline.project import Project

if TYPE_CHECKING:
    from stream_assets.pipeline import Pipeline


class LakeResource(dg.ConfigurableResource[Any]):
    """The lake: its folder, and what is fixed when it is made."""

    folder: str
    timezone: str = "UTC"
    start: str | None = None

    @classmethod
    def of(cls, project: Project) -> LakeResource:
        """Return the lake of `project` as a resource."""
        return cls(folder=project.lake, timezone=project.timezone, start=project.start)


class SourceResource(dg.ConfigurableResource[Any]):
    """A source; the subclasses that `source_resource` makes have the fields of one kind of source."""

    def source(self) -> Any:
        """Return the source that the fields describe."""
        raise NotImplementedError

    def create_resource(self, context: dg.InitResourceContext) -> Any:
        """Hand the source itself to whoever requires the resource."""
        del context
        return self.source()


def source_resource(source: Any) -> SourceResource:
    """Return `source`, a frozen dataclass, as a typed resource with the same fields; durations are text like `2 min`.

    A lateness may be `auto(p=0.999,max=1h)` there, too.
    Fields that are declared `field(repr=False)` are credentials and none of the resource's, since everybody who reaches
    Dagster's pages reads its configuration: each process has them from where the project does.
    """
    values = {f.name: getattr(source, f.name) for f in fields(source)}
    kept = tuple((f.name, values.pop(f.name)) for f in fields(source) if not f.repr)
    return _resource_type(type(source), kept)(**{name: _shown(value) for name, value in values.items()})


@lru_cache
def _resource_type(kind: type[Any], kept: tuple[tuple[str, Any], ...]) -> type[SourceResource]:
    hints = get_type_hints(kind)
    durations = {name for name, hint in hints.items() if hint is timedelta or Auto in get_args(hint)}
    model: dict[str, Any] = {
        f.name: (str if f.name in durations else hints[f.name], ... if f.default is MISSING else _shown(f.default))
        for f in fields(kind)
        if f.repr
    }

    def source(self: SourceResource) -> Any:
        values = {name: getattr(self, name) for name in model}
        return kind(**{n: _duration(v) if n in durations else v for n, v in values.items()}, **dict(kept))

    made = create_model(f"{kind.__name__}Resource", __base__=SourceResource, __doc__=kind.__doc__, **model)
    made.source = source
    return made


def _shown(value: Any) -> Any:
    if isinstance(value, Auto):
        return str(value)
    if not isinstance(value, timedelta):
        return value
    text = words(value)
    return text if _duration(text) == value else f"{value.total_seconds():.6f} s"


def _duration(value: str) -> timedelta | Auto:
    return parse_lateness(value)


def open_pipeline(project: Project, consumers: Any, resources: Any, lake: str, sources: dict[str, str]) -> Pipeline:
    """Open the project with the lake and the sources that Dagster configured, as far as they are required where it is called.

    Whoever requires some sources alone, to fill one table, must look at no others: those are as the project has them.

    Args:
        lake: name of the lake's resource.
        sources: names of the sources' resources, by stream.
    """
    found: LakeResource = getattr(resources, lake)
    streams = tuple(replace(s, source=getattr(resources, sources[s.name], s.source)) for s in project.streams)
    opened = replace(project, streams=streams, lake=found.folder, timezone=found.timezone, start=found.start)
    return opened.open(consumers, is_loading=False)
