"""Sources as URLs, and how little declaring one costs."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest

from stream_assets.core.lateness import Auto
from stream_assets.errors import DeclarationError
from stream_assets.sources.files import FileEvents
from stream_assets.sources.protocol import Source
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets.sources.url import source_from_url


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("synthetic:", SyntheticEvents()),
        ("synthetic:?rate=100&seed=7", SyntheticEvents(rate=100, seed=7)),
        (
            "synthetic:?lateness=2min&quiet=&late_share=0",
            SyntheticEvents(lateness=timedelta(minutes=2), quiet="", late_share=0),
        ),
        ("synthetic:?lateness=auto(p=0.999,max=1h)", SyntheticEvents(lateness=Auto(0.999, timedelta(hours=1)))),
        ("synthetic:?lateness=0", SyntheticEvents(lateness=timedelta(0))),
        (
            "file:///dir?format=jsonl&id=event_id&time=event_time&arrival=arrival_time&lateness=2min",
            FileEvents("/dir", "jsonl", arrival="arrival_time"),
        ),
        (
            "file:///my%20dir/%C3%A9?format=csv&id=nr&time=at&types=zip:text,amount:float",
            FileEvents("/my dir/é", "csv", "nr", "at", types="zip:text,amount:float"),
        ),
        ("file://localhost/dir?arrival=", FileEvents("/dir")),
    ],
)
def test_a_url_declares_a_source(url: str, source: Source) -> None:
    assert source_from_url(url) == source


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis://user:hunter2@host/0?password=hunter2", "scheme 'redis' is no source: known are synthetic:"),
        ("/data/landing", "a URL without a scheme is no source"),
        ("", "a URL without a scheme"),
        ("synthetic:?password=hunter2", "no option 'password': known are rate, seed, lateness"),
        ("synthetic:?rate=fast", "rate must be a number, not 'fast'"),
        ("synthetic:?seed=1.5", "seed must be a number"),
        ("synthetic:?seed=1&seed=2", "option 'seed' is given twice"),
        ("synthetic:?lateness=soon", "lateness 'soon' is not understood"),
        ("synthetic:?rate", "not understood"),
        ("synthetic://host/path", "takes options alone"),
        ("file://user:hunter2@host/dir", "three slashes"),
        ("file:dir", "absolute path"),
        ("file:///dir?path=/x", "no option 'path'"),
        ("file:///dir?format=xml", "format 'xml' is not known"),
        ("file:///dir#x", "%23"),
        ("http://[hunter2", "not understood"),
    ],
)
def test_a_url_that_is_none_says_why_and_shows_no_credential(url: str, what: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        source_from_url(url)
    assert what in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_declaring_a_source_loads_neither_pyarrow_nor_numpy() -> None:
    code = (
        "import sys; from stream_assets.sources.url import source_from_url as s; "
        "s('synthetic:?rate=1').describe(); s('file:///x').describe(); "
        "print(sorted({'pyarrow', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
