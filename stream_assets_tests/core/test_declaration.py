"""What is declared wrongly ends in one sentence that names what, where and what next."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stream_assets.core.cadence import Cadence
from stream_assets.core.declaration import Consumer, Declarations, StreamSpec, check_consumer
from stream_assets.errors import DeclarationError
from stream_assets_tests.core.simulator import DAY, EVENTS, MINUTE, consumer

ORDERS = StreamSpec("orders", settling=timedelta(minutes=7))


def declare(*consumers: Consumer, streams: tuple[StreamSpec, ...] = (EVENTS, ORDERS)) -> Declarations:
    return Declarations(streams, consumers)


def refused(*consumers: Consumer, streams: tuple[StreamSpec, ...] = (EVENTS, ORDERS)) -> str:
    with pytest.raises(DeclarationError) as caught:
        declare(*consumers, streams=streams)
    return str(caught.value)


def test_a_parameter_that_names_nothing_is_refused_with_what_there_is() -> None:
    assert refused(consumer("report", "1 day", inputs=("evnts",))) == (
        "consumer 'report' has a parameter 'evnts' that names no stream and no consumer; there are: events, orders, report"
    )


def test_five_minute_grain_cannot_read_day_grain() -> None:
    said = refused(consumer("daily_one", "1 day"), consumer("fast", "5 min", "5 min", inputs=("daily_one",)))
    assert said == "consumer 'fast' at 5-minute grain cannot read 'daily_one' at day grain: make it grain='day'"


def test_day_grain_reads_five_minute_grain() -> None:
    declarations = declare(consumer("fast", "5 min", "5 min"), consumer("slow", "1 day", inputs=("fast",)))
    assert declarations.streams_of("slow") == ("events",)


def test_a_circle_is_refused_with_its_members() -> None:
    said = refused(consumer("a", "1 day", inputs=("b",)), consumer("b", "1 day", inputs=("a",)))
    assert said.startswith("consumers read each other in a circle: ")
    assert {"a", "b"} <= set(said.replace(" -> ", " ").split())


def test_a_consumer_that_reads_itself_is_refused() -> None:
    assert "circle: a -> a" in refused(consumer("a", "1 day", inputs=("a",)))


@pytest.mark.parametrize("name", ["report", "events", "events_daily", "orders_daily"])
def test_a_name_that_is_taken_is_refused(name: str) -> None:
    said = refused(consumer("report", "1 day"), consumer(name, "1 day"))
    assert said == f"the name {name!r} is taken by another consumer or stream: rename this one"


@pytest.mark.parametrize("streams", [("events", "events"), ("events", "events_daily"), ("a", "a_daily")])
def test_two_streams_of_one_table_are_refused(streams: tuple[str, ...]) -> None:
    assert "two streams make the table" in refused(streams=tuple(StreamSpec(name) for name in streams))


@pytest.mark.parametrize(
    "name",
    ["", "Report", "1st", "_rejected", "a b", "a/b", "..", "a.b", "a-b", "über", "a" * 64, "day=1", "a\n", "window"],
)
def test_a_name_that_is_no_safe_path_is_refused(name: str) -> None:
    assert f"name {name!r} cannot be" in refused(consumer(name, "1 day"))
    assert f"name {name!r} cannot be" in refused(streams=(StreamSpec(name),))


def test_reads_of_what_is_no_parameter_is_refused() -> None:
    said = refused(consumer("report", "1 day", reads={"orders": ("id",)}))
    assert said == "consumer 'report': reads= names 'orders', which is no parameter of its function"


def test_a_consumer_of_nothing_is_refused() -> None:
    assert "reads no stream, so nothing says when it is due: give it a parameter" in refused(
        consumer("report", "1 day", inputs=())
    )


@pytest.mark.parametrize(
    ("grain", "lookback", "said"),
    [
        ("1 hour", timedelta(0), "grain '1 hour' is not one of '5 min' and 'day'"),
        ("5 min", DAY + 5 * MINUTE, "lookback 1445 min at 5-minute grain: at most 1 day there"),
        ("5 min", 7 * MINUTE, "lookback 7 min at 5-minute grain: .* in whole windows of 5 min"),
        ("day", timedelta(hours=36), "lookback 36 hours at day grain must be whole days"),
    ],
)
def test_grain_and_lookback_must_fit(grain: str, lookback: timedelta, said: str) -> None:
    with pytest.raises(DeclarationError, match=f"consumer 'one': {said}"):
        check_consumer("one", grain, lookback)


@pytest.mark.parametrize(
    ("grain", "lookback"), [("5 min", DAY), ("5 min", 5 * MINUTE), ("day", 7 * DAY), ("day", timedelta(0))]
)
def test_lookbacks_that_fit_are_taken(grain: str, lookback: timedelta) -> None:
    check_consumer("one", grain, lookback)


def test_tables_come_inputs_first() -> None:
    end = consumer("a_end", "1 day", inputs=("middle", "orders"))
    declarations = declare(end, consumer("middle", "5 min", "5 min"))
    order = declarations.order
    assert set(order) == {"events", "events_daily", "orders", "orders_daily", "middle", "a_end"}
    for before, after in (
        ("events", "events_daily"),
        ("events_daily", "middle"),
        ("middle", "a_end"),
        ("orders_daily", "a_end"),
    ):
        assert order.index(before) < order.index(after)
    assert tuple(declarations.tables) == order


def test_the_order_of_declaration_changes_nothing() -> None:
    consumers = [consumer(n, "1 day") for n in "abc"] + [consumer("z", "5 min", inputs=("a", "c"))]
    assert declare(*consumers).order == declare(*reversed(consumers)).order


def test_cadences_are_those_declared_and_daily_tightest_first() -> None:
    declarations = declare(consumer("a", "1 hour"), consumer("b", "1 s", "5 min"), consumer("c", "7 days"))
    assert declarations.cadences == tuple(map(Cadence, (5 * MINUTE, 60 * MINUTE, DAY, 7 * DAY)))
    assert [c.name for c in declare().cadences] == ["daily"]


def test_a_join_settles_with_its_slowest_stream() -> None:
    declarations = declare(
        consumer("both", "5 min", inputs=("events", "orders")), consumer("through", "1 day", inputs=("both",))
    )
    assert declarations.settling("through") == declarations.settling("both") == timedelta(minutes=7)
    assert declarations.streams_of("through") == ("events", "orders")
    assert declarations.settling("events") == timedelta(seconds=30)


def test_an_unknown_consumer_is_refused_with_those_there_are() -> None:
    with pytest.raises(DeclarationError, match="there is no consumer 'x'; there are: report"):
        declare(consumer("report", "1 day")).consumer("x")


def test_around_a_table_is_what_it_is_made_of_and_who_reads_it_and_nothing_else() -> None:
    declared = declare(
        consumer("made", "1 hour", inputs=("events",)),
        consumer("reader", "15 min", inputs=("made", "orders")),
        consumer("sister", "5 min", inputs=("events",)),
        consumer("stranger", "5 min", inputs=("orders",)),
    )
    around = {name: declared.around(name) for name in ("made", "sister", "stranger", "events")}
    names = {n: {t.name for t in (*a.streams, *a.consumers)} for n, a in around.items()}
    assert names["made"] == {"events", "orders", "made", "reader"}
    assert names["sister"] == {"events", "sister"}
    assert names["stranger"] == {"orders", "stranger"}
    assert names["events"] == {"events", "orders", "made", "reader", "sister"}
    for name, part in around.items():
        assert part.demand()[name] == declared.demand()[name]
