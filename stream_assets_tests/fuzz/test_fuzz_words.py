"""Fuzz: URLs, partition keys, instants, durations and cursors end in a value or in an error of ours."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from stream_assets.core.cadence import cadence_of
from stream_assets.core.freshness import Promise, compact, parse_duration, words
from stream_assets.core.window import GRAINS, Calendar
from stream_assets.errors import StreamAssetsError
from stream_assets.sources.files import FileEvents
from stream_assets.sources.protocol import MemoryState
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets.sources.url import source_from_url
from stream_assets_tests.fuzz.drawing import ANY_TEXT, inputs, mutated_text

NOW = datetime(2026, 3, 1, 14, 30, tzinfo=UTC)
URLS = (
    "synthetic:?rate=100&seed=7&lateness=2min&late_share=0.1&duplicate_share=0&quiet=02:00-02:30",
    "file:///dir/a%20b?format=csv&id=nr&time=at&arrival=seen&lateness=1h&types=zip:text,amount:float&max_ratio=9",
    "file://localhost/x",
)
KEYS = ("2026-03-01", "2026-03-01T00:05+0000", "2026-03-01T00:05+0100", "2026-10-25T02:30+0200", "2026-03-01T00:05")
ZONES = tuple(Calendar(zone) for zone in ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/Sao_Paulo"))


@inputs()
@given(mutated_text(*URLS))
def test_urls(url: str) -> None:
    with suppress(StreamAssetsError):
        source = source_from_url(url)
        assert source.describe()
        assert source.watermark(NOW) <= NOW
        assert source.settling >= timedelta(0)
        if isinstance(source, SyntheticEvents):
            source.schema(now=NOW)


@inputs()
@given(st.sampled_from(ZONES), st.sampled_from(GRAINS), mutated_text(*KEYS))
def test_a_key_is_refused_or_is_the_key_of_its_partition(calendar: Calendar, grain: str, key: str) -> None:
    with suppress(StreamAssetsError):
        partition = calendar.parse_key(key, grain)
        assert calendar.key(partition, grain) == key
        assert calendar.partitions(partition, grain) == [partition]


@inputs()
@given(st.sampled_from(ZONES), mutated_text(*KEYS, "2026-03-01T00:05:00.123456+01:00", "2026-W09-7", "20260301"))
def test_instants(calendar: Calendar, text: str) -> None:
    with suppress(StreamAssetsError):
        at = calendar.instant(text)
        assert at.tzinfo is UTC
        assert at in calendar.day_around(at)


@inputs()
@given(mutated_text("UTC", "Europe/Berlin", "../etc/passwd", "posix/UTC"))
def test_zones(zone: str) -> None:
    with suppress(StreamAssetsError):
        assert Calendar(zone).day_around(NOW)


@inputs()
@given(mutated_text("5 min", "1 hour", "30s", "7 days", "2.5 weeks"), mutated_text("2 min", "0.5 s"))
def test_durations(freshness: str, grace: str) -> None:
    with suppress(StreamAssetsError):
        declared = parse_duration(freshness)
        assert declared > timedelta(0)
        assert NOW - declared < NOW
        assert cadence_of(declared)
        assert words(declared)
        assert compact(declared)
        assert str(Promise(declared, parse_duration(grace)))


@inputs(60)
@given(mutated_text("2026-03-01T14:00:00+00:00", "12") | ANY_TEXT)
def test_cursors(cursor: str) -> None:
    with suppress(StreamAssetsError):
        assert SyntheticEvents(rate=0, quiet="").arrivals(cursor, now=NOW).cursor
    with suppress(StreamAssetsError):
        FileEvents("/nowhere/at/all").arrivals(cursor, now=NOW, state=MemoryState())
