"""Making the next thing while the last one is used: what Arrow and numpy do needs no Python, so two cores work."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T], executor: Executor) -> Iterator[T]:
    """Yield `items` in order, the next one being made in `executor` meanwhile; memory holds one more than without.

    Raises:
        Exception: what `items` raises, in its place.
    """
    done = object()
    coming = executor.submit(next, items, done)
    while (item := coming.result()) is not done:
        coming = executor.submit(next, items, done)
        yield item  # pyright: ignore[reportReturnType]
