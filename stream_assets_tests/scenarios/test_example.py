from stream_assets_tests.scenarios.buyers import dashboard, ledger_book, report
from stream_assets_tests.scenarios.world import ranges


def test_1437(world):
    w = world(dashboard, report, ledger_book, now="2026-03-10 14:37")
    print()
    print(ranges(w.ticks()))
    print(ranges(w.ticks()))
    print(ranges(w.live("15:37")))
    print(ranges(w.live("2026-03-11 03:37")))
    print(w.standing("dashboard"), w.standing("report"))
    print(w.table("report"))
