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
