"""Editing a consumer: its open partitions are made again, the rest is stale until somebody says `refresh`."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest

from stream_assets.core.declaration import Consumer
from stream_assets.core.window import TimeWindow
from stream_assets.pipeline.project import find_consumers
from stream_assets_tests.scenarios.buyers import report
from stream_assets_tests.scenarios.world import at_freshness, ranges

book = at_freshness(report, "5 min")

HEAD = """
from __future__ import annotations
from typing import TYPE_CHECKING
from stream_assets import consumer
if TYPE_CHECKING:
    import pyarrow as pa

RATE = 2.0

def helper(table):
    return table
"""

BODY = '''
@consumer(freshness="5 min", grain="{grain}", reads={{"events": ["amount"]}})
def totals(events: pa.Table) -> pa.Table:
    """What it does."""
    import pyarrow as pa

    return pa.table({{"total": [sum(events["amount"].to_pylist()) * RATE]}})
'''


@pytest.fixture
def file(tmp_path) -> Callable[[str], Consumer]:
    """Write the consumer's file and load it, as an editor and a reload do."""
    count = iter(range(100))

    def write(text: str) -> Consumer:
        folder = tmp_path / f"version{next(count)}"
        folder.mkdir()
        (folder / "totals.py").write_text(textwrap.dedent(text))
        return next(c for c in find_consumers(str(folder)) if c.name == "totals")

    return write


def body(grain="day", head=HEAD, **changes):
    text = head + BODY.format(grain=grain)
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    return text


def refresh(w, name):
    """What `stream-assets refresh` does."""
    consumer = w.pipeline.declarations.consumer(name)
    everything = w.pipeline.lake.ledger.made_by_other_code({name: consumer.code}, w.pipeline.lake.start)
    for span in everything[name]:
        partitions = w.calendar.partitions(span, consumer.grain)
        whole = TimeWindow(partitions[0].start, partitions[-1].end)
        with w.pipeline.running(name, whole) as running:
            w.pipeline.fill(name, whole, running)


@pytest.fixture
def lived(world, file):
    def live(grain):
        w = world(file(body(grain)), now="2026-03-11 00:32", start="2026-03-09")
        w.run()
        return w

    return live


def test_an_edited_body_rebuilds_the_open_day_alone(lived, file):
    w = lived("day")
    before = w.table("totals", "2026-03-11")
    w.define(file(body(body=("* RATE", "* RATE * 10"))))
    assert ranges(w.run()) == ["totals 03-11 00:00 03-12 00:00"]
    assert w.revisions("totals") == {"2026-03-09": 1, "2026-03-10": 1, "2026-03-11": 2}
    assert w.table("totals", "2026-03-11") == before
    assert w.standing("totals").stale_code == 2
    assert "its code changed" in w.done[-1][0].reason
    assert w.run() == []


def test_refresh_mends_what_is_stale(lived, file, world):
    w = lived("day")
    edited = file(body(body=("* RATE", "* RATE * 10")))
    w.define(edited).run()
    refresh(w, "totals")
    assert w.standing("totals").stale_code == 0
    assert w.revisions("totals") == {"2026-03-09": 2, "2026-03-10": 2, "2026-03-11": 2}
    fresh = world(edited, now="2026-03-11 00:32", start="2026-03-09")
    fresh.run()
    assert w.table("totals") == fresh.table("totals")


def test_at_5_minute_grain_the_windows_of_the_open_day_are_rebuilt(lived, file):
    w = lived("5 min")
    w.define(file(body("5 min", body=("* RATE", "* RATE * 10"))))
    assert ranges(w.run()) == ["totals 03-11 00:00 03-11 00:30"]
    assert w.standing("totals").stale_code == 2 * 288


@pytest.mark.parametrize(
    "edit",
    [
        {"docstring": ("What it does.", "What it has always done.")},
        {"comment": ("    import pyarrow as pa\n\n    return", "    import pyarrow as pa\n    # because\n    return")},
        {"layout": ("return pa.table({", "return pa.table(\n        {")},
        {"freshness": ('freshness="5 min"', 'freshness="10 min", grace="5 min"')},
        {"decoration": ('grain="day"', 'grain="day", owners=["team:us"], tags={"a": "b"}')},
        {"annotation": ("-> pa.Table:", '-> "pa.Table":')},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_what_changes_no_rows_changes_nothing(lived, file, edit):
    w = lived("day")
    before = w.revisions("totals")
    w.define(file(body(**edit)))
    assert w.run() == []
    assert w.standing("totals").stale_code == 0
    assert w.revisions("totals") == before


@pytest.mark.parametrize(
    "edit",
    [
        {"constant": ("RATE = 2.0", "RATE = 3.0")},
        {"body": ("* RATE", "* RATE + 1")},
        {"lookback": ('grain="day"', 'grain="day", lookback="1 day"')},
        {"reads": ('{"events": ["amount"]}', '{"events": ["amount", "country"]}')},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_what_may_change_rows_makes_the_rest_stale(lived, file, edit):
    w = lived("day")
    w.define(file(body(**edit)))
    w.run()
    assert w.standing("totals").stale_code == 2


def test_a_helper_of_the_same_file_is_part_of_the_code(lived, file, world):
    calls = ("events[", "helper(events)[")
    w = world(file(body(calls=calls)), now="2026-03-11 00:32", start="2026-03-09")
    w.run()
    w.define(file(body(calls=calls, helper=("return table\n", "return table.slice(0)\n"))))
    w.run()
    assert w.standing("totals").stale_code == 2


def stated(version):
    return body(version=('grain="day"', f'grain="day", code_version="{version}"'))


def test_a_stated_code_version_rebuilds_all_of_it_behind_live_work(file, world):
    w = world(file(stated("1")), book, now="2026-03-11 00:32", start="2026-03-01")
    w.run()
    w.define(file(stated("2").replace("* RATE", "* RATE * 10")), book).at("00:36")
    works = w.run()
    assert ranges(works) == [
        "events 03-11 00:30 03-11 00:35",
        "report+totals 03-11 00:00 03-12 00:00",
        "totals 03-04 00:00 03-11 00:00",
        "totals 03-01 00:00 03-04 00:00",
    ]
    assert set(w.revisions("totals").values()) == {2}
    assert w.standing("totals").stale_code == 0
    assert w.run() == []


def test_a_stated_code_version_that_stays_hides_an_edit(file, world):
    w = world(file(stated("1")), now="2026-03-11 00:32", start="2026-03-09")
    w.run()
    w.define(file(stated("1").replace("* RATE", "* RATE * 10")))
    assert w.run() == []
    assert w.standing("totals").stale_code == 0


def test_new_columns_come_with_new_code(lived, file):
    w = lived("day")
    w.define(file(body(columns=('"total":', '"sum":'))))
    w.run()
    assert w.failures("totals") == []
    refresh(w, "totals")
    assert {key for row in w.table("totals") for key, _ in row} == {"sum", "day"}
