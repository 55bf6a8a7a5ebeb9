"""A lake that is watched for a while: late events come all the time, and what its consumers declare is set from outside."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg

from stream_assets import Project, Stream
from stream_assets.core.declaration import Consumer
from stream_assets.core.freshness import parse_duration
from stream_assets.defs import build_definitions
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets_tests.defs.locations.declared import LAKES, dashboard, report

FRESHNESS = "TEST_FRESHNESS"
"""Variable that says how fresh both consumers need the events."""
SOURCE = SyntheticEvents(rate=5, late_share=0.005, duplicate_share=0.01, lateness=timedelta(seconds=30))


def consumers(freshness: str) -> list[Consumer]:
    """Return one consumer of each grain."""
    return [replace(c, freshness=parse_duration(freshness)) for c in (dashboard, report)]


def project(lake: str) -> Project:
    """Return the project whose lake has this name."""
    return Project((Stream("events", source=SOURCE),), lake=str(Path(os.environ[LAKES]) / lake))


if LAKES in os.environ:
    defs = build_definitions(
        project("soaked"), consumers(os.environ[FRESHNESS]), key_prefix=["soaked"], executor=dg.in_process_executor
    )
