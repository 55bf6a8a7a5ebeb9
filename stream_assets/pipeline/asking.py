"""Asking a source: whatever it raises becomes an error of ours. Needs no Arrow."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream_assets.errors import SourceError, StreamAssetsError
from stream_assets.sources.protocol import Source, secrets_of


@contextmanager
def source_errors(stream: str, source: Source, what: object) -> Iterator[None]:
    """Turn an error that a source does not call its own into one of its shape, and keep credentials out of both.

    Args:
        stream: whose source is asked.
        source: that is asked.
        what: what it is asked for.
    """
    try:
        yield
    except MemoryError:
        raise
    except StreamAssetsError as error:
        secrets = secrets_of(source)
        if not secrets:
            raise
        said = str(error)
        for secret in secrets:
            said = said.replace(secret, "***")
        error.args = (said, *error.args[1:])
        # Logs and Dagster's pages print the causes of an error, too.
        raise error from None
    except Exception as error:  # noqa: BLE001 - raised again as ours
        # Its text may hold a credential: the place and the kind have to do.
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise SourceError(
            f"the source of {stream!r} raised {type(error).__name__} for {what} "
            f"({Path(place.filename).name}, line {place.lineno}): mend the source"
        ) from None
