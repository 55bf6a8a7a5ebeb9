"""What every message of ours is: one line of printable text."""

import pytest

from stream_assets.errors import SourceError, StreamAssetsError


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("/in/ü b.jsonl is gone", "/in/ü b.jsonl is gone"),
        ("/in/a\nb.jsonl is gone", "/in/a\\nb.jsonl is gone"),
        ("/in/\x1b[31m.jsonl is gone", "/in/\\x1b[31m.jsonl is gone"),
        ("/in/\udcff.jsonl is gone", "/in/\\udcff.jsonl is gone"),
    ],
)
def test_a_message_is_one_line_that_can_be_printed(message: str, shown: str) -> None:
    error: StreamAssetsError = SourceError(message)
    assert str(error) == shown
    assert str(error).isprintable()
