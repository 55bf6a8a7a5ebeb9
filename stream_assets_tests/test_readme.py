"""What the README says is so: its commands and its Python run, and what it names is there.

Not run here, but checked for names and form: `make`, `dg launch`, the flights (acceptance tests fill them), cron, Airflow.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType

import pytest

from stream_assets.cli.group import MODULES
from stream_assets.core.clock import SystemClock
from stream_assets.pipeline.project import find_consumers
from stream_assets.project import project
from stream_assets.sources.files import FileEvents
from stream_assets_tests.benchmarks.report import COMMITTED
from stream_assets_tests.one_oclock import OneOClock

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
VARIABLES = {"SOURCE", "LAKE", "TIMEZONE", "START", "END", "CONSUMERS", "DRIFT", "KEEP"}
DATES = ("2026-03-01", "2026-03-02", "2026-04-01")
FLIGHTS = "The flights of New York, 2013"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, and the heading that it stands under."""

    section: str
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Its lines without comments and blanks."""
        kept = (re.sub(r"(^|\s)#.*", "", line).strip() for line in self.text.splitlines())
        return [line for line in kept if line]


def blocks(language: str) -> list[Block]:
    """Return the blocks of one language, in order."""
    found: list[Block] = []
    section = ""
    for part in re.split(r"(^```.*?^```$|^## .*?$)", TEXT, flags=re.MULTILINE | re.DOTALL):
        if part.startswith("## "):
            section = part[3:].strip()
        elif part.startswith("```"):
            first, _, rest = part.partition("\n")
            found.append(Block(section, first[3:], rest.removesuffix("```")))
    return [block for block in found if block.language == language]


def python(having: str) -> Block:
    """Return the one Python block that contains `having`."""
    (found,) = [block for block in blocks("python") if having in block.text]
    return found


def load(path: Path, text: str) -> ModuleType:
    """Write a block to a file and import it, as a reader would."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("STREAM_ASSETS_"):
            monkeypatch.delenv(name)


# Commands.


@dataclass(frozen=True, slots=True)
class Ran:
    """The README's commands, run in order on a lake of their own."""

    environment: dict[str, str]
    days: dict[str, str]
    answers: dict[str, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("readme")
    consumers = folder / "consumers"
    consumers.mkdir()
    for path in (ROOT / "stream_assets" / "consumers").glob("[!_]*.py"):
        shutil.copy(path, consumers)
    (consumers / "top_devices.py").write_text(python("top_devices").text)
    command = folder / "bin" / "stream-assets"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m stream_assets.cli "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    now = OneOClock.at(SystemClock().now())
    days = dict(zip(DATES, map(str, (now.yesterday, now.today, now.today)), strict=True))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_ASSETS_")}
    environment = {
        **kept,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "STREAM_ASSETS_SOURCE": "synthetic:?rate=0.05",
        "STREAM_ASSETS_LAKE": str(folder / "lake"),
        "STREAM_ASSETS_TIMEZONE": now.zone,
        "STREAM_ASSETS_START": str(now.yesterday),
        "STREAM_ASSETS_CONSUMERS": str(consumers),
    }
    answers: dict[str, subprocess.CompletedProcess[str]] = {}
    for block in blocks("bash"):
        for line in block.lines:
            if line.startswith("stream-assets") and block.section != FLIGHTS:
                said = re.sub("|".join(DATES), lambda found: days[found[0]], line)
                answers[line] = subprocess.run(
                    ["bash", "-c", said],
                    env=environment,
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    timeout=300,
                    check=False,
                )
    return Ran(environment, days, answers)


@pytest.mark.slow
def test_commands_end_well(ran: Ran) -> None:
    assert len(ran.answers) >= 10
    failed = {line: answer.stdout + answer.stderr for line, answer in ran.answers.items() if answer.returncode}
    assert not failed


@pytest.mark.slow
def test_commands_answer_what_the_readme_says(ran: Ran) -> None:
    said = {line.removeprefix("stream-assets "): answer.stdout for line, answer in ran.answers.items()}
    assert "revenue_dashboard" in said["plan"]
    assert "fraud_alerts" in said["status"]
    assert "every_5_min" in said["explain revenue_dashboard"]
    assert "every_1_hour" in said["explain top_devices"]
    assert ".parquet" in said["files events --from 2026-03-01 --to 2026-03-02"]
    (query,) = [answer for line, answer in said.items() if line.startswith("sql")]
    assert "US" in query


@pytest.mark.slow
def test_the_lake_is_read_by_python(ran: Ran, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in ran.environment.items():
        monkeypatch.setenv(name, value)
    text = python("lake.read").text
    for written, day in ran.days.items():
        text = text.replace(written, day)
    table = load(tmp_path / "reading.py", text).table
    assert table.column_names == ["country", "revenue"]
    assert table.num_rows > 100


def test_every_command_that_is_named_exists() -> None:
    assert set(re.findall(r"stream-assets ([a-z]+)", TEXT)) <= set(MODULES)


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z-]+)", TEXT, re.MULTILINE)) | set(re.findall(r"`make ([a-z-]+)", TEXT))
    assert {"dev", "test", "run", "check", "bench", "flights"} <= named <= targets


def test_cron_calls_a_command_every_five_minutes_after_windows_settle() -> None:
    (block,) = blocks("cron")
    (line,) = block.lines
    minutes, hours, days, months, weekdays, command = line.split(maxsplit=5)
    assert (hours, days, months, weekdays) == ("*",) * 4
    assert command.endswith("stream-assets run")
    airflow = python("airflow").text
    assert f'"{minutes} * * * *"' in airflow
    assert 'bash_command="stream-assets run"' in airflow
    ast.parse(airflow)  # Airflow itself is no dependency


def test_dg_launches_a_range_of_assets_that_exist() -> None:
    (line,) = [line for block in blocks("bash") for line in block.lines if line.startswith("dg ")]
    found = re.fullmatch(r"dg launch --assets (\S+) --partition-range ([\d-]+)\.\.\.([\d-]+)", line)
    assert found is not None
    assert set(found[1].split(",")) <= set(project.declarations(find_consumers("stream_assets.consumers")).tables)
    assert found[2] < found[3]


# Python and variables.


def test_the_consumer_is_found_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "top_devices.py").write_text(python("top_devices").text)
    (found,) = find_consumers(str(tmp_path))
    assert (found.name, found.inputs, found.grain) == ("top_devices", ("events",), "5 min")


@pytest.mark.usefixtures("plain_environment")
def test_a_host_merges_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dagster as dg

    monkeypatch.chdir(tmp_path)
    defs: dg.Definitions = load(tmp_path / "host.py", python("Definitions.merge").text).defs
    dg.Definitions.validate_loadable(defs)
    keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert keys == {"newsletter", "shop/orders", "shop/orders_daily", "shop/orders_by_country"}
    names = {sensor.name for sensor in defs.sensors or ()}
    assert "shop_every_15_min" in names
    assert all(name.startswith("shop_") for name in names)


@pytest.mark.parametrize("section", ["Your own files", FLIGHTS])
def test_exported_variables_are_understood(section: str) -> None:
    exports: dict[str, str] = {}
    for block in blocks("bash"):
        if block.section == section:
            for line in block.lines:
                if line.startswith("export "):
                    name, _, value = line.removeprefix("export ").partition("=")
                    exports[name] = value.strip('"').replace("$PWD", str(ROOT))
    changed = project.with_environment(exports)
    assert changed.lake == exports["STREAM_ASSETS_LAKE"]
    assert changed.timezone == exports["STREAM_ASSETS_TIMEZONE"]
    assert changed.start == exports["STREAM_ASSETS_START"]
    source = changed.streams[0].source
    assert isinstance(source, FileEvents)
    assert source.path.startswith(str(ROOT))


def test_variables_that_are_named_are_known() -> None:
    named = set(re.findall(r"STREAM_ASSETS_([A-Z]+)", TEXT))
    assert named == VARIABLES


def test_every_option_of_files_is_in_the_table() -> None:
    (table,) = re.findall(r"^\| option of `file://`.*?\n\n", TEXT, re.MULTILINE | re.DOTALL)
    options = {word for row in table.strip().splitlines()[2:] for word in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert options == {field.name for field in fields(FileEvents)} - {"path"}


def test_figures_are_those_that_the_benchmarks_committed() -> None:
    known = {figure["name"]: figure["value"] for figure in json.loads(COMMITTED.read_text())["figures"]}
    quoted = {name: said for name, said in re.findall(r"`(\w+)` (\d+\.?\d*)", TEXT) if name in known}
    assert len(quoted) >= 5
    assert quoted == {name: f"{known[name]:.{len(said.partition('.')[2])}f}" for name, said in quoted.items()}


# What it names, and how it is written.


def test_the_tree_is_the_tree() -> None:
    (tree,) = [block.text for block in blocks("") if block.text.startswith("stream_assets/")]
    named = {name.rstrip("/") for name in re.findall(r"^  (\S+)", tree, re.MULTILINE)}
    package = ROOT / "stream_assets"
    there = {path.parent.name for path in package.glob("*/__init__.py")} | {
        path.name for path in package.glob("[!_]*.py")
    }
    assert named == there
    assert all(len(line.split(maxsplit=1)) == 2 for line in tree.splitlines()[1:])


def test_every_dependency_is_explained() -> None:
    said = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [said["dependencies"], *said["optional-dependencies"].values()]
    names = {re.split(r"[\[<>=]", wanted)[0] for listed in lists for wanted in listed} - {"stream_assets"}
    assert {name for name in names if f"`{name}`" not in TEXT} == set()


def test_it_is_short_and_names_no_machine() -> None:
    assert len(TEXT.splitlines()) < 380
    assert not re.findall(r"(?<![\w.$}/])/(?:home|root|work|tmp|usr|opt|mnt)\b", TEXT)
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("https://") or (ROOT / target).exists()
