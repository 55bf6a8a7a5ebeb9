"""Every lake store keeps the promises of section 7. A new one enrols by registering a case here."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_assets.lake.store import Lake
from stream_assets.testing.lakes import PROMISES, LakeCase, register, registered
from stream_assets.testing.partitions import NOW


@register("local folder")
def local_folder(folder: Path) -> LakeCase:
    def open_lake(*, zone: str = "UTC", start: str | None = "2026-03-01") -> Lake:
        return Lake.open(folder / "lake", zone, NOW, start=start)

    return LakeCase(open_lake)


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("name", registered())
def test_promise(name: str, promise: str, tmp_path: Path) -> None:
    PROMISES[promise](registered()[name](tmp_path))
