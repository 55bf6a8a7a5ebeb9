"""A finished history, its automations off."""

from __future__ import annotations

import dagster as dg

from stream_assets.defs import build_definitions
from stream_assets_tests.defs.locations.declared import CONSUMERS, project

PROJECT = project("past", start="2023-01-01", end="2024-03-15")
defs = build_definitions(
    PROJECT,
    CONSUMERS,
    key_prefix=["past"],
    default_status=dg.DefaultSensorStatus.STOPPED,
    executor=dg.in_process_executor,
)
