"""The wheel: what is in it, and that it serves as a library far from its repository."""

from __future__ import annotations

import json
import sys
import tomllib
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from stream_assets_tests.packaging.conftest import call, plain

SHOP = '''
import dagster as dg
import pandas as pd

from stream_assets import Project, Stream, build_definitions, consumer
from stream_assets.sources.synthetic import SyntheticEvents

shop = Project(streams=(Stream("orders", source=SyntheticEvents(rate=0.1)),), lake="shop-lake")


@consumer(freshness="15 min", grain="5 min", reads={"orders": ["event_id", "country"]})
def by_country(orders: pd.DataFrame) -> pd.DataFrame:
    """Orders per country."""
    return orders.groupby("country", as_index=False).agg(orders=("event_id", "count"))


defs = build_definitions(shop, [by_country], key_prefix=["shop"], name="shop")

if __name__ == "__main__":
    import json, stream_assets

    dg.Definitions.validate_loadable(defs)
    keys = sorted(k.to_user_string() for k in defs.resolve_asset_graph().get_all_asset_keys())
    print(json.dumps({"file": stream_assets.__file__, "assets": keys}))
'''


@dataclass(frozen=True)
class Elsewhere:
    """A folder that holds what the wheel installs and nothing else, and a working directory beside it."""

    wheel: Path
    installed: Path
    folder: Path

    def call(self, *command: str | Path, **more: str) -> str:
        answer = call(command, self.folder, plain(PYTHONPATH=str(self.installed), **more))
        assert answer.returncode == 0, answer.stdout
        return answer.stdout

    def names(self) -> set[str]:
        with ZipFile(self.wheel) as wheel:
            return set(wheel.namelist())

    def text(self, ending: str) -> str:
        with ZipFile(self.wheel) as wheel:
            (name,) = [n for n in wheel.namelist() if n.endswith(ending)]
            return wheel.read(name).decode()

    def metadata(self) -> Message:
        return Parser().parsestr(self.text(".dist-info/METADATA"))


@pytest.fixture(scope="module")
def elsewhere(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    folder = tmp_path_factory.mktemp("elsewhere")
    pip = (sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check")
    made = call(
        (*pip, "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation", "-w", folder, "."), bare, plain()
    )
    assert made.returncode == 0, made.stdout
    (wheel,) = folder.glob("*.whl")
    installed = folder / "installed"
    done = call((*pip, "install", "-q", "--no-index", "--no-deps", "--target", installed, wheel), folder, plain())
    assert done.returncode == 0, done.stdout
    return Elsewhere(wheel, installed, folder)


def test_it_holds_the_package_its_types_its_schema_and_its_licence(elsewhere: Elsewhere, bare: Path) -> None:
    names = elsewhere.names()
    assert {"stream_assets/py.typed", "stream_assets/lake/ledger/schema.sql"} <= names
    assert elsewhere.text(".dist-info/licenses/LICENSE") == (bare / "LICENSE").read_text()
    assert elsewhere.metadata()["License-Expression"] == "Apache-2.0"
    there = {
        str(p.relative_to(bare)) for p in (bare / "stream_assets").rglob("*") if p.is_file() and p.suffix != ".pyc"
    }
    assert {n for n in names if n.startswith("stream_assets/")} == there


def test_it_holds_no_tests_and_nothing_else(elsewhere: Elsewhere) -> None:
    assert {n.split("/")[0].split("-")[0] for n in elsewhere.names()} == {"stream_assets"}


def test_a_project_of_the_callers_own_loads(elsewhere: Elsewhere) -> None:
    (elsewhere.folder / "shop.py").write_text(SHOP)
    answer = json.loads(elsewhere.call(sys.executable, "shop.py"))
    assert Path(answer["file"]).is_relative_to(elsewhere.installed)
    assert answer["assets"] == ["shop/by_country", "shop/orders", "shop/orders_daily"]


def test_the_command_line_works_on_a_lake_of_its_own(elsewhere: Elsewhere, small_lake: dict[str, str]) -> None:
    command = elsewhere.installed / "bin" / "stream-assets"
    planned = json.loads(elsewhere.call(command, "plan", "--json", **small_lake))
    assert {table for work in planned["work"] for table in work["tables"]} >= {"events_daily", "finance_report"}
    day = small_lake["STREAM_ASSETS_START"]
    elsewhere.call(command, "materialize", "events_daily", "--from", day, **small_lake)
    assert list(elsewhere.folder.glob(f"lake/events_daily/day={day}/part-r1-*.parquet"))


def test_every_dependency_is_pinned_as_it_may_be(bare: Path) -> None:
    said = tomllib.loads((bare / "pyproject.toml").read_text())["project"]
    lists = [said["dependencies"], *said["optional-dependencies"].values()]
    wanted = [Requirement(line) for listed in lists for line in listed]
    lines = [line for line in (bare / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {name.lower(): version for name, version in (line.split("==") for line in lines)}
    others = [r for r in wanted if r.name != "stream_assets"]
    assert {r.name for r in others if r.name not in pins} == set()
    assert {r.name for r in others if not r.specifier.contains(pins[r.name])} == set()
