"""What every message of ours is: one line of printable text, of bounded length."""

import pytest

from stream_assets.errors import LONGEST, SourceError, StreamAssetsError


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("/in/ü b.jsonl is gone", "/in/ü b.jsonl is gone"),
        ("/in/a\nb.jsonl is gone", "/in/a\\nb.jsonl is gone"),
        ("/in/\x1b[31m.jsonl is gone", "/in/\\x1b[31m.jsonl is gone"),
        ("/in/\udcff.jsonl is gone", "/in/\\udcff.jsonl is gone"),
        ("/in/\u202elnosj is gone", "/in/\\u202elnosj is gone"),
    ],
)
def test_a_message_is_one_line_that_can_be_printed(message: str, shown: str) -> None:
    error: StreamAssetsError = SourceError(message)
    assert str(error) == shown
    assert str(error).isprintable()


def test_a_message_about_a_value_of_ten_megabytes_keeps_its_beginning_and_its_end() -> None:
    error: StreamAssetsError = SourceError(f"/in/1.csv: 'amount' is {'9' * 10_000_000}: mend it")
    assert len(str(error)) < LONGEST + 100
    assert str(error).startswith("/in/1.csv: 'amount' is 999")
    assert "characters left out" in str(error)
    assert str(error).endswith("999: mend it")
    around: StreamAssetsError = SourceError(f"stream 'events': {error}")
    assert len(str(around)) < LONGEST + 100
