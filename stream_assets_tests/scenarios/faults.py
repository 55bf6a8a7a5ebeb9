"""One piece of work of a world, done again and again from the same lake, with a fault at each step of it."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from types import FrameType
from typing import Any

from stream_assets.core.declaration import Consumer
from stream_assets.core.window import EPOCH, TimeWindow
from stream_assets.lake.disk import is_held
from stream_assets.lake.publish import sweep
from stream_assets.pipeline.verify import verify
from stream_assets.testing import SettableClock
from stream_assets_tests.lake.processes import run, start
from stream_assets_tests.scenarios.world import World

STEPS = (
    "pipeline/pipeline.py", "pipeline/ingest.py", "pipeline/staging.py", "pipeline/consume.py", "pipeline/observe.py",
    "pipeline/reading.py", "pipeline/release.py", "pipeline/readmit.py", "lake/rejected.py", "lake/released.py",
    "pipeline/retention.py", "lake/remove.py", "lake/publish.py", "lake/disk.py", "lake/store.py", "lake/parquet.py", "ledger/ledger.py", "ledger/work.py",
    "ledger/sources.py", "ledger/history.py", "ledger/gone.py", "ledger/database.py",
)  # fmt: skip
"""Each line of these files is a step, the first and the second time that it is executed."""
TIMES = 2
LATER = timedelta(minutes=10)
"""Longer than any lease."""
_MICROSECOND = timedelta(microseconds=1)

State = dict[tuple[str, str], str]


class SharedClock(SettableClock):
    """A settable clock that a process and its children have in common."""

    def __init__(self, now: datetime) -> None:
        self._shared = mmap.mmap(-1, 8)
        super().__init__(now)

    @property
    def _now(self) -> datetime:
        return EPOCH + int.from_bytes(self._shared[:]) * _MICROSECOND

    @_now.setter
    def _now(self, now: datetime) -> None:
        self._shared[:] = ((now - EPOCH) // _MICROSECOND).to_bytes(8)


def shared_clock(w: World) -> World:
    """Give a world, and the children it forks, one clock."""
    w.clock = SharedClock(w.now)
    return w.define(*w.pipeline.declarations.consumers)


class Trial:
    """Work on a lake that is put back as it was before each try.

    The lake keeps its folder, so that it is never taken for a copy.

    Args:
        by_hand: whether the planner knows nothing of the work, so that it is done again by whom it has failed.
    """

    def __init__(self, w: World, work: Callable[[World], object], *, by_hand: bool = False) -> None:
        self.w = shared_clock(w)
        self._work = work
        self._by_hand = by_hand
        self._consumers: Sequence[Consumer] = w.pipeline.declarations.consumers
        self._saved = w.folder.with_suffix(".saved")
        self._at = w.now
        w.pipeline.lake.ledger.database.close()
        shutil.copytree(w.folder, self._saved)
        self._before = self._state()
        self.steps = self._recorded()
        self._put_back()
        newest = w.pipeline.lake.ledger.seq()
        work(w)
        self._made = self._published_since(newest)
        self._goes = self._before.keys() - self._state().keys()
        self._expected = [self._later(times) for times in (1, 2, 3)]

    def sampled(self, count: int) -> list[str]:
        """Return `count` of the steps, evenly spread, the last one too."""
        return [self.steps[(n + 1) * len(self.steps) // count - 1] for n in range(count)]

    def killed_at(self, step: str) -> int:
        """Kill the work at one step, check the lake, let time pass, and check again; returns how the child ended."""
        self._put_back()
        status = run(partial(self._until, step, self._kill))
        self._again()
        self._assert_old_or_new(step)
        self._later(1)
        self._assert_as_expected(2, step)
        return status

    def stopped_at(self, step: str) -> str:
        """Stop the work at one step for longer than its lease while another process does it, wake it, and check.

        Returns:
            `ended` where the step was never reached, `waited` where the stopped process held the ledger's lock, so that
            everybody waited for it, else `overtaken`.
        """
        self._put_back()
        child = start(partial(self._until, step, self._stop))
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            assert status == 0, step
            return "ended"
        is_locked = self._is_locked()
        try:
            if is_locked:
                self.w.clock.advance(LATER)
            else:
                self._again()
                self._later(1)
                self._assert_as_expected(2, f"while stopped at {step}")
        finally:
            os.kill(child, signal.SIGCONT)
            _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, step
        self._again()
        self._assert_as_expected(3, step)
        return "waited" if is_locked else "overtaken"

    # The work, in a child.

    def _recorded(self) -> list[str]:
        """Return the steps of the work, in order."""
        said = self._saved.with_suffix(".steps")

        def record() -> None:
            steps: list[str] = []
            _traced(steps.append, partial(self._work, self.w))
            said.write_text("\n".join(dict.fromkeys(steps)))

        assert run(record) == 0
        return said.read_text().splitlines()

    def _until(self, step: str, fault: Callable[[], None]) -> None:
        def at(reached: str) -> None:
            if reached == step:
                sys.settrace(None)
                fault()

        _traced(at, partial(self._work, self.w))

    @staticmethod
    def _kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def _stop() -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    # The lake.

    def _put_back(self) -> None:
        self.w.pipeline.lake.ledger.database.close()
        for path in self.w.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self._saved, self.w.folder, dirs_exist_ok=True)
        self.w.clock.set(self._at)
        self._again()

    def _again(self) -> None:
        """Open the project as another process does."""
        self.w.pipeline.lake.ledger.database.close()
        self.w.define(*self._consumers)

    def _is_locked(self) -> bool:
        with closing(sqlite3.connect(self.w.pipeline.lake.layout.ledger, timeout=0, isolation_level=None)) as other:
            try:
                other.execute("begin immediate")
            except sqlite3.OperationalError:
                return True
            other.execute("rollback")
        return False

    def _later(self, times: int) -> dict[str, Any]:
        """Let time pass and do what is due; returns what is delivered of every table, and its rows."""
        self.w.clock.set(self._at + times * LATER)
        if self._by_hand:
            self._work(self.w)
        self.w.run()
        tables = self.w.pipeline.lake.ledger.tables()
        return {table: (str(self.w.coverage(table)), self.w.table(table)) for table in tables}

    def _state(self) -> State:
        tables = self.w.pipeline.lake.ledger.tables()
        return {(t, key): str(r.digest) for t in tables for key, r in self.w.receipts(t).items()}

    def _published_since(self, seq: int) -> Counter[tuple[str, str, str]]:
        rows = self.w.pipeline.lake.ledger.database.rows(
            "select tbl, key_start, digest from publication where seq > ?", (seq,)
        )
        tables = self.w.pipeline.lake.ledger.tables()
        calendar = self.w.pipeline.calendar
        return Counter(
            (r["tbl"], calendar.key(calendar.partitions(_at(r["key_start"]), tables[r["tbl"]])[0], tables[r["tbl"]]), r["digest"])
            for r in rows
        )  # fmt: skip

    def _span(self) -> TimeWindow:
        lake = self.w.pipeline.lake
        ends = [c.hull.end for c in lake.ledger.coverage_of(lake.ledger.tables()).values() if c.hull]
        return TimeWindow(lake.start, max([*ends, self._at]))

    def _assert_old_or_new(self, step: str) -> None:
        """Every partition is one that was there before, or one that the work makes; what it does not remove is there, each file is whole."""
        lake = self.w.pipeline.lake
        for table, key, _ in self._made:
            grain = lake.ledger.tables()[table]
            lake.roll_forward(table, grain, lake.calendar.parse_key(key, grain))
        now = self._state()
        gone = self._before.keys() - now.keys() - self._goes
        assert not gone, f"gone after {step}: {gone}"
        for (table, key), digest in now.items():
            is_old = self._before.get((table, key)) == digest
            assert is_old or (table, key, digest) in self._made, f"{table} {key} is neither old nor new after {step}"
        span = self._span()
        for table in lake.ledger.tables():
            for current in lake.ledger.current(table, span):
                assert lake.is_whole(current), f"{current.file} after {step}"

    def _assert_as_expected(self, times: int, step: str) -> None:
        w = self.w
        lake = w.pipeline.lake
        for table, there in self._later(times).items():
            assert there == self._expected[times - 1][table], f"{table} after {step}"
        assert lake.ledger.reopened.all() == {}, step
        assert lake.ledger.work.failures() == {}, step
        assert verify(w.pipeline.site, list(w.pipeline.declarations.tables), self._span()).differences == [], step
        # Its owner lives, and what was replaced is young; nobody holds what those who died have left.
        held = [folder for folder in lake.layout.staging.iterdir() if is_held(folder)]
        sweep(lake.layout, w.now + timedelta(days=36500))
        assert list(lake.layout.staging.iterdir()) == held, step


def _at(text: str) -> TimeWindow:
    start = datetime.fromisoformat(text)
    return TimeWindow(start, start + timedelta(minutes=5))


def _traced(at: Callable[[str], None], work: Callable[[], object]) -> None:
    """Do `work`, and tell of each step before it is taken."""
    seen = Counter[str]()

    def at_line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            line = f"{'/'.join(frame.f_code.co_filename.split('/')[-2:])}:{frame.f_lineno}"
            seen[line] += 1
            if seen[line] <= TIMES:
                at(f"{line} #{seen[line]}")
        return at_line

    def at_call(frame: FrameType, _: str, __: Any) -> Any:
        return at_line if frame.f_code.co_filename.endswith(STEPS) else None

    sys.settrace(at_call)
    try:
        work()
    finally:
        sys.settrace(None)
