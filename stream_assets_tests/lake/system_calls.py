"""What a process asked of the operating system, read from a trace by `strace`.

Run as a module it is the process that is traced: it publishes one partition, then two together, after a file
of its own has marked the beginning.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from stream_assets.testing.partitions import WINDOWS, events, publish
from stream_assets_tests.lake.conftest import lake_in

CALLS = (
    "openat", "write", "writev", "pwrite64", "pwritev", "pwritev2", "fsync", "fdatasync", "syncfs", "fcntl",
    "rename", "renameat", "renameat2", "mkdir",
)  # fmt: skip
WRITE_LOCK = "l_start=120,"
"""The byte of the ledger's -shm file that SQLite locks for a write transaction (WAL_WRITE_LOCK of its file format)."""

_CALL = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<said>.*)\) += (?P<result>-?\d+)")
_HALF = re.compile(r"(?P<thread>\d+) +(?P<begun>.*) <unfinished \.\.\.>")
_REST = re.compile(r"(?P<thread>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)")


@dataclass(frozen=True, slots=True)
class Call:
    """One call that succeeded, at the place of its end.

    Attributes:
        kind: `write`, `sync`, `sync all`, `lock`, `unlock`, `exchange`, `move new`, `rename`, `mkdir`, `open`.
        paths: of the file, or of source and target.
    """

    kind: str
    paths: tuple[str, ...]
    thread: str

    def __str__(self) -> str:
        return f"{self.kind} {' -> '.join(self.paths)}"


def trace(folder: Path, module: str, *args: str) -> list[Call]:
    """Run a module in a process of its own and return its calls, in the order in which they ended."""
    said = folder / "trace"
    command = ["strace", "-f", "-y", "-s", "0", "-o", str(said), "-e", f"trace={','.join(CALLS)}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([*command, sys.executable, "-m", module, *args], check=True, env=environment)
    return list(filter(None, map(_call, _whole(said.read_text().splitlines()))))


def _whole(lines: list[str]) -> list[str]:
    """Return one line for each call: what two threads do at once is told in halves."""
    begun: dict[str, str] = {}
    whole: list[str] = []
    for line in lines:
        if half := _HALF.fullmatch(line):
            begun[half["thread"]] = half["begun"]
        elif rest := _REST.fullmatch(line):
            whole.append(f"{rest['thread']} {begun.pop(rest['thread'])}{rest['rest']}")
        else:
            whole.append(line)
    return whole


def _call(line: str) -> Call | None:
    found = _CALL.match(line)
    if not found or int(found["result"]) < 0:
        return None
    name, said, thread = found["name"], found["said"], found["thread"]
    opened = re.match(r"\d+<(.*?)>", said)
    named = tuple(re.findall(r'"(.*?)"', said))
    if name == "fcntl":
        if WRITE_LOCK not in said or "F_SETLK" not in said or not opened:
            return None
        return Call("lock" if "F_WRLCK" in said else "unlock", (opened[1],), thread)
    if "write" in name or "sync" in name:
        kind = "write" if "write" in name else "sync all" if name == "syncfs" else "sync"
        return Call(kind, (opened[1],), thread) if opened else None
    if name == "renameat2":
        return Call("exchange" if "RENAME_EXCHANGE" in said else "move new", named, thread)
    return Call({"mkdir": "mkdir", "openat": "open"}.get(name, "rename"), named, thread)


def main(folder: Path) -> None:
    lake = lake_in(folder)
    first, second = WINDOWS[:2]
    (folder / "one").touch()
    publish(lake, "dashboard", (first, events(first)))
    (folder / "two").touch()
    publish(lake, "dashboard", (first, events(first, mark="b")), (second, events(second)))
    (folder / "rejected").touch()
    lake.keep_rejected("events", first, events(first))
    (folder / "end").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
