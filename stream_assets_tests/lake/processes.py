"""Children that share a lake with the test, and may be killed."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

DIED = -signal.SIGKILL
LINES = ("lake/publish.py", "lake/disk.py")
TRANSACTION = ("Database.transaction", "Ledger.record", "Ledger.cover")


def start(work: Callable[[], object]) -> int:
    """Fork a child that does `work` and nothing else; returns its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended(child: int) -> int:
    """Wait for a child: 0 where its work returned, 1 where it raised, `DIED` where it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(work: Callable[[], object]) -> int:
    """Do `work` in a child and wait for it."""
    return ended(start(work))


def killed_at_line(
    number: int,
    work: Callable[[], object],
    lines: tuple[str, ...] = LINES,
    functions: tuple[str, ...] = TRANSACTION,
) -> Callable[[], None]:
    """Return `work` that kills its process before the `number`th line that it executes, by default of a publication.

    Args:
        lines: ends of the names of files that count.
        functions: qualified names of further functions that count.
    """

    def traced() -> None:
        left = number

        def at_line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal left
            if event == "line":
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
            return at_line

        def at_call(frame: FrameType, _: str, __: Any) -> Any:
            code = frame.f_code
            return at_line if code.co_filename.endswith(lines) or code.co_qualname in functions else None

        sys.settrace(at_call)
        work()
        sys.settrace(None)

    return traced
