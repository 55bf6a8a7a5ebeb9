"""A finished history, its automations off."""

from __future__ import annotations

import dagster as dg

from stream_assets.defs import build_definitions
from stream_assets_tests.defs.locations.declared import CONSUMERS, project

PROJECT = project("new_york", timezone="America/New_York", start="2023-03-10", end="2023-11-20")
defs = build_definitions(
    PROJECT,
    CONSUMERS,
    key_prefix=["new_york"],
    default_status=dg.DefaultSensorStatus.STOPPED,
    executor=dg.in_process_executor,
)
