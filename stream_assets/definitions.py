"""What Dagster loads: this project as Definitions."""

import dagster as dg

from stream_assets.defs import build_definitions
from stream_assets.project import project

defs = build_definitions(project, executor=dg.in_process_executor)
