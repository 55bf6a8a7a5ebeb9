"""What all processes of a run share: an accelerated time, whether the source answers, what is declared now, and the end."""

from __future__ import annotations

import mmap
import time
from datetime import datetime, timedelta

from stream_assets.core.window import EPOCH

RATE = 60.0
"""A window settles every five seconds, and an hour is a minute."""

_SLOTS = ("began", "start", "ahead", "wrong", "silence", "epoch", "ended", "frozen")


class Weather:
    """Numbers in memory that forked children share; each is read and written in one step.

    The world's time only goes forward: by `RATE`, and by leaps. The machine's clock may be wrong by `wrong` seconds, and
    what it says may so go back.
    """

    def __init__(self, start: datetime) -> None:
        self._numbers = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")
        self.set("began", time.monotonic())
        self.set("start", (start - EPOCH).total_seconds())

    def get(self, name: str) -> float:
        return self._numbers[_SLOTS.index(name)]

    def set(self, name: str, value: float) -> None:
        self._numbers[_SLOTS.index(name)] = value

    def add(self, name: str, value: float) -> None:
        self.set(name, self.get(name) + value)

    def world(self) -> datetime:
        """Return when it is; once frozen, always the same instant."""
        seconds = self.get("frozen") or (
            self.get("start") + self.get("ahead") + (time.monotonic() - self.get("began")) * RATE
        )
        return EPOCH + timedelta(seconds=seconds)

    def now(self) -> datetime:
        """Return what the machine's clock says: makes this a `core.clock.Clock`."""
        return self.world() + timedelta(seconds=self.get("wrong"))

    def freeze(self) -> datetime:
        """Let nothing arrive any more, and return the last instant at which something did."""
        self.set("frozen", (self.world() - EPOCH).total_seconds())
        return self.world()

    @property
    def is_over(self) -> bool:
        return self.get("ended") != 0
