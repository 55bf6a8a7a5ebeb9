"""A real `dagster dev` for tests: started in a home of its own, asked by GraphQL as its UI asks, stopped whole.

Webserver, daemon, code servers and runs are one process group, which is ended on leaving the `with` block, and
nothing else is. Every wait has a deadline.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

Json = dict[str, Any]
T = TypeVar("T")

REPOSITORY = Path(__file__).parents[2]

_READY = """{ instance { daemonHealth { allDaemonStatuses { daemonType healthy } } }
  workspaceOrError { __typename ... on PythonError { message } ... on Workspace { locationEntries { name
    locationOrLoadError { __typename ... on PythonError { message } } } } } }"""


class GraphQLError(RuntimeError):
    """The webserver refused a query, or answered with errors; the message is Dagster's own."""


class Late(RuntimeError):
    """Something that was waited for did not happen in time."""


class DagsterDev:
    """`dagster dev` of some code locations on a free port of 127.0.0.1, with the committed dagster.yaml.

    Args:
        modules: name of the code location -> module.
        home: DAGSTER_HOME; kept afterwards, so that a second one on it goes on where the first stopped.
        environment: added to this process's own, in which no `STREAM_ASSETS_...` and `DAGSTER_...` are kept.
        patience: seconds until it must be ready.
    """

    def __init__(
        self, modules: Mapping[str, str], home: Path, environment: Mapping[str, str], *, patience: float = 180
    ) -> None:
        self.home = home
        self.port = free_port()
        self.log = home / "dagster-dev.log"
        self._folder = home
        self._modules = modules
        self._patience = patience
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("STREAM_ASSETS_", "DAGSTER_"))}
        self._environment = {
            **kept,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            "DAGSTER_HOME": str(home),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        command = self._prepare()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.wait_for(self._is_ready, "dagster dev to be ready", self._patience, every=0.5)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prepare(self) -> list[str]:
        """Write what it reads, and return the command that starts it in `_folder`."""
        shutil.copy(REPOSITORY / "dagster.yaml", self.home)
        workspace = {
            "load_from": [{"python_module": {"module_name": m, "location_name": n}} for n, m in self._modules.items()]
        }
        (self.home / "workspace.yaml").write_text(json.dumps(workspace))
        options = ["-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(self.port)]
        return [sys.executable, "-m", "dagster", "dev", *options]

    def _is_ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"dagster dev ended: {self.said()[-3000:]}")
        try:
            answer = self.ask(_READY)
        except (GraphQLError, OSError):
            return False
        workspace = answer["workspaceOrError"]
        if workspace["__typename"] != "Workspace":
            raise RuntimeError(f"workspace: {workspace}")
        entries = workspace["locationEntries"]
        for entry in entries:
            loaded = entry["locationOrLoadError"]
            if loaded and loaded["__typename"] == "PythonError":
                raise RuntimeError(f"code location {entry['name']} does not load: {loaded['message']}")
        daemons = {d["daemonType"]: d["healthy"] for d in answer["instance"]["daemonHealth"]["allDaemonStatuses"]}
        return (
            len(entries) == len(self._modules)
            and all(e["locationOrLoadError"] for e in entries)
            and daemons.get("SENSOR") is True
        )

    def stop(self, grace: float = 20) -> None:
        """End the process group: interrupted, given `grace` seconds, then killed. Runs in flight end with it."""
        process, self._process = self._process, None
        if process is None:
            return
        for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if _ends_by(sent, process, grace):
                break
        process.wait(timeout=10)

    def interrupt(self, patience: float = 90) -> int:
        """Stop it as Ctrl-C in its terminal does, and return its exit status when all of the group is gone.

        Dagster may start its code server anew while it is stopped, which then has heard of nothing: so people press again.
        """
        assert self._process is not None
        if not any(_ends_by(signal.SIGINT, self._process, patience / 3) for _ in range(3)):
            raise Late(f"interrupted, and not gone after {patience:.0f} s: {self.said()[-3000:]}")
        process, self._process = self._process, None
        return process.wait(timeout=10)

    def kill(self) -> None:
        """Kill the whole group at once, as a machine that is switched off does."""
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)

    @property
    def group(self) -> int:
        """Number of its process group."""
        assert self._process is not None
        return self._process.pid

    def said(self) -> str:
        """Return what it has printed so far."""
        return self.log.read_text() if self.log.exists() else ""

    # Questions.

    def ask(self, query: str, variables: Mapping[str, Any] | None = None, *, patience: float = 60) -> Json:
        """Return the `data` of an answer.

        Raises:
            GraphQLError: a Python error inside the webserver (HTTP 500, or `errors`).
        """
        body = json.dumps({"query": query, "variables": dict(variables or {})}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=patience) as response:
                answer: Json = json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise GraphQLError(f"HTTP {error.code}: {_messages(error.read())}") from None
        if answer.get("errors"):
            raise GraphQLError("; ".join(e["message"] for e in answer["errors"]))
        return answer["data"]

    def wait_for(self, look: Callable[[], T | None], what: str, patience: float = 240, *, every: float = 1) -> T:
        """Look until there is something, and return it."""
        deadline = time.monotonic() + patience
        while True:
            found = look()
            if found:
                return found
            if time.monotonic() >= deadline:
                raise Late(f"waited {patience:.0f} s for {what}; dagster dev said: {self.said()[-3000:]}")
            time.sleep(every)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ends_by(sent: signal.Signals, process: subprocess.Popen[bytes], grace: float) -> bool:
    """Send a signal to the whole group, and return whether that ended it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, sent)
    deadline = time.monotonic() + grace
    while _is_alive(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not _is_alive(process)


def _is_alive(process: subprocess.Popen[bytes]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _messages(body: bytes) -> str:
    """Dagster answers HTTP 500 also for a mutation whose result is a PythonError; its message is inside `data`."""
    try:
        answer = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")[:1000]
    found = [e["message"] for e in answer.get("errors") or []]
    found += [
        v["message"].strip() for v in (answer.get("data") or {}).values() if isinstance(v, dict) and "message" in v
    ]
    return re.sub(r"\s+", " ", "; ".join(found)) or str(answer)[:1000]
