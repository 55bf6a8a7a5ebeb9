"""The README's way to show the UI to others: a server that can change nothing, behind nginx with a login."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from stream_assets_tests.defs.dagster_dev import REPOSITORY, DagsterDev, free_port

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
OPENSSL = shutil.which("openssl")

pytestmark = [
    pytest.mark.ui,
    pytest.mark.slow,
    pytest.mark.skipif(not (NGINX and OPENSSL), reason="wants the programs nginx and openssl"),
]

WHO = ("ann", "correct horse")
QUESTION = "{ version }"
RELOAD = (
    "mutation { reloadWorkspace { __typename ... on UnauthorizedError { message } ... on PythonError { message } } }"
)
LAUNCH = """mutation { launchPipelineExecution(executionParams: {mode: "default", runConfigData: {}, selector: {
  repositoryName: "__repository__", repositoryLocationName: "live", jobName: "__ASSET_JOB",
  assetSelection: [{path: ["live", "events"]}]}}) { __typename ... on UnauthorizedError { message } } }"""


@dataclass(frozen=True)
class Login:
    """A read-only server, and the proxy in front of it."""

    server: int
    proxy: int
    certificate: Path

    def ask(self, query: str, *, who: tuple[str, str] | None) -> requests.Response:
        return requests.post(
            f"https://localhost:{self.proxy}/graphql",
            json={"query": query},
            auth=who,
            verify=str(self.certificate),
            timeout=30,
        )


def block(language: str, having: str) -> str:
    """Return one fenced block of the README."""
    text = (REPOSITORY / "README.md").read_text()
    (found,) = [b for b in re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if having in b]
    return found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while not listens(port):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"nothing listens on {port}: {log.read_text()}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def login() -> Iterator[Login]:
    # Where nginx is started by root its workers are somebody else, and read the passwords: pytest's folders are closed to them.
    with tempfile.TemporaryDirectory(prefix="login-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        with started(folder) as found:
            yield found


@contextmanager
def started(folder: Path) -> Iterator[Login]:
    """Do what the README says, on free ports."""
    # Its settings are the home and the workspace of `dagster dev`; the server alone is started.
    home = DagsterDev({"live": "stream_assets_tests.defs.locations.live"}, folder / "home", {
        "TEST_LAKES": str(folder / "lakes"), "TEST_ZONE": "UTC",
    })  # fmt: skip
    home.home.mkdir()
    home._prepare()
    server, proxy = free_port(), free_port()
    assert OPENSSL is not None
    assert NGINX is not None
    subprocess.run(
        [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "certificate.pem"], cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    hashed = subprocess.run([OPENSSL, "passwd", "-6", WHO[1]], check=True, capture_output=True, text=True).stdout
    (folder / "passwords").write_text(f"{WHO[0]}:{hashed}")
    said = (
        block("nginx", "auth_basic")
        .replace("listen 3443", f"listen 127.0.0.1:{proxy}")
        .replace("127.0.0.1:3001", f"127.0.0.1:{server}")
    )
    assert said.count(str(server)) == said.count(str(proxy)) == 1
    (folder / "login.conf").write_text(said)
    command = next(line for line in block("bash", "--read-only").splitlines() if "--read-only" in line)
    words = command.replace("3001", str(server)).replace("workspace.yaml", str(home.home / "workspace.yaml")).split()
    assert words[0] == "dagster-webserver"
    with (folder / "log").open("ab") as log:
        processes = [
            subprocess.Popen([sys.executable, "-m", "dagster_webserver", *words[1:]], env=home._environment, cwd=folder, stdout=log, stderr=log),
            subprocess.Popen([NGINX, "-p", str(folder), "-c", "login.conf", "-e", "nginx.log", "-g", "daemon off;"], cwd=folder, stdout=log, stderr=log),
        ]  # fmt: skip
    try:
        for port, process in zip((server, proxy), processes, strict=True):
            wait_for(port, process, folder / "log")
        yield Login(server, proxy, folder / "certificate.pem")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=30)


def test_nobody_gets_in_without_the_login(login: Login) -> None:
    assert login.ask(QUESTION, who=None).status_code == 401
    assert login.ask(QUESTION, who=(WHO[0], "wrong")).status_code == 401
    answer = login.ask(QUESTION, who=WHO)
    assert answer.status_code == 200
    assert answer.json()["data"]["version"]


def test_the_pages_come_through_the_proxy(login: Login) -> None:
    page = requests.get(f"https://localhost:{login.proxy}/assets", auth=WHO, verify=str(login.certificate), timeout=30)
    assert page.status_code == 200
    assert "_next/static" in page.text


def test_a_read_only_server_launches_nothing(login: Login) -> None:
    for mutation in (LAUNCH, RELOAD):
        answer = login.ask(mutation, who=WHO).json()
        assert "UnauthorizedError" in str(answer) or "permission" in str(answer), answer


def test_the_server_itself_is_reached_from_this_machine_alone(login: Login) -> None:
    addresses = {a[4][0] for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in (a for a in addresses if not a.startswith("127.")):
        with socket.socket() as probe:
            probe.settimeout(5)
            assert probe.connect_ex((address, login.server)) != 0
