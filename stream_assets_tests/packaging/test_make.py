"""The Makefile: what it lists, what it says where Python will not do, and `make run` in a fresh clone."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import pytest

from stream_assets_tests.packaging.conftest import call, copy_of_the_repository, lend_environment, plain

CONSUMERS = ("finance_report", "fraud_alerts", "revenue_dashboard", "user_features")

OLD = """#!/bin/sh
[ "$1" = -V ] && echo "Python 3.9.2" && exit 0
exit 1
"""
WITHOUT_VENV = f"""#!/bin/sh
case "$2" in *venv*) exit 1;; esac
exec "{sys.executable}" "$@"
"""


def test_make_alone_lists_every_target(bare: Path) -> None:
    text = (bare / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    answer = call(["make"], bare, plain())
    assert answer.returncode == 0
    listed = [line.split(maxsplit=2) for line in answer.stdout.splitlines()]
    assert {"dev", "test", "run", "check", "clean"} <= set(phony.split())
    assert [target for _, target, _ in listed] == re.findall(r"^([a-z-]+):", text, re.MULTILINE)
    assert sorted(target for _, target, _ in listed) == sorted(phony.split())
    assert all(make == "make" and what for make, _, what in listed)


@pytest.mark.parametrize(
    ("python", "said"),
    [
        pytest.param(None, "There is no {python}. Install Python 3.11 or newer, or name one: ", id="there-is-none"),
        pytest.param(OLD, "Python 3.9.2 is too old: stream_assets needs 3.11 or newer. Name a newer one: ", id="too-old"),
        pytest.param(WITHOUT_VENV, "{python} cannot make virtual environments. On Debian or Ubuntu install python3-venv: ", id="no-venv"),
    ],
)  # fmt: skip
def test_python_that_will_not_do_is_said_in_one_line(bare: Path, tmp_path: Path, python: str | None, said: str) -> None:
    fake = tmp_path / "python"
    if python:
        fake.write_text(python)
        fake.chmod(0o755)
    answer = call(["make", "--silent", "dev", f"PYTHON={fake}"], bare, plain())
    assert answer.returncode != 0
    first, *rest = answer.stdout.splitlines()
    assert first.startswith(said.format(python=fake))
    assert all(line.startswith("make: ***") for line in rest)
    assert not (bare / ".venv").exists()


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    clone = lend_environment(copy_of_the_repository(tmp_path / "stream_assets"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = call(["make", "--silent", "dev", f"PORT={port}"], clone, plain())
    assert answer.returncode != 0
    assert answer.stdout.startswith(
        f"Port {port} is taken, perhaps by another 'make dev'. Stop that, or choose another: "
    )
    assert not (clone / "lake").exists()


@pytest.mark.slow
def test_run_fills_everything_and_says_what_each_consumer_got_and_clean_keeps_it(
    tmp_path: Path, small_lake: dict[str, str]
) -> None:
    clone = lend_environment(copy_of_the_repository(tmp_path / "stream_assets"))
    environment = plain(PYTHONPATH=str(clone), **small_lake)
    ran = call(["make", "run"], clone, environment)
    assert ran.returncode == 0, ran.stdout
    table = ran.stdout.partition("\nconsumer ")[2].splitlines()[1:]
    got = {name: int(count) for name, count, *_ in (line.split() for line in table)}
    published = {name: len(list((clone / "lake" / name).glob("**/part-r1-*.parquet"))) for name in CONSUMERS}
    assert got == published
    assert published["revenue_dashboard"] > 288
    assert published["finance_report"] == 1
    assert "Nothing was due." in call(["make", "run"], clone, environment).stdout
    before = {path: path.stat().st_ino for path in (clone / "lake").rglob("*")}
    cleaned = call(["make", "clean"], clone, environment)
    assert cleaned.returncode == 0, cleaned.stdout
    assert not (clone / ".venv").exists()
    assert {path: path.stat().st_ino for path in (clone / "lake").rglob("*")} == before
