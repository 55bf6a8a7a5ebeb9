"""What a project declares: streams, consumers, and the checked graph that they make."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal, get_args

from stream_assets.core.cadence import DAILY, Cadence, Lane, cadence_of, lane_of
from stream_assets.core.code import code_hash
from stream_assets.core.freshness import Promise, words
from stream_assets.core.retention import Retention
from stream_assets.core.window import GRAINS, GRID, Grain
from stream_assets.errors import DeclarationError

Form = Literal["pandas", "arrow", "duckdb"]
"""How a parameter arrives: `pd.DataFrame`, `pa.Table` or a lazy `duckdb.DuckDBPyRelation`."""

DriftPolicy = Literal["evolve", "freeze", "discard"]
"""What becomes of columns that change: let in where no value is lost, refused, or left out where they are new."""

DRIFT_POLICIES: tuple[DriftPolicy, ...] = get_args(DriftPolicy)

DAILY_SUFFIX = "_daily"
WINDOW = "window"
"""The parameter that receives the partition's window, and so no name of a table."""
GRACE = timedelta(minutes=2)
"""What queueing and running may take when a consumer of the micro-batch lane states no grace."""


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What the planner needs to know of a stream.

    Attributes:
        settling: how far its watermark runs behind the clock.
        end: first day that is not wanted any more, for finished histories.
        max_readers: how many may read its source at once.
        drift: what becomes of columns that change.
        keep: how long what it holds is kept.
    """

    name: str
    settling: timedelta = timedelta(0)
    end: date | None = None
    max_readers: int = 2
    drift: DriftPolicy = "evolve"
    keep: Retention = field(default_factory=Retention)

    def __post_init__(self) -> None:
        if self.drift not in DRIFT_POLICIES:
            raise DeclarationError(
                f"stream {self.name!r}: drift {self.drift!r} is not known: write {', '.join(DRIFT_POLICIES)}"
            )

    @property
    def daily(self) -> str:
        """Name of the stream's table of days."""
        return self.name + DAILY_SUFFIX


@dataclass(frozen=True)
class Consumer:
    """A declared consumer. `inputs` are its parameters in order; `forms` says how each arrives.

    Attributes:
        code_version: stated by its author; then a change of it rebuilds all partitions.
        wants_window: whether the function has a parameter `window`.
    """

    name: str
    function: Callable[..., Any]
    freshness: timedelta
    grain: Grain
    inputs: tuple[str, ...]
    forms: Mapping[str, Form]
    code_version: str | None = None
    wants_window: bool = False
    grace: timedelta | None = None
    lookback: timedelta = timedelta(0)
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    schema: Any = None
    description: str = ""
    group: str | None = None
    owners: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function itself, as in a test of it."""
        return self.function(*arguments, **named)

    @cached_property
    def code(self) -> str:
        """The stated `code_version`, or else the hash of the function's syntax and of what it depends on."""
        if self.code_version is not None:
            return self.code_version
        # Not when it is declared: helpers may stand below the function in its file.
        return code_hash(self.function, lookback=self.lookback, reads=self.reads, schema=self.schema)

    @property
    def code_stated(self) -> bool:
        """Whether `code` is a stated version."""
        return self.code_version is not None

    @property
    def lane(self) -> Lane:
        """The lane that the declared freshness needs."""
        return lane_of(self.freshness).lane

    @property
    def cadence(self) -> Cadence:
        """How often work is looked for."""
        return cadence_of(self.freshness)


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the lake: the windows of a stream, its days, or the partitions of a consumer."""

    name: str
    grain: Grain
    stream: StreamSpec | None = None
    consumer: Consumer | None = None

    @property
    def is_days_of_stream(self) -> bool:
        """Whether the table holds whole days of a stream."""
        return self.stream is not None and self.grain == "day"


@dataclass(frozen=True)
class Declarations:
    """Streams and consumers, checked together.

    Raises:
        DeclarationError: terminal; the message names the consumer and what to change.
    """

    streams: tuple[StreamSpec, ...]
    consumers: tuple[Consumer, ...]

    def __post_init__(self) -> None:
        names: set[str] = set()
        for name in (n for s in self.streams for n in (s.name, s.daily)):
            _check_name("stream", name)
            if name.casefold() in names:
                raise DeclarationError(f"two streams make the table {name!r}: rename one")
            names.add(name.casefold())
        for consumer in self.consumers:
            _check_name("consumer", consumer.name)
            if consumer.name.casefold() in names:
                raise DeclarationError(
                    f"the name {consumer.name!r} is taken by another consumer or stream: rename this one"
                )
            names.add(consumer.name.casefold())
        for consumer in self.consumers:
            self._check_inputs(consumer)
        try:
            _ = self.order
        except CycleError as error:
            raise DeclarationError(f"consumers read each other in a circle: {' -> '.join(error.args[1])}") from None
        for consumer in self.consumers:
            if not self.streams_of(consumer.name):
                raise DeclarationError(
                    f"consumer {consumer.name!r} reads no stream, so nothing says when it is due: give it a parameter"
                )

    @property
    def end(self) -> date | None:
        """First day that no stream wants any more; None while one of them goes on."""
        ends = [s.end for s in self.streams if s.end]
        return max(ends) if ends and len(ends) == len(self.streams) else None

    def _check_inputs(self, consumer: Consumer) -> None:
        for name in consumer.inputs:
            upstream = self._consumers.get(name)
            if upstream is None and not self.is_stream(name):
                known = ", ".join(sorted([*self._streams, *self._consumers]))
                raise DeclarationError(
                    f"consumer {consumer.name!r} has a parameter {name!r} that names no stream and no consumer; there are: {known}"
                )
            if upstream is not None and consumer.grain == "5 min" and upstream.grain == "day":
                raise DeclarationError(
                    f"consumer {consumer.name!r} at 5-minute grain cannot read {name!r} at day grain: make it grain='day'"
                )
            kept = self.stream(name).keep.events if self.is_stream(name) else None
            day = timedelta(days=1)
            least = consumer.lookback + max(consumer.cadence.step, day) + day
            if kept is not None and kept < least:
                raise DeclarationError(
                    f"consumer {consumer.name!r} reads the stream {name!r}, which keeps {words(kept)}: with its lookback and its cadence "
                    f"it needs at least {words(least)}"
                )
        for name in consumer.reads:
            if name not in consumer.inputs:
                raise DeclarationError(
                    f"consumer {consumer.name!r}: reads= names {name!r}, which is no parameter of its function"
                )

    @cached_property
    def order(self) -> tuple[str, ...]:
        """All table names, inputs before their readers."""
        graph: dict[str, set[str]] = {}
        for stream in self.streams:
            graph[stream.name] = set()
            graph[stream.daily] = {stream.name}
        for consumer in self.consumers:
            graph[consumer.name] = {table for name in consumer.inputs for table in self._tables_read(name)}
        return tuple(TopologicalSorter({k: sorted(v) for k, v in sorted(graph.items())}).static_order())

    def _tables_read(self, name: str) -> tuple[str, ...]:
        return (name, name + DAILY_SUFFIX) if self.is_stream(name) else (name,)

    @cached_property
    def tables(self) -> dict[str, Table]:
        """Every table by name, inputs before their readers."""
        found: dict[str, Table] = {}
        for stream in self.streams:
            found[stream.name] = Table(stream.name, "5 min", stream=stream)
            found[stream.daily] = Table(stream.daily, "day", stream=stream)
        for consumer in self.consumers:
            found[consumer.name] = Table(consumer.name, consumer.grain, consumer=consumer)
        return {name: found[name] for name in self.order}

    def consumer(self, name: str) -> Consumer:
        """Return the consumer of that name.

        Raises:
            DeclarationError: terminal; there is none.
        """
        if name not in self._consumers:
            raise DeclarationError(
                f"there is no consumer {name!r}; there are: {', '.join(c.name for c in self.consumers) or 'none'}"
            )
        return self._consumers[name]

    def is_stream(self, name: str) -> bool:
        """Whether `name` is a stream."""
        return name in self._streams

    def stream(self, name: str) -> StreamSpec:
        """Return the stream of that name."""
        return self._streams[name]

    @cached_property
    def _streams(self) -> dict[str, StreamSpec]:
        return {stream.name: stream for stream in self.streams}

    @cached_property
    def _consumers(self) -> dict[str, Consumer]:
        return {consumer.name: consumer for consumer in self.consumers}

    def streams_of(self, consumer: str) -> tuple[str, ...]:
        """Names of the streams that `consumer` is made of, through other consumers too."""
        return self._streams_of[consumer]

    @cached_property
    def _streams_of(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {s.name: (s.name,) for s in self.streams}
        for name in self.order:
            if name in self._consumers:
                found[name] = tuple(sorted({s for i in self._consumers[name].inputs for s in found[i]}))
        return found

    @cached_property
    def readers(self) -> dict[str, tuple[Consumer, ...]]:
        """For every stream and consumer, the consumers that name it, itself not included."""
        found: dict[str, list[Consumer]] = {name: [] for name in (*self._streams, *self._consumers)}
        for consumer in self.consumers:
            for name in dict.fromkeys(consumer.inputs):
                found[name].append(consumer)
        return {name: tuple(readers) for name, readers in found.items()}

    def around(self, name: str) -> Declarations:
        """Return what has a say in when `name`, a stream or a consumer, is due: what it is made of and who reads it, through others too.

        And what those are made of, so that it is a graph.
        """
        names = {name}
        for consumer in (self._consumers[n] for n in self.order if n in self._consumers):
            if not names.isdisjoint(consumer.inputs):
                names.add(consumer.name)
        for consumer in (self._consumers[n] for n in reversed(self.order) if n in self._consumers):
            if consumer.name in names:
                names.update(consumer.inputs)
        return Declarations(
            tuple(s for s in self.streams if s.name in names), tuple(c for c in self.consumers if c.name in names)
        )

    def demand(self, paused: frozenset[str] = frozenset()) -> dict[str, frozenset[Cadence]]:
        """For every stream and consumer, the cadences that want it: its own and those of all its readers.

        A paused consumer demands nothing; what it reads is wanted only by others.
        """
        wanted: dict[str, set[Cadence]] = {s.name: set() for s in self.streams}
        wanted.update({c.name: {c.cadence} if c.name not in paused else set() for c in self.consumers})
        for name in reversed(self.order):
            if name in self._consumers and name not in paused:
                for source in self._consumers[name].inputs:
                    if source not in paused:
                        wanted[source] |= wanted[name]
        return {name: frozenset(cadences) for name, cadences in wanted.items()}

    @cached_property
    def cadences(self) -> tuple[Cadence, ...]:
        """Every cadence that needs an automation, tightest first. Days of streams are always kept, so `daily` is there."""
        return tuple(sorted({DAILY, *(c.cadence for c in self.consumers)}))

    def settling(self, name: str) -> timedelta:
        """The longest settling time among the streams of `name`, itself a stream or a consumer."""
        return max((self.stream(s).settling for s in self._streams_of[name]), default=timedelta(0))

    def promise(self, consumer: Consumer) -> Promise:
        """Return what `consumer` is promised."""
        default = lane_of(consumer.freshness).grace
        grace = consumer.grace if consumer.grace is not None else default
        return Promise(consumer.freshness, grace if grace is not None else self.settling(consumer.name) + GRACE)


def check_consumer(name: str, grain: str, lookback: timedelta) -> None:
    """Refuse what no graph could make right.

    Raises:
        DeclarationError: terminal.
    """
    if grain not in GRAINS:
        raise DeclarationError(f"consumer {name!r}: grain {grain!r} is not one of {' and '.join(map(repr, GRAINS))}")
    if grain == "5 min" and (lookback > timedelta(days=1) or lookback % GRID):
        raise DeclarationError(
            f"consumer {name!r}: lookback {words(lookback)} at 5-minute grain: at most 1 day there, in whole windows of 5 min; or use grain='day'"
        )
    if grain == "day" and lookback % timedelta(days=1):
        raise DeclarationError(f"consumer {name!r}: lookback {words(lookback)} at day grain must be whole days")


def _check_name(what: str, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise DeclarationError(
            f"{what} name {name!r} cannot be a folder and an asset: use up to 63 of a-z, 0-9 and _, beginning with a letter"
        )
    if name == WINDOW:
        raise DeclarationError(
            f"{what} name {name!r} cannot be read: that parameter receives the partition's window. Rename it"
        )
