"""The streams and the lake of this project, chosen in one place. `STREAM_ASSETS_...` variables override it."""

from __future__ import annotations

from stream_assets.pipeline.project import Project, Stream
from stream_assets.sources.synthetic import SyntheticEvents

project = Project(streams=(Stream("events", source=SyntheticEvents(rate=50)),), lake="lake")
