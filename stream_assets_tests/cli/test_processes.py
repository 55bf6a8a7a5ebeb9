"""Real processes: two at once, signals, and what starting one loads."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stream_assets.core.clock import SystemClock
from stream_assets_tests.cli.conftest import Shell, new_shell

SLOW = '''
from __future__ import annotations
import pathlib, time
import pyarrow as pa
from stream_assets import consumer

@consumer(freshness="5 min", grain="5 min", reads={"events": ["event_id"]})
def orders(events: pa.Table) -> pa.Table:
    """Takes its time."""
    pathlib.Path("STARTED").touch()
    time.sleep(0.2)
    return pa.table({"events": pa.array([events.num_rows], pa.int64())})
'''


@pytest.fixture
def real(tmp_path: Path) -> Shell:
    """A new lake on the machine's clock, which starts in a zone where the day is about an hour old."""
    now = datetime.now(UTC)  # noqa: TID251
    hours = (now - timedelta(hours=1)).hour
    offset = -hours if hours <= 12 else 24 - hours
    # Etc/GMT+5 is five hours behind UTC.
    zone = f"Etc/GMT{-offset:+d}" if offset else "UTC"
    day = (now + timedelta(hours=offset)).date().isoformat()
    return new_shell(tmp_path, now, STREAM_ASSETS_TIMEZONE=zone, STREAM_ASSETS_START=day)


def rows(shell: Shell, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(shell.lake / "_ledger.sqlite")) as ledger:
        return ledger.execute(query).fetchall()


def test_two_overlapping_runs_publish_everything_once(real: Shell) -> None:
    calls = [real.process("run", "--json") for _ in range(2)]
    answers = [call.communicate(timeout=60) for call in calls]
    assert [call.returncode for call in calls] == [0, 0], answers
    assert rows(real, "select distinct revision, kind from publication") == [(1, "published")]
    published = [
        c["published"] for out, _ in answers for c in json.loads(out)["consumers"] if c["consumer"] == "orders"
    ]
    (count,) = rows(real, "select count(*) from current where tbl = 'orders'")[0]
    assert sum(published) == count >= 11
    last = real.process("run")
    last.communicate(timeout=60)
    assert last.returncode == 0
    verified = real.process("verify", "--json")
    out, _ = verified.communicate(timeout=60)
    assert json.loads(out)["differences"] == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_drops_the_work_in_hand_and_gives_the_lease_back(real: Shell, number: int, code: int) -> None:
    started = real.folder / "started"
    real.declare("orders", SLOW.replace("STARTED", str(started)))
    call = real.process("run")
    until = time.monotonic() + 30
    while not started.exists() and time.monotonic() < until:
        time.sleep(0.02)
    call.send_signal(number)
    _, err = call.communicate(timeout=10)
    assert call.returncode == code, err
    assert err == f"stopped by {signal.Signals(number).name}: what was published stays, the rest is planned again\n"
    assert rows(real, "select count(*) from work where state in ('requested', 'running')") == [(0,)]
    assert rows(real, "select count(*) from reader") == [(0,)]
    assert rows(real, "select count(*) from failure") == [(0,)]
    assert list((real.lake / "_staging").rglob("*.parquet")) == []
    planned = real.process("plan", "--json")
    out, _ = planned.communicate(timeout=30)
    assert "orders" in json.loads(out)["work"][0]["tables"]


def loaded_by(shell: Shell, *args: str) -> set[str]:
    source = (
        "import sys; from stream_assets.cli.group import cli; cli(sys.argv[1:], standalone_mode=False); "
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", source, *args], env=os.environ | shell.env, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def test_plan_loads_nothing_that_it_does_not_need(real: Shell) -> None:
    loaded = loaded_by(real, "plan")
    assert not loaded & {"pandas", "duckdb", "pyarrow.dataset", "dagster", "rich"}


def test_help_loads_no_project_at_all(real: Shell) -> None:
    loaded = loaded_by(real, "run", "--help")
    assert not loaded & {"pyarrow", "pandas", "numpy", "duckdb", "rich"}


def test_windows_and_consumers_on_arrow_import_no_pandas(small: Shell) -> None:
    today = f"{SystemClock().now():%F}"
    code = "import sys; from stream_assets.cli.group import cli; cli(['run'], standalone_mode=False); print('pandas' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | small.env | {"STREAM_ASSETS_CONSUMERS": "stream_assets_tests.benchmarks.orders", "STREAM_ASSETS_START": today}, capture_output=True,
        text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
