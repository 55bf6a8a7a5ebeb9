"""The decorator with which a consumer is declared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

from stream_assets.core.declaration import WINDOW, Consumer, Form, check_consumer
from stream_assets.core.freshness import parse_duration
from stream_assets.core.window import Grain
from stream_assets.errors import DeclarationError

_FORMS: dict[str, Form] = {"DataFrame": "pandas", "Table": "arrow", "DuckDBPyRelation": "duckdb"}
_TIME_WINDOW = "TimeWindow"


def consumer(
    freshness: str,
    grain: str = "day",
    *,
    grace: str | None = None,
    lookback: str | None = None,
    reads: Mapping[str, Sequence[str]] | None = None,
    schema: Any = None,
    group: str | None = None,
    owners: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    code_version: str | None = None,
) -> Callable[[Callable[..., Any]], Consumer]:
    """Declare a function as a consumer of streams or of other consumers.

    The function's parameters name what it reads; their annotations, read as text, say how it arrives: `pd.DataFrame`,
    `pa.Table` or `duckdb.DuckDBPyRelation`. A parameter `window: TimeWindow` receives the partition's window. It must be
    pure: the same inputs give the same rows.

    Args:
        freshness: how old the data may get between refreshes: `1 s`, `5 min`, `1 hour`, `1 day`, `7 days`.
        grain: the size of one partition, `5 min` or `day`; part of what the table means.
        grace: time allowed for settling, queueing and running; by default the source's settling time + 2 minutes, for
            batch 6 hours.
        lookback: how much before its partition the function is given too: whole days at day grain, at most one day at
            5-minute grain.
        reads: for each input the columns that are read; all by default.
        schema: a `pa.Schema` that every result must have.
        group, owners, tags, metadata: shown in Dagster.
        code_version: replaces the hash of the code; changing it rebuilds every partition.

    Raises:
        DeclarationError: terminal; what is wrong, with the consumer's name.
    """
    if callable(freshness):
        raise DeclarationError(
            f"consumer {getattr(freshness, '__name__', freshness)!r} states no freshness: write @consumer(freshness='1 hour')"
        )

    def declare(function: Callable[..., Any]) -> Consumer:
        name = function.__name__
        _check_shapes(name, reads or {}, owners, schema)
        back = parse_duration(lookback, what=f"consumer {name!r}: lookback") if lookback else timedelta(0)
        check_consumer(name, grain, back)
        forms, wants_window = _parameters(function)
        kept = {key: tuple(columns) for key, columns in (reads or {}).items()}
        return Consumer(
            name=name,
            function=function,
            freshness=parse_duration(freshness, what=f"consumer {name!r}: freshness"),
            grain=cast("Grain", grain),
            inputs=tuple(forms),
            forms=forms,
            code_version=code_version or None,
            wants_window=wants_window,
            grace=parse_duration(grace, what=f"consumer {name!r}: grace") if grace else None,
            lookback=back,
            reads=kept,
            schema=schema,
            description=inspect.getdoc(function) or "",
            group=group,
            owners=tuple(owners or ()),
            tags=dict(tags or {}),
            metadata=dict(metadata or {}),
        )

    return declare


def _check_shapes(name: str, reads: Mapping[str, Sequence[str]], owners: Sequence[str] | None, schema: Any) -> None:
    for what, value in ({f"reads of {key!r}": columns for key, columns in reads.items()} | {"owners": owners}).items():
        if isinstance(value, str):
            raise DeclarationError(f"consumer {name!r}: {what} is the text {value!r}: write a list, [{value!r}]")
    if schema is not None and not (hasattr(schema, "names") and hasattr(schema, "field")):
        raise DeclarationError(f"consumer {name!r}: schema is a {type(schema).__name__}: give a pa.Schema")


def _parameters(function: Callable[..., Any]) -> tuple[dict[str, Form], bool]:
    """Read the parameters' annotations as text, so that nothing is imported for them."""
    forms: dict[str, Form] = {}
    wants_window = False
    if inspect.iscoroutinefunction(function):
        raise DeclarationError(f"consumer {function.__name__!r} is declared with async: write a plain function")
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = parameter.annotation
        text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        kind = text.strip().strip("\"'").rpartition(".")[2]
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise DeclarationError(
                f"consumer {function.__name__!r}: parameter {str(parameter)!r} names nothing that could be read: inputs are "
                "passed by name, one parameter each"
            )
        if name == WINDOW:
            wants_window = True
        elif kind == _TIME_WINDOW:
            raise DeclarationError(
                f"consumer {function.__name__!r}: parameter {name!r} is annotated {_TIME_WINDOW}: the partition's window goes "
                f"to a parameter named {WINDOW!r}"
            )
        elif parameter.annotation is inspect.Parameter.empty or kind in _FORMS:
            forms[name] = _FORMS.get(kind, "pandas")
        else:
            raise DeclarationError(
                f"consumer {function.__name__!r}: parameter {name!r} is annotated {text!r}; it can be pd.DataFrame, pa.Table, "
                "duckdb.DuckDBPyRelation, or for the window TimeWindow"
            )
    return forms, wants_window
