"""What a project declares, and how it is opened: streams with their sources, a lake, and consumers."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar, cast

from stream_assets.core.clock import Clock, SystemClock
from stream_assets.core.declaration import Consumer, Declarations, DriftPolicy, StreamSpec
from stream_assets.core.freshness import parse_duration
from stream_assets.core.retention import Retention
from stream_assets.core.window import Calendar
from stream_assets.errors import DeclarationError

if TYPE_CHECKING:
    from stream_assets.lake.founding import Foundation
    from stream_assets.pipeline.pipeline import Pipeline
    from stream_assets.sources.protocol import Source

ENV = "STREAM_ASSETS_"

L = TypeVar("L", bound="Foundation")


@dataclass(frozen=True, slots=True)
class Stream:
    """A named flow of events from one source.

    Attributes:
        end: for finished histories, the first day that is not wanted any more, like `2014-01-01`.
        max_readers: how many may read the source at once.
        drift: what becomes of columns that change. `evolve` lets in new columns and wider types (integers to wider ones
            or to floats, structs by new fields), `freeze` nothing new, and `discard` leaves new columns out and counts
            their values. A change that could lose a value, like text in the place of numbers, is refused by all three;
            a column that is absent is null.
        keep: how long its days are kept, like `400 days`; by default for ever. Tables of consumers stay as they are.
        keep_windows: how long the files of a day's windows are kept after it, once the day is sealed and has all of them.
        keep_rejected: how long rejected rows are kept; by default as long as the days.
    """

    name: str
    source: Source
    end: str | None = None
    max_readers: int = 2
    drift: DriftPolicy = "evolve"
    keep: str | None = None
    keep_windows: str = "7 days"
    keep_rejected: str | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """The streams and the lake of a project. Opens nothing by itself.

    Attributes:
        lake: folder of the lake.
        timezone: time zone of its days.
        start: first day kept; by default two days before the lake is made.
    """

    streams: tuple[Stream, ...]
    lake: str = "lake"
    timezone: str = "UTC"
    start: str | None = None

    def with_environment(self, environment: Mapping[str, str] | None = None) -> Project:
        """Return the project as the `STREAM_ASSETS_...` variables override it.

        `STREAM_ASSETS_SOURCE` is the URL of the stream `events`, `STREAM_ASSETS_SOURCE_<STREAM>` that of any.
        `STREAM_ASSETS_DRIFT` is the policy of all streams, `STREAM_ASSETS_DRIFT_<STREAM>` that of one;
        `STREAM_ASSETS_KEEP` is how long their days are kept, `STREAM_ASSETS_KEEP_<STREAM>` of one.

        Raises:
            DeclarationError: terminal; a variable that makes no sense.
        """
        env = os.environ if environment is None else environment
        return replace(
            self,
            streams=tuple(_stream_from(stream, env) for stream in self.streams),
            lake=env.get(ENV + "LAKE") or self.lake,
            timezone=env.get(ENV + "TIMEZONE") or self.timezone,
            start=env.get(ENV + "START") or self.start,
        )

    def lake_folder(self) -> Path:
        """Return the lake's folder, which need not be there.

        Raises:
            DeclarationError: terminal; it is no folder on a local disk.
        """
        if "://" in self.lake:
            raise DeclarationError(
                f"the lake {self.lake!r} is a URL: a lake is a folder on a local disk so far, like lakes/shop (STREAM_ASSETS_LAKE)"
            )
        return Path(self.lake)

    def declarations(self, consumers: Iterable[Consumer]) -> Declarations:
        """Return the checked graph of streams and consumers."""
        specs = tuple(
            StreamSpec(s.name, s.source.settling, _day(s.end, s.name), s.max_readers, s.drift, _keep(s))
            for s in self.streams
        )
        return Declarations(specs, tuple(consumers))

    def open(self, consumers: Iterable[Consumer], clock: Clock | None = None, *, is_loading: bool = True) -> Pipeline:
        """Open the lake (and make it where there is none), and return what works on it.

        Args:
            consumers: as this process loaded them.
            clock: the machine's own by default.
            is_loading: whether they were loaded just now; a process that opens a lake again says False, so that a
                newer process that knows newer code is not overruled.
        """
        from stream_assets.lake.store import Lake
        from stream_assets.pipeline.pipeline import Pipeline
        from stream_assets.pipeline.site import Site

        clock = clock or SystemClock()
        learned, declarations, lake = self._opened(Lake, consumers, clock)
        pipeline = Pipeline(Site(declarations, {s.name: s.source for s in learned.streams}, lake, clock))
        if is_loading:
            pipeline.declare()
        return pipeline

    def found(self, consumers: Iterable[Consumer], clock: Clock | None = None) -> tuple[Declarations, Foundation]:
        """Open the lake (and make it where there is none) without its rows, and record the consumers as loaded just now.

        It is what loading definitions needs, and costs no import of Arrow.
        """
        from stream_assets.lake.founding import Foundation
        from stream_assets.pipeline.observe import declare

        clock = clock or SystemClock()
        _, declarations, lake = self._opened(Foundation, consumers, clock)
        declare(declarations, lake.ledger, clock.now())
        return declarations, lake

    def _opened(self, kind: type[L], consumers: Iterable[Consumer], clock: Clock) -> tuple[Project, Declarations, L]:
        """Open the lake, and return the project with what its ledger has learned of the sources."""
        from stream_assets.pipeline.lateness import learn

        consumers = tuple(consumers)
        lake = self._lake(kind, self.declarations(consumers), clock)
        streams = (replace(s, source=learn(s.name, s.source, lake, clock.now())) for s in self.streams)
        learned = replace(self, streams=tuple(streams))
        return learned, learned.declarations(consumers), lake

    def _lake(self, kind: type[L], declarations: Declarations, clock: Clock) -> L:
        calendar = Calendar(self.timezone)
        end = calendar.midnight(declarations.end) if declarations.end else None
        lake = kind.open(self.lake_folder(), self.timezone, clock.now(), start=self.start, end=end)
        for stream in declarations.streams:
            if stream.end and calendar.midnight(stream.end) <= lake.start:
                raise DeclarationError(
                    f"stream {stream.name!r} ends on {stream.end}, and the lake {lake.layout.root} starts on "
                    f"{calendar.day_of(lake.start)}, so there would be nothing: set a later end (STREAM_ASSETS_END), or an "
                    "earlier start in a new lake"
                )
        return lake


def _stream_from(stream: Stream, env: Mapping[str, str]) -> Stream:
    url = env.get(f"{ENV}SOURCE_{stream.name.upper()}") or (
        env.get(ENV + "SOURCE") if stream.name == "events" else None
    )
    if url:
        from stream_assets.sources.url import source_from_url

        stream = replace(stream, source=source_from_url(url))
    drift = env.get(f"{ENV}DRIFT_{stream.name.upper()}") or env.get(ENV + "DRIFT") or stream.drift
    keep = env.get(f"{ENV}KEEP_{stream.name.upper()}") or env.get(ENV + "KEEP") or stream.keep
    # What is no policy is refused where the stream is declared.
    return replace(stream, end=env.get(ENV + "END") or stream.end, drift=cast("DriftPolicy", drift), keep=keep)


def _keep(stream: Stream) -> Retention:
    def read(text: str | None) -> timedelta | None:
        return None if text is None else parse_duration(text, what=f"stream {stream.name!r}: what it keeps")

    windows, events, rejected = map(read, (stream.keep_windows, stream.keep, stream.keep_rejected))
    assert windows is not None
    try:
        return Retention(windows, events, rejected)
    except DeclarationError as error:
        raise DeclarationError(f"stream {stream.name!r}: {error}") from None


def _day(text: str | None, stream: str) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise DeclarationError(f"stream {stream!r}: its end {text!r} is no day: write it like 2014-01-01") from None
    if not 1970 <= day.year <= 9998:
        raise DeclarationError(
            f"stream {stream!r}: its end {text!r} is before 1970 or after 9998, where no events can be"
        )
    return day


def find_consumers(where: str | ModuleType | None = None) -> list[Consumer]:
    """Return the consumers declared in a module, a package with one file a consumer, or a folder of files.

    Args:
        where: a module or its name, or the path of a folder; by default `STREAM_ASSETS_CONSUMERS`, else the package
            `stream_assets.consumers`.

    Raises:
        DeclarationError: terminal; there is no such module or folder, or one of its files cannot be imported.
    """
    where = where or os.environ.get(ENV + "CONSUMERS") or "stream_assets.consumers"
    found: dict[int, Consumer] = {}
    for module in _modules(where):
        for value in vars(module).values():
            if isinstance(value, Consumer) and value.function.__module__ == module.__name__:
                found[id(value)] = value
    return sorted(found.values(), key=lambda c: c.name)


def _modules(where: str | ModuleType) -> list[ModuleType]:
    if isinstance(where, str) and (os.sep in where or Path(where).is_dir()):
        return _from_folder(Path(where))
    module = _imported(where) if isinstance(where, str) else where
    path = getattr(module, "__path__", None)
    names = [m.name for m in pkgutil.iter_modules(path, module.__name__ + ".")] if path else []
    return [module, *(_imported(n) for n in sorted(names))]


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except DeclarationError:
        raise
    except Exception as error:
        raise DeclarationError(
            f"the consumers in {name!r} cannot be loaded: {_said(error)}. Mend it, or check STREAM_ASSETS_CONSUMERS"
        ) from error


def _said(error: Exception, path: Path | None = None) -> str:
    """Say what an import raised, and in which line: of `path`, if that was reached, else where it was raised."""
    if isinstance(error, SyntaxError):
        return f"{Path(error.filename or path or '').name}, line {error.lineno or 1}: {error.msg}"
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__ and "importlib" not in f.filename
    ]
    frames = [f for f in frames if path and Path(f.filename) == path] or frames
    where = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}: " if frames else ""
    return where + ("" if isinstance(error, ImportError) else f"{type(error).__name__}: ") + str(error)


def _from_folder(folder: Path) -> list[ModuleType]:
    if folder.exists() and not folder.is_dir():
        raise DeclarationError(f"{str(folder)!r} is a file: STREAM_ASSETS_CONSUMERS names the folder that it is in")
    if not folder.is_dir():
        raise DeclarationError(f"the folder of consumers {str(folder)!r} does not exist: check STREAM_ASSETS_CONSUMERS")
    modules: list[ModuleType] = []
    for path in sorted(folder.glob("*.py")):
        name = f"stream_assets_consumers.{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except DeclarationError as error:
            raise DeclarationError(f"{path.name}: {error}") from error
        except Exception as error:
            raise DeclarationError(
                f"{_said(error, path)}. Mend the file, so that its consumers can be loaded"
            ) from error
        modules.append(module)
    return modules
