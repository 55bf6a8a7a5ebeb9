# pyright: reportUnknownMemberType=false
"""The promises L1 to L9 of a lake as checks. A new lake store enrols by registering a case.

    @register("local")
    def local(folder: Path) -> LakeCase: ...

    @pytest.mark.parametrize("promise", PROMISES)
    @pytest.mark.parametrize("name", registered())
    def test_promise(name, promise, tmp_path):
        PROMISES[promise](registered()[name](tmp_path))

What needs a dying process, a full disk or a foreign reader is tested where the store is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from stream_assets.core.intervals import Intervals
from stream_assets.core.window import GRID, Grain, TimeWindow
from stream_assets.errors import Conflict, LakeError, StreamAssetsError
from stream_assets.lake.parquet import read_receipt
from stream_assets.lake.store import Lake
from stream_assets.testing.partitions import (
    DAY,
    NOW,
    START,
    WINDOWS,
    events,
    ids,
    publish,
    publish_day_and_window,
    stage,
)


class Open(Protocol):
    """Opens the case's lake, and makes it the first time: each call a handle as another process would have it."""

    def __call__(self, *, zone: str = "UTC", start: str | None = "2026-03-01") -> Lake:
        """Return the lake; its first day is 2026-03-01."""
        ...


@dataclass(frozen=True)
class LakeCase:
    """A lake store, and what can be made to happen to it."""

    open: Open

    def lake(self) -> Lake:
        """Return the lake with its tables registered: a stream with windows and days, and a consumer of each grain."""
        lake = self.open()
        for table, (grain, stream) in TABLES.items():
            lake.ledger.register(table, grain, stream)
        return lake


TABLES: dict[str, tuple[Grain, str | None]] = {
    "events": ("5 min", "events"),
    "events_daily": ("day", "events"),
    "dashboard": ("5 min", None),
    "dashboard_daily": ("day", None),
}
"""The last one is a consumer whose name only looks like the days of another."""

Factory = Callable[[Path], LakeCase]
_REGISTRY: dict[str, Factory] = {}


def register(name: str) -> Callable[[Factory], Factory]:
    """Enrol the case that the decorated function makes in a folder of its own."""

    def enrol(factory: Factory) -> Factory:
        if _REGISTRY.setdefault(name, factory) is not factory:
            raise ValueError(f"a lake {name!r} is registered already")
        return factory

    return enrol


def registered() -> Mapping[str, Factory]:
    """Return the registered cases by name."""
    return dict(_REGISTRY)


# The promises.


def what_is_published_is_read_back(case: LakeCase) -> None:
    """L1, L8: also through another handle, and by columns."""
    lake = case.lake()
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])), (WINDOWS[1], events(WINDOWS[1], 5)))
    for handle in (lake, case.open()):
        assert handle.read("events", DAY).equals(pa.concat_tables([events(WINDOWS[0]), events(WINDOWS[1], 5)]))
        assert handle.read("events", WINDOWS[1], ["amount", "event_id"]).column_names == ["amount", "event_id"]
        assert handle.read("events", WINDOWS[1]).equals(events(WINDOWS[1], 5))
        assert handle.read("events", WINDOWS[2]).num_columns == 0


def the_receipt_lies_with_the_rows(case: LakeCase) -> None:
    """L5: the file says of itself what the ledger says of it."""
    lake = case.lake()
    said = publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    (file,) = lake.files("events", WINDOWS[0])
    assert read_receipt(file.path) == file.current.receipt == said[0]
    assert file.current.rows == lake.read("events", WINDOWS[0]).num_rows


def an_empty_partition_is_sealed(case: LakeCase) -> None:
    """Nothing happened, and not yet looked, differ."""
    lake = case.lake()
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0], 0)))
    assert lake.ledger.coverage("events") == Intervals.of(WINDOWS[0])
    empty = lake.read("events", DAY)
    assert (empty.num_rows, empty.column_names) == (0, ["event_id", "event_time", "amount"])


def a_new_revision_replaces_the_old_one_whole(case: LakeCase) -> None:
    """L1: and no name is ever used twice."""
    lake = case.lake()
    names: list[Path] = []
    for mark in "abca":
        publish(lake, "events", (WINDOWS[0], events(WINDOWS[0], mark=mark)))
        (file,) = lake.files("events", DAY)
        names.append(file.path)
        assert [p.name for p in file.path.parent.iterdir()] == [file.path.name]
        assert lake.read("events", DAY).equals(events(WINDOWS[0], mark=mark))
    assert len(set(names)) == 4
    assert lake.ledger.revision("events", WINDOWS[0]) == 4


def nothing_is_visible_before_it_is_committed(case: LakeCase) -> None:
    """L3: and what never is leaves no trace."""
    lake = case.lake()
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    with lake.publisher() as publisher:
        stage(lake, publisher, "events", WINDOWS[0], [events(WINDOWS[0], mark="b")])
        stage(lake, publisher, "events", WINDOWS[1], [events(WINDOWS[1])])
        assert ids(lake.read("events", DAY)) == ids(events(WINDOWS[0]))
    assert ids(case.open().read("events", DAY)) == ids(events(WINDOWS[0]))
    assert lake.ledger.coverage("events") == Intervals.of(WINDOWS[0])
    assert list(lake.layout.staging.iterdir()) == []


def of_two_writers_one_wins_and_the_other_is_told(case: LakeCase) -> None:
    """L4: who lost publishes none of what it staged together, looks again, and then wins."""
    first, second = case.lake(), case.open()
    publish(first, "events", (WINDOWS[0], events(WINDOWS[0])))
    with second.publisher() as slow:
        stage(second, slow, "events", WINDOWS[1], [events(WINDOWS[1], mark="s")])
        stage(second, slow, "events", WINDOWS[0], [events(WINDOWS[0], mark="s")])
        publish(first, "events", (WINDOWS[0], events(WINDOWS[0], mark="f")))
        refuses(slow.commit, Conflict)
    assert ids(second.read("events", DAY)) == ids(events(WINDOWS[0], mark="f"))
    publish(second, "events", *((w, events(w, mark="s")) for w in WINDOWS[:2]))
    assert ids(first.read("events", DAY)) == [i for w in WINDOWS[:2] for i in ids(events(w, mark="s"))]


def older_inputs_never_replace_newer_ones(case: LakeCase) -> None:
    """L4: who read before another published, and looks only then for the revision, is told all the same."""
    lake = case.lake()
    publish(lake, "events", (WINDOWS[1], events(WINDOWS[1])))
    seq = lake.ledger.seq()
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0], mark="n")))
    with lake.publisher() as publisher:
        stage(lake, publisher, "events", WINDOWS[0], [events(WINDOWS[0], mark="o")], inputs_seq=seq)
        refuses(publisher.commit, Conflict)
    with lake.publisher() as publisher:
        stage(lake, publisher, "events", WINDOWS[0], [events(WINDOWS[0], mark="p")], inputs_seq=lake.ledger.seq())
        publisher.commit()
    assert ids(lake.read("events", WINDOWS[0])) == ids(events(WINDOWS[0], mark="p"))


def a_sealed_day_and_the_files_of_its_windows_never_differ(case: LakeCase) -> None:
    """L4: of two writers of a day and of one of its windows one wins, unless one transaction publishes both."""
    lake = case.lake()
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    with lake.publisher() as publisher:
        stage(lake, publisher, "events_daily", DAY, [events(WINDOWS[0]), *(events(w, 0) for w in WINDOWS[1:])])
        publish(lake, "events", (WINDOWS[0], events(WINDOWS[0], mark="n")))
        refuses(publisher.commit, Conflict)
    publish(lake, "events_daily", (DAY, events(WINDOWS[0], mark="n")))
    refuses(lambda: publish(lake, "events", (WINDOWS[0], events(WINDOWS[0], mark="o"))), Conflict)
    publish_day_and_window(lake, events(WINDOWS[0], mark="o"))
    assert ids(lake.read("events", DAY)) == ids(events(WINDOWS[0], mark="o"))


def inputs_that_change_under_a_first_publication_reopen_it(case: LakeCase) -> None:
    """L9: nobody could tell of a partition that was not there yet that its inputs have changed."""
    lake = case.lake()
    publish(lake, "events", *((w, events(w)) for w in WINDOWS[:2]))
    seq = lake.ledger.seq()
    with lake.publisher() as publisher:
        for window in WINDOWS[:2]:
            stage(
                lake, publisher, "dashboard", window, [events(window)], inputs_seq=seq,
                inputs={"events": Intervals.of(window)},
            )  # fmt: skip
        publish(lake, "events", (WINDOWS[1], events(WINDOWS[1], mark="n")))
        publisher.commit()
    (left,) = lake.ledger.reopened.all()["dashboard"]
    assert (left.span, left.reason) == (WINDOWS[1], "events changed")


def equal_content_moves_nothing(case: LakeCase) -> None:
    """L2: recording it leaves file and revision, names what it was made from, and touches nothing downstream."""
    lake = case.lake()
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0])))
    (before,) = lake.ledger.current("events", DAY)
    seq = lake.ledger.seq()
    with lake.ledger.transaction():
        lake.ledger.delivered(before, 7, "code", NOW)
    (after,) = case.open().ledger.current("events", DAY)
    assert after == replace(before, inputs_seq=7, code="code")
    assert lake.ledger.seq() > seq
    assert lake.ledger.history.touched_since(seq, "events") == []
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0], mark="b")))
    refuses(lambda: lake.ledger.delivered(after, 9, "code", NOW), Conflict)


def days_and_windows_give_each_event_once(case: LakeCase) -> None:
    """L8: whole days, windows before and between them, parts of days, and parts of windows."""
    lake = case.lake()
    eve = TimeWindow(DAY.start - GRID, DAY.start)
    after = TimeWindow(DAY.end + timedelta(days=1), DAY.end + timedelta(days=2))
    tomorrow = list(TimeWindow(DAY.end, DAY.end + timedelta(hours=1)).windows())
    publish(lake, "events", *((w, events(w, 2, mark="d")) for w in WINDOWS[:3]))
    publish(lake, "events", *((w, events(w, mark="w")) for w in tomorrow))
    everything = pa.concat_tables([events(w, 2, mark="d") for w in WINDOWS])
    publish(lake, "events", (eve, events(eve, mark="e")))
    last = events(TimeWindow(after.start, after.start + GRID), mark="l")
    publish(lake, "events_daily", (DAY, everything), (after, last))
    late = [i for w in tomorrow for i in ids(events(w, mark="w"))]
    assert ids(lake.read("events", TimeWindow(DAY.start, tomorrow[-1].end))) == [*ids(everything), *late]
    all_of_it = [*ids(events(eve, mark="e")), *ids(everything), *late, *ids(last)]
    assert ids(lake.read("events", TimeWindow(eve.start, after.end))) == all_of_it
    part = TimeWindow(WINDOWS[100].start, WINDOWS[110].end)
    assert ids(lake.read("events", part)) == ids(everything.slice(200, 22))
    odd = TimeWindow(WINDOWS[100].start + timedelta(minutes=1), WINDOWS[101].start + timedelta(minutes=1))
    assert ids(lake.read("events", odd)) == ids(everything.slice(201, 2))
    across = TimeWindow(WINDOWS[-1].start, tomorrow[0].start + timedelta(seconds=1))
    assert ids(lake.read("events", across)) == [*ids(everything.slice(574, 2)), late[0]]
    assert ids(lake.read("events_daily", part)) == ids(everything.slice(200, 22))


def a_consumer_named_like_the_days_of_another_is_another(case: LakeCase) -> None:
    """A name is no relation: only streams have days."""
    lake = case.lake()
    publish(lake, "dashboard", (WINDOWS[0], pa.table({"orders": [1]})))
    publish(lake, "dashboard_daily", (DAY, pa.table({"orders": [100]})))
    assert lake.read("dashboard", DAY).to_pydict() == {"orders": [1]}
    assert lake.read("dashboard_daily", WINDOWS[5]).to_pydict() == {"orders": [100]}
    keyed = lake.read("dashboard", DAY, keys=True)
    assert keyed.to_pydict() == {"orders": [1], "day": ["2026-03-01"], "window_start": ["20260301T0000Z"]}


def columns_are_united_and_their_types_widened(case: LakeCase) -> None:
    """L8: a column that came later is null before, also where nothing but what came before is read."""
    lake = case.lake()
    new = events(WINDOWS[1], 2)
    new = new.set_column(2, "amount", pa.array([0.5, 1.5])).append_column("coupon", pa.array(["x", None]))
    publish(lake, "events", (WINDOWS[0], events(WINDOWS[0], 2)), (WINDOWS[1], new))
    both = lake.read("events", DAY)
    assert both.column("amount").to_pylist() == [0.0, 1.0, 0.5, 1.5]
    assert both.column("coupon").to_pylist() == [None, None, "x", None]
    assert lake.read("events", WINDOWS[0], ["coupon"]).to_pydict() == {"coupon": [None, None]}
    assert lake.read("events", WINDOWS[0], ["coupon"]).schema.types == [pa.string()]
    refuses(lambda: lake.read("events", DAY, ["amuont"]), LakeError, "amuont", "amount")


def rejected_rows_are_kept(case: LakeCase) -> None:
    """L6: those of the last look at a window, outside of every table."""
    lake = case.lake()
    rows = pa.table({"reason": ["no event time"], "raw": ["{}"]})
    lake.keep_rejected("events", WINDOWS[0], rows)
    lake.keep_rejected("events", WINDOWS[0], rows)
    assert len([p for p in lake.layout.rejected("events", WINDOWS[0]).rglob("*") if p.is_file()]) == 1
    lake.keep_rejected("events", WINDOWS[0], rows.slice(0, 0))
    assert [p for p in lake.layout.rejected("events", WINDOWS[0]).rglob("*") if p.is_file()] == []


def a_lake_remembers_what_was_fixed_and_refuses_others(case: LakeCase) -> None:
    """L8: zone, start and grain; each message says what to do."""
    lake = case.lake()
    again = case.open(start=None)
    assert (again.id, again.start, again.windows_from) == (lake.id, START, START)
    refuses(lambda: case.open(zone="Europe/Berlin"), LakeError, "UTC", "Europe/Berlin", "STREAM_ASSETS_TIMEZONE=UTC")
    refuses(lambda: case.open(start="2026-02-01"), LakeError, "2026-03-01", "STREAM_ASSETS_START=2026-03-01")
    refuses(lambda: lake.ledger.register("dashboard", "day", None), LakeError, "dashboard", "5 min")
    refuses(lambda: lake.read("nothing", DAY), LakeError, "nothing", "dashboard")


def a_change_that_fails_is_none(case: LakeCase) -> None:
    """L9: the cursor moves only together with what it reopens."""
    lake = case.lake()

    def fail() -> None:
        with lake.ledger.transaction():
            lake.ledger.reopened.add("events", Intervals.of(WINDOWS[0]), "late", NOW, NOW)
            lake.ledger.sources.move_cursor("events", "1")
            raise LakeError("died here")

    refuses(fail, LakeError)
    other = case.open().ledger
    assert other.reopened.all() == {}
    assert other.sources.cursor("events") is None


def what_arrives_while_a_window_is_read_is_not_forgotten(case: LakeCase) -> None:
    """L9: a publication mends what was known when its inputs were read, not what came meanwhile."""
    lake = case.lake()
    before, after = NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)
    lake.ledger.reopened.add("events", Intervals.of(WINDOWS[0]), "late", before, before)
    lake.ledger.reopened.add("events", Intervals.of(WINDOWS[1]), "late", before, before)
    with lake.publisher() as publisher:
        for window in WINDOWS[:2]:
            stage(lake, publisher, "events", window, [events(window)])
        lake.ledger.reopened.add("events", Intervals.of(WINDOWS[0]), "late again", after, after)
        publisher.commit()
    (left,) = lake.ledger.reopened.all()["events"]
    assert (left.span, left.since, left.not_before) == (WINDOWS[0], before, before)


def the_watermark_never_goes_back(case: LakeCase) -> None:
    """The highest ever seen is kept."""
    lake = case.lake()
    assert lake.ledger.sources.advance("events", NOW) == NOW
    assert case.open().ledger.sources.advance("events", NOW - GRID) == NOW
    assert lake.ledger.sources.watermarks() == {"events": NOW}


def expired_means_free(case: LakeCase) -> None:
    """Whoever dies holding a reader's place gives it back by doing nothing."""
    work = case.lake().ledger.work
    minute = timedelta(minutes=1)
    assert work.take_place("events", 2, NOW, minute)
    place = work.take_place("events", 2, NOW, 3 * minute)
    assert place is not None
    assert work.take_place("events", 2, NOW + minute / 2, minute) is None
    assert work.take_place("other", 1, NOW, minute)
    assert work.take_place("events", 2, NOW + minute, minute)
    assert work.take_place("events", 2, NOW + minute, minute) is None
    work.leave_place(place)
    assert work.take_place("events", 2, NOW + minute, minute)


PROMISES: dict[str, Callable[[LakeCase], None]] = {
    promise.__name__: promise
    for promise in (
        what_is_published_is_read_back,
        the_receipt_lies_with_the_rows,
        an_empty_partition_is_sealed,
        a_new_revision_replaces_the_old_one_whole,
        nothing_is_visible_before_it_is_committed,
        of_two_writers_one_wins_and_the_other_is_told,
        older_inputs_never_replace_newer_ones,
        a_sealed_day_and_the_files_of_its_windows_never_differ,
        inputs_that_change_under_a_first_publication_reopen_it,
        equal_content_moves_nothing,
        days_and_windows_give_each_event_once,
        a_consumer_named_like_the_days_of_another_is_another,
        columns_are_united_and_their_types_widened,
        rejected_rows_are_kept,
        a_lake_remembers_what_was_fixed_and_refuses_others,
        a_change_that_fails_is_none,
        what_arrives_while_a_window_is_read_is_not_forgotten,
        the_watermark_never_goes_back,
        expired_means_free,
    )
}
"""Every check by its name; each wants a case of its own."""


def refuses(call: Callable[[], object], kind: type[StreamAssetsError], *words: str) -> None:
    """Assert that `call` raises `kind`, with a message that has all `words`."""
    try:
        call()
    except kind as error:
        lacking = [word for word in words if word not in str(error)]
        assert not lacking, f"{error} does not say {', '.join(lacking)}"
    else:
        raise AssertionError(f"nothing raised {kind.__name__}")
