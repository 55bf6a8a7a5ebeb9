"""The decorator: a function becomes a declaration, without loading what its annotations name."""

# The annotations are read as text, so the names in them need not exist here.
# ruff: noqa: F821
# pyright: reportUndefinedVariable=false

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stream_assets import consumer
from stream_assets.errors import DeclarationError


def test_a_function_becomes_a_declaration() -> None:
    @consumer(
        "5 min",
        "5 min",
        grace="1 min",
        lookback="1 hour",
        reads={"events": ["id"]},
        group="g",
        owners=["a@b.c"],
        tags={"t": "1"},
    )
    def clicks(
        events: pd.DataFrame, orders: pa.Table, visits: duckdb.DuckDBPyRelation, window: TimeWindow
    ) -> pd.DataFrame:
        """Clicks.

        And more.
        """

    assert (clicks.name, clicks.grain, clicks.freshness, clicks.grace) == (
        "clicks",
        "5 min",
        timedelta(minutes=5),
        timedelta(minutes=1),
    )
    assert clicks.inputs == ("events", "orders", "visits")
    assert clicks.forms == {"events": "pandas", "orders": "arrow", "visits": "duckdb"}
    assert (clicks.wants_window, clicks.lookback, clicks.reads) == (True, timedelta(hours=1), {"events": ("id",)})
    assert (clicks.group, clicks.owners, clicks.tags) == ("g", ("a@b.c",), {"t": "1"})
    assert clicks.description == "Clicks.\n\nAnd more."


def test_form_names_stand_with_or_without_their_module_in_quotes_or_not() -> None:
    @consumer("1 day")
    def report(a: DataFrame, b: "Table", c: "duckdb.DuckDBPyRelation", d) -> None: ...  # noqa: UP037

    assert tuple(report.forms.values()) == ("pandas", "arrow", "duckdb", "pandas")
    assert (report.grain, report.grace, report.wants_window, report.code_stated) == ("day", None, False, False)


def test_the_function_can_still_be_called() -> None:
    @consumer("1 day")
    def doubled(events) -> int:
        return events * 2

    assert doubled(4) == doubled(events=4) == 8


def test_a_stated_code_version_replaces_the_hash() -> None:
    @consumer("1 day", code_version="7")
    def report(events) -> None: ...

    assert (report.code, report.code_stated) == ("7", True)


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (
            {"freshness": "5 minits"},
            "consumer 'bad': freshness '5 minits' is not understood: write a number and s, min, hour",
        ),
        ({"freshness": 5}, "consumer 'bad': freshness 5 is not understood"),
        ({"freshness": "0 s"}, "consumer 'bad': freshness '0 s' must be more than zero"),
        ({"grain": "1 hour"}, "consumer 'bad': grain '1 hour' is not one of"),
        ({"grace": "soon"}, "consumer 'bad': grace 'soon' is not understood"),
        ({"lookback": "many"}, "consumer 'bad': lookback 'many' is not understood"),
        (
            {"lookback": "2 days", "grain": "5 min"},
            "consumer 'bad': lookback 2 days at 5-minute grain: at most 1 day there",
        ),
        ({"lookback": "5 hours"}, "consumer 'bad': lookback 5 hours at day grain must be whole days"),
    ],
)
def test_what_is_declared_wrongly_is_refused_at_once(declared: dict[str, Any], said: str) -> None:
    def bad(events) -> None: ...

    with pytest.raises(DeclarationError, match=said):
        consumer(**{"freshness": "1 day", **declared})(bad)


def test_an_annotation_that_is_no_form_is_refused_with_those_there_are() -> None:
    def bad(events: list[int]) -> None: ...

    with pytest.raises(
        DeclarationError, match=r"parameter 'events' is annotated 'list\[int\]'; it can be pd.DataFrame, pa.Table"
    ):
        consumer("1 day")(bad)


def test_a_window_under_another_name_is_refused() -> None:
    def bad(events, when: TimeWindow) -> None: ...

    with pytest.raises(
        DeclarationError, match="parameter 'when' is annotated TimeWindow: .* a parameter named 'window'"
    ):
        consumer("1 day")(bad)


def test_parameters_that_cannot_be_passed_by_name_are_refused() -> None:
    def many(*events) -> None: ...
    def more(**events) -> None: ...
    def only(events, /) -> None: ...

    for function in (many, more, only):
        with pytest.raises(DeclarationError, match="inputs are passed by name, one parameter each"):
            consumer("1 day")(function)
