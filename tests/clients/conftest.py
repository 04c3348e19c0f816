"""Sessions of clients that other people wrote, on one running server with the upstream double behind it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.clients.cases import CHAINS, ChainCase
from tests.conftest import ROOT, Server
from tests.fake_openai import FakeOpenAI, Reply

Json = dict[str, Any]

HERE = Path(__file__).parent
CACHE = ROOT / ".artifacts" / "clients"
KEY = "any"
OLDEST_NODE = 18
RETRY = "run `npm ci && touch installed` in {}"
_UNREACHABLE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "SOCKET_TIMEOUT")


@pytest.fixture(params=CHAINS, ids=lambda case: case.model)
def case(request: pytest.FixtureRequest, documents: Path) -> ChainCase:
    """Each of the chains that are called as models."""
    chain: ChainCase = request.param
    return replace(chain, text=chain.text.format(documents=documents))


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder of the Node clients that ``package-lock.json`` names, installed once for every state of it."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("the Node clients need node and npm: apt-get install nodejs npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        pytest.skip(f"the Node clients need node {OLDEST_NODE}, this is {version}: install a newer one")
    lock = (HERE / "package-lock.json").read_bytes()
    folder = CACHE / hashlib.sha256(lock + version.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "installed").exists():
            _install(npm, folder)
            (folder / "installed").touch()
    return folder / "node_modules"


def _install(npm: str, folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=30000"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=150)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm reaches no registry: {RETRY.format(folder)}")
    if done.returncode and any(code in done.stderr for code in _UNREACHABLE):
        pytest.skip(f"npm reaches no registry: {RETRY.format(folder)}: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr


class NodeSession:
    """A process of one Node client that does the steps of its script as they are asked for.

    Args:
        script: the client's, in this folder.
        modules: the installed packages.
        url: of the endpoint, with its ``/v1``.
        upstream: the double that answers the server.
        folder: an empty one.
    """

    def __init__(self, script: str, modules: Path, url: str, upstream: FakeOpenAI, folder: Path) -> None:
        # A module's imports are looked for beside it.
        (folder / "node_modules").symlink_to(modules)
        for name in ("session.mjs", script):
            shutil.copy(HERE / name, folder)
        self._upstream = upstream
        self._errors = (folder / "errors").open("w+")
        self._process = subprocess.Popen(
            ["node", str(folder / script), url, KEY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __call__(self, name: str, *replies: Reply, **given: Any) -> Any:
        """The result of a step, for whose calls the upstream has these replies."""
        self._upstream.reset()
        self._upstream.enqueue(*replies)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"name": name, "given": given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"stack": self._said()}
        assert answer.get("name") == name, answer
        assert "error" not in answer, (answer["error"], answer["stack"])
        return answer["result"]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()


NodeClient = Callable[[str], NodeSession]


@pytest.fixture(scope="session")
def node_client(
    node_modules: Path, _chain_server: Server, _upstream: FakeOpenAI, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeClient]:
    """The session of a client's script: one process, however many tests use it."""
    sessions: dict[str, NodeSession] = {}

    def session(script: str) -> NodeSession:
        if script not in sessions:
            folder = tmp_path_factory.mktemp("node")
            sessions[script] = NodeSession(script, node_modules, f"{_chain_server.url}/v1", _upstream, folder)
        return sessions[script]

    yield session
    for running in sessions.values():
        running.close()
