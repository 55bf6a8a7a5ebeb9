"""A project whose source wants a password, and tells of it in every error. Automations off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from stream_assets import Project, Stream
from stream_assets.core.window import TimeWindow
from stream_assets.defs import build_definitions
from stream_assets.errors import SourceUnavailable
from stream_assets.sources.protocol import SourceState
from stream_assets.sources.synthetic import SyntheticEvents
from stream_assets_tests.defs.locations.declared import LAKES, dashboard, report

if TYPE_CHECKING:
    import pyarrow as pa

PASSWORD = "VAULT_PASSWORD"


@dataclass(frozen=True)
class Vault(SyntheticEvents):
    """Events behind a login. Its clumsy driver puts the password into what it raises: at 8:00 of its own kind, at 9:00 of ours."""

    user: str = "ann"
    password: str = field(default="", repr=False)

    def read(self, window: TimeWindow, *, now: datetime, state: SourceState | None = None) -> Iterator[pa.RecordBatch]:
        """Raise for two windows of each day."""
        starts = {f"{w.start:%H:%M}" for w in window.windows()}
        if "08:00" in starts:
            raise RuntimeError(f"login {self.user}:{self.password} failed")
        if "09:00" in starts:
            try:
                raise ConnectionError(f"no answer to {self.user}:{self.password}")
            except ConnectionError as error:
                raise SourceUnavailable(f"vault://{self.user}:{self.password}@host does not answer") from error
        return super().read(window, now=now, state=state)


def vault(folder: Path, password: str) -> Project:
    source = Vault(rate=0.02, late_share=0.0, password=password)
    return Project((Stream("events", source=source),), lake=str(folder / "vault"))


if PASSWORD in os.environ:
    defs = build_definitions(
        vault(Path(os.environ[LAKES]), os.environ[PASSWORD]), [dashboard, report], key_prefix=["vault"],
        default_status=dg.DefaultSensorStatus.STOPPED, executor=dg.in_process_executor,
    )  # fmt: skip
