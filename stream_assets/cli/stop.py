"""Ctrl-C and SIGTERM: drop the work in hand at a moment at which nothing is half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOOK_AGAIN = timedelta(milliseconds=20)


class Stopped(BaseException):
    """A signal asked the command to stop. No `Exception`, so that nothing takes it for a failure of a partition."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number

    @property
    def exit_code(self) -> int:
        """128 + signal, as shells say it."""
        return 128 + self.number

    def __str__(self) -> str:
        return signal.Signals(self.number).name


@contextmanager
def stopping(is_changing: Callable[[], bool]) -> Iterator[None]:
    """Raise `Stopped` in the block when a signal comes, once, and not in the middle of a change of the ledger.

    Args:
        is_changing: whether the main thread is inside a transaction; then the signal waits for its end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGALRM:
            if asked:
                return  # leases are being given back: a second signal must not cut that short
            asked.append(number)
        if is_changing():
            signal.setitimer(signal.ITIMER_REAL, LOOK_AGAIN.total_seconds())
        else:
            raise Stopped(asked[0])

    before = {number: signal.signal(number, stop) for number in (*SIGNALS, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
