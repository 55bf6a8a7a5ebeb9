"""Fuzz: whatever is typed behind `stream-assets`, it ends in an answer, or in one sentence and an exit status."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_assets.cli.group import MODULES
from stream_assets_tests.cli.conftest import Shell, new_shell
from stream_assets_tests.fuzz.drawing import ANY_TEXT, inputs, mutated_text

COMMANDS = [name for name in MODULES if name != "adopt"]  # it asks a Dagster instance
OPTIONS = ["--from", "--to", "--json", "--all", "--reason", "--deep", "--format", "--", "-h"]
WORDS = mutated_text(
    "events", "events_daily", "orders", "2026-03-10", "2026-03-10T00:05", "select 1", "select * from events", "show tables", "csv"
)  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    now = datetime(2026, 3, 10, 0, 12, tzinfo=UTC)
    shell = new_shell(tmp_path_factory.mktemp("shell"), now, STREAM_ASSETS_START="2026-03-10")
    assert shell("run").code == 0
    return shell


@inputs(60)
@given(st.sampled_from(COMMANDS), st.lists(st.one_of(WORDS, st.sampled_from(OPTIONS), ANY_TEXT), max_size=4))
def test_arguments(filled: Shell, command: str, arguments: list[str]) -> None:
    answer = filled(command, *arguments)
    assert answer.code in (0, 1, 2)
    assert answer.out or answer.err or answer.code == 0
    assert "Traceback" not in answer.err


@inputs(60)
@given(
    st.sampled_from(["ZONE", "START", "END", "SOURCE", "LAKE", "TIMEZONE"]),
    mutated_text("2026-03-10", "synthetic:?rate=1", "UTC"),
)
def test_environment(filled: Shell, variable: str, value: str) -> None:
    if variable == "LAKE":
        value = str(filled.folder / "lakes" / value.replace("/", "_"))
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        return  # the environment of a process cannot have it
    answer = filled("plan", **{f"STREAM_ASSETS_{variable}": value})
    assert answer.code in (0, 1, 2)
    assert "Traceback" not in answer.err
