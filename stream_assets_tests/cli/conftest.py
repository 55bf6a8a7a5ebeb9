"""The real command on a small lake: the settable clock in this process, the machine's own in real ones."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stream_assets.cli.group import cli
from stream_assets.testing import SettableClock

CONSUMERS = {
    "orders": '''
from __future__ import annotations
import pyarrow as pa
from stream_assets import consumer

@consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id", "amount"]})
def orders(events: pa.Table) -> pa.Table:
    """Events and money in five minutes."""
    return pa.table({"events": pa.array([events.num_rows], pa.int64())})
''',
    "report": '''
from __future__ import annotations
import pyarrow as pa
from stream_assets import consumer

@consumer(freshness="1 day", reads={"events": ["event_id"]})
def report(events: pa.Table) -> pa.Table:
    """Events of a day."""
    return pa.table({"events": pa.array([events.num_rows], pa.int64())})
''',
}


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        return json.loads(self.out)


@dataclass
class Shell:
    """Calls `stream-assets` in this process, with a clock that the test owns."""

    folder: Path
    clock: SettableClock
    env: dict[str, str] = field(default_factory=dict)

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    @property
    def consumers(self) -> Path:
        return self.folder / "consumers"

    def __call__(self, *args: str, **env: str) -> Answer:
        said = CliRunner().invoke(cli, list(args), env=self.env | env, obj=self.clock, catch_exceptions=False)
        return Answer(said.exit_code, said.stdout, said.stderr)

    def json(self, *args: str) -> dict[str, Any]:
        answer = self(*args, "--json")
        assert answer.code == 0, answer.err
        return answer.facts

    def process(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """Start a real process, on the machine's clock."""
        command = [sys.executable, "-W", "error", "-m", "stream_assets.cli", *args]
        return subprocess.Popen(
            command, env=os.environ | self.env | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def put_down(self) -> None:
        """Let go of the ledger, as every real call does at its end."""
        gc.collect()

    def declare(self, name: str, source: str) -> None:
        (self.consumers / f"{name}.py").write_text(source)


def new_shell(folder: Path, now: datetime, **env: str) -> Shell:
    (folder / "consumers").mkdir()
    shell = Shell(folder, SettableClock(now))
    for name, source in CONSUMERS.items():
        shell.declare(name, source)
    yesterday = (now - timedelta(days=1)).date().isoformat()
    shell.env = {
        "STREAM_ASSETS_SOURCE": "synthetic:?rate=1",
        "STREAM_ASSETS_LAKE": str(shell.lake),
        "STREAM_ASSETS_START": yesterday,
        "STREAM_ASSETS_CONSUMERS": str(shell.consumers),
        **env,
    }
    return shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A new lake, 14:37 of the second day, UTC."""
    return new_shell(tmp_path, datetime(2026, 3, 10, 14, 37, tzinfo=UTC))


@pytest.fixture
def small(tmp_path: Path) -> Shell:
    """A new lake of nine windows: 00:47 of its first day."""
    now = datetime(2026, 3, 10, 0, 47, tzinfo=UTC)
    return new_shell(tmp_path, now, STREAM_ASSETS_START="2026-03-10")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake in which everything is done at 00:47 of the second day."""
    folder = tmp_path_factory.mktemp("template")
    made = new_shell(folder, datetime(2026, 3, 10, 0, 47, tzinfo=UTC))
    assert made("run").code == 0
    return folder


@pytest.fixture(scope="session")
def done(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """One such lake for all tests that only ask, or ask wrongly."""
    folder = tmp_path_factory.mktemp("done")
    shutil.copytree(template, folder, dirs_exist_ok=True)
    return _open(folder)


@pytest.fixture
def filled(template: Path, tmp_path: Path) -> Shell:
    """A lake of one's own in which everything is done at 00:47 of the second day."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return _open(tmp_path)


def _open(folder: Path) -> Shell:
    made = Shell(folder, SettableClock(datetime(2026, 3, 10, 0, 47, tzinfo=UTC)))
    made.env = {
        "STREAM_ASSETS_SOURCE": "synthetic:?rate=1",
        "STREAM_ASSETS_LAKE": str(made.lake),
        "STREAM_ASSETS_CONSUMERS": str(made.consumers),
    }
    assert made("split").code == 0
    return made
