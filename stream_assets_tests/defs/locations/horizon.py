"""What the environment declares, as in `definitions.py`: the command line works on the same lake. Automations on."""

from __future__ import annotations

import dagster as dg

from stream_assets.defs import build_definitions
from stream_assets.project import project

defs = build_definitions(project, key_prefix=["horizon"], executor=dg.in_process_executor)
