"""A lake that lives, in a zone where it is about noon, so that today has settled windows and many to come. Automations off."""

from __future__ import annotations

import os

import dagster as dg

from stream_assets.defs import build_definitions
from stream_assets_tests.defs.locations.declared import ZONE, dashboard, project, report

PROJECT = project("live", timezone=os.environ[ZONE], lateness=15 * 60)
defs = build_definitions(
    PROJECT, [dashboard, report], key_prefix=["live"], default_status=dg.DefaultSensorStatus.STOPPED,
    executor=dg.in_process_executor,
)  # fmt: skip
