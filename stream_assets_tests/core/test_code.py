"""Editing how a consumer is written keeps its hash; editing what it does changes it."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

BASE = '''
from datetime import timedelta
from functools import lru_cache
from stream_assets import consumer

LIMIT = 3
UNUSED = 1
NAMES = {"EU": {"DE", "FR"}, "NA": {"US"}}
SPAN = timedelta(days=1)


@consumer("5 min", lookback="1 day", reads={"events": ["id"]})
def report(events: "pd.DataFrame") -> "pd.DataFrame":
    """Rows."""
    big = Row(LIMIT).size  # compared
    return helper(events, big), cached(1), NAMES, SPAN, other(events)


def helper(events, big, more=LIMIT):
    """Helps."""
    return [e for e in events if e > big]


@lru_cache
def cached(x):
    return x + deeper(x)


def deeper(x):
    return 1


class Row:
    def __init__(self, n):
        self.n = n

    @property
    def size(self):
        return self.n + deeper(self.n)


@consumer("5 min")
def other(events):
    return events


def unrelated():
    return 1
'''
versions = itertools.count()


@pytest.fixture
def hash_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def hashed(*edits: tuple[str, str]) -> str:
        source = BASE
        for old, new in edits:
            assert old in source, old
            source = source.replace(old, new)
        name = f"edited_{next(versions)}"
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)  # a class finds its source through it
        spec.loader.exec_module(module)
        return module.report.code

    return hashed


@pytest.mark.parametrize(
    ("what", "old", "new"),
    [
        ("docstring", '"""Rows."""', '"""Other\n    words."""'),
        ("no docstring", '    """Rows."""\n', ""),
        ("docstring of a helper", '"""Helps."""', '"""Does."""'),
        ("comment", "# compared", "# something else"),
        ("layout", "Row(LIMIT).size  #", "(\n        Row( LIMIT )\n        .size\n    )  #"),
        ("quotes", '{"DE", "FR"}', "{'DE', 'FR'}"),
        ("order of a set", '{"DE", "FR"}', '{"FR", "DE"}'),
        ("freshness", '@consumer("5 min", lookback', '@consumer("1 hour", lookback'),
        ("grace", 'reads={"events": ["id"]}', 'reads={"events": ["id"]}, grace="1 min"'),
        ("tags", 'reads={"events": ["id"]}', 'reads={"events": ["id"]}, tags={"a": "b"}'),
        ("what is not named", "UNUSED = 1", "UNUSED = 2"),
        ("a function that is not named", "def unrelated():\n    return 1", "def unrelated():\n    return 2"),
        ("lines above", "from datetime import timedelta", "\n\n\nfrom datetime import timedelta"),
    ],
)
def test_how_it_is_written_keeps_the_hash(hash_of: Callable[..., str], what: str, old: str, new: str) -> None:
    assert hash_of((old, new)) == hash_of(), what


@pytest.mark.parametrize(
    ("what", "old", "new"),
    [
        ("body", "Row(LIMIT).size", "Row(LIMIT).size + 1"),
        ("a named function, below it in the file", "if e > big", "if e >= big"),
        ("a function behind lru_cache", "return x + deeper(x)", "return x - deeper(x)"),
        ("a function named by a named function", "def deeper(x):\n    return 1", "def deeper(x):\n    return 2"),
        ("a class", "self.n = n", "self.n = n + 1"),
        ("another consumer's function", "def other(events):\n    return events", "def other(events):\n    return None"),
        ("a constant", "LIMIT = 3", "LIMIT = 4"),
        ("a constant of sets", '"FR"}', '"FR", "IT"}'),
        ("a constant of another type", "timedelta(days=1)", "timedelta(days=2)"),
        ("lookback", 'lookback="1 day"', 'lookback="2 days"'),
        ("reads", '["id"]', '["id", "user"]'),
        ("another input", 'def report(events: "pd.DataFrame")', 'def report(events: "pd.DataFrame", orders)'),
    ],
)
def test_what_it_does_changes_the_hash(hash_of: Callable[..., str], what: str, old: str, new: str) -> None:
    assert hash_of((old, new)) != hash_of(), what


def test_a_module_of_the_project_is_followed_to_what_is_taken_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(name: str, limit: int, other: int) -> str:
        folder = tmp_path / name
        (folder / "inner").mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "inner" / "__init__.py").write_text("")
        (folder / "inner" / "settings.py").write_text(f"LIMIT = {limit}\nOTHER = {other}\n")
        (folder / "report.py").write_text(
            dedent(
                f"""
                import {name}.inner.settings
                from {name}.inner import settings
                from stream_assets import consumer

                @consumer("1 day")
                def report(events):
                    return settings.LIMIT

                @consumer("1 day")
                def dotted(events):
                    return PACKAGE.inner.settings.LIMIT

                PACKAGE = {name}
                """
            )
        )
        module = importlib.import_module(f"{name}.report")
        return f"{module.report.code} {module.dotted.code}"

    monkeypatch.syspath_prepend(str(tmp_path))
    base = made("project_a", 1, 1).split()
    assert made("project_b", 1, 2).split() == base
    for before, after in zip(base, made("project_c", 2, 1).split(), strict=True):
        assert before != after


def test_the_hash_is_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(BASE)
    said = {
        subprocess.run(
            [sys.executable, "-c", "import one; print(one.report.code)"],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(said) == 1
    assert len(said.pop().strip()) == 12
