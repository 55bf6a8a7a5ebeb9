"""Asking a source: whatever it raises becomes an error of ours. Needs no Arrow."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream_assets.errors import SourceError, StreamAssetsError


@contextmanager
def source_errors(stream: str, what: object) -> Iterator[None]:
    """Turn an error that a source does not call its own into one of its shape.

    Args:
        stream: whose source is asked.
        what: what it is asked for.
    """
    try:
        yield
    except StreamAssetsError:
        raise
    except Exception as error:
        # Its text may hold a credential: the place and the kind have to do.
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise SourceError(
            f"the source of {stream!r} raised {type(error).__name__} for {what} "
            f"({Path(place.filename).name}, line {place.lineno}): mend the source"
        ) from error
