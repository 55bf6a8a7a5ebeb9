"""A machine's clock that was wrong and is set right: what was planned by the one is done by the other."""

from datetime import timedelta

from stream_assets_tests.scenarios.buyers import dashboard

HOUR = timedelta(hours=1)


def test_work_behind_a_midnight_that_the_clock_was_set_back_before_is_done(world):
    w = world(dashboard, now="2026-03-10 23:40", start="2026-03-10")
    w.run()
    w.clock.advance(HOUR)
    w.pipeline.observe()
    w.clock.set(w.now - HOUR)
    w.run()
    assert "2026-03-11T00:30+0000" in w.revisions("dashboard")
    assert w.failures("dashboard") == []


def test_an_event_that_is_seen_by_a_clock_set_back_while_its_window_is_made(world):
    w = world(dashboard, now="2026-03-10 14:37", start="2026-03-10")
    w.run()
    w.at("2026-03-10 14:40").clock.advance(timedelta(seconds=35))

    arrivals = w.shop.arrivals

    def set_back():
        w.shop.add(w.instant("2026-03-10 14:38"), w.now + timedelta(seconds=1), id="late")
        w.clock.set(w.now + timedelta(seconds=2) - HOUR)
        # The source's own clock is right.
        w.shop.arrivals = lambda cursor, *, now, state=None: arrivals(cursor, now=now + HOUR, state=state)
        w.pipeline.observe()
        w.shop.arrivals = arrivals
        w.clock.set(w.now + HOUR)

    with w.before_commit("events", set_back):
        w.tick("every_5_min")
    assert "late" not in w.ids()
    w.live("14:51")
    assert w.ids().count("late") == 1
