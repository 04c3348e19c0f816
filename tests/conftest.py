"""Shared fixtures: an environment of its own for every test, the upstream double, and one real server a worker."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# A test module that imports litellm before the package does must not send it to the network for prices.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
# Tests run side by side: two threads that wait for each other on a core that others use are far slower than one.
os.environ["LAS_LOCAL_BATCH_THREADS"] = "1"

from chains.documents.ingest import Ingestion
from las_langchain.service import SHARED, LiteLLMService, using
from las_langchain.settings import LASSettings, load_settings
from las_langchain.transports.local.weights import EMBEDDED
from las_langchain.usage.ledger import FILE
from tests import warm
from tests.fake_anthropic import FakeAnthropic
from tests.fake_openai import FakeOpenAI
from tests.media import MediaProxy

# A machine that is busy with other tests is no failure.
hypothesis.settings.register_profile("las", deadline=None)
hypothesis.settings.load_profile("las")

ROOT = Path(__file__).parent.parent
USER_CHAINS = ("joke", "both", "configurable", "clerk", "whole", "fields", "broken", "slow", "graph", "no_chain")
"""Those of ``tests/user_chains.py`` that are named in ``las.toml``."""
UPSTREAM_KEY = "sk-upstream-secret-0123456789"


def pytest_configure() -> None:
    """Let nobody collect garbage while modules are imported, which all stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Let the garbage collector begin, and never look at what was imported until now."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the embedded models, and nothing else, from the machine's own."""
    installed = LASSettings().data_dir
    for weights in EMBEDDED:
        if not weights.path(installed).is_file():
            pytest.exit(f"local/{weights.name} is missing: run `las local install`, or `make setup`", returncode=2)
    folder = tmp_path_factory.mktemp("data")
    (folder / "models").symlink_to(installed / "models")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _the_users_ledger() -> Iterator[None]:
    """Fail the run if a test wrote into the ledger of whoever runs it."""
    folder = LASSettings().data_dir
    before = _states(folder)
    yield
    assert _states(folder) == before, f"a test wrote into {folder / FILE}: it must stay in a data folder of its own"


def _states(folder: Path) -> list[tuple[str, int, int]]:
    files = (folder / FILE, folder / f"{FILE}-wal")
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]


# A parameter of a test must not happen to have its name, which would switch it off.
@pytest.fixture(autouse=True)
def _environment_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data_dir: Path) -> None:
    """No settings and no keys but the test's own."""
    for name in list(os.environ):
        if name.startswith(("LAS_", "OPENAI_", "ANTHROPIC_", "OLLAMA_")) or name.endswith(("_API_KEY", "_API_BASE")):
            monkeypatch.delenv(name)
        # Tracing litellm's import takes as long again as that, so coverage is measured here and in the shared servers.
        if name.startswith("COVERAGE_PROCESS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LAS_LOCAL_BATCH_THREADS", "1")
    monkeypatch.setenv("LAS_DATA_DIR", str(data_dir))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    SHARED.forget()


@pytest.fixture(scope="session")
def _upstream() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as double:
        yield double


@pytest.fixture
def upstream(_upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> FakeOpenAI:
    """The upstream double, set up as the provider ``openai``."""
    _upstream.reset()
    monkeypatch.setenv("OPENAI_API_KEY", UPSTREAM_KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", _upstream.url)
    return _upstream


@pytest.fixture(scope="session")
def _anthropic_upstream() -> Iterator[FakeAnthropic]:
    with FakeAnthropic() as double:
        yield double


@pytest.fixture
def anthropic_upstream(_anthropic_upstream: FakeAnthropic, monkeypatch: pytest.MonkeyPatch) -> FakeAnthropic:
    """The other upstream double, set up as the provider ``anthropic``."""
    _anthropic_upstream.reset()
    monkeypatch.setenv("ANTHROPIC_API_KEY", UPSTREAM_KEY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", _anthropic_upstream.url)
    return _anthropic_upstream


@pytest.fixture(scope="session")
def _media_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MediaProxy]:
    with MediaProxy(tmp_path_factory.mktemp("media")) as proxy:
        yield proxy


@pytest.fixture
def media(_media_proxy: MediaProxy, monkeypatch: pytest.MonkeyPatch) -> MediaProxy:
    """A proxy that serves pictures, documents and sounds in the place of public hosts, which HTTP clients use."""
    _media_proxy.requests.clear()
    for name, value in _media_proxy.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "las-langchain tests")
    return _media_proxy


@pytest.fixture
def service() -> LiteLLMService:
    """A service with the test's environment."""
    return LiteLLMService(load_settings())


class Server:
    """A ``las serve`` process; use it in a with statement, which ends it.

    Attributes:
        url: its root address.
        process: the process.
        announced: what it printed when it started.
    """

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None, cwd: Path | None = None) -> None:
        self._command = self.python("-m", "servers", "serve", "--port", "0", *arguments)
        self._environment = {**os.environ, **(environment or {})}
        self._cwd = cwd
        self.announced = ""

    @staticmethod
    def python(*arguments: str) -> list[str]:
        """The command line of an interpreter."""
        return [sys.executable, *arguments]

    def kill(self) -> None:
        """Kill it at once."""
        self.process.kill()

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.communicate(timeout=30)
        self.errors = self._said()
        return self.process.returncode

    def _said(self) -> str:
        """What it has written to standard error so far."""
        self._log.seek(0)
        return self._log.read()

    def __enter__(self) -> Server:
        # A pipe that nobody reads holds its writer after some six hundred lines of the log.
        self._log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=self._environment,
            cwd=self._cwd,
        )
        try:
            self._read_announcement()
            _wait_until_up(self.url)
        except BaseException:
            self.process.kill()
            self.process.communicate()
            self._log.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            if self.process.returncode is None:
                self.stop()
        finally:
            self.process.kill()
            self._log.close()

    def _read_announcement(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.announced += line
            if line.startswith("Stop with"):
                break
        assert "Page" in self.announced, self._said()
        self.url = next(word for word in self.announced.split() if word.startswith("http://")).rstrip("/")


class WarmServer(Server):
    """The same, started warm; for tests that use :func:`warm_python`."""

    python = staticmethod(warm.command)

    def kill(self) -> None:
        """Kill it at once."""
        os.kill(warm.pid(self.process), signal.SIGKILL)


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What :mod:`tests.warm` forks."""
    with pytest.MonkeyPatch.context() as patch, warm.running(tmp_path_factory.mktemp("warm")) as place:
        patch.setenv(warm.PLACE, place)
        yield


def _wait_until_up(url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    # The socket is bound before the address is printed, so this only waits for the first answer.
    with opener.open(f"{url}/health", timeout=30) as response:
        assert response.status == 200


@pytest.fixture(scope="session")
def server(data_dir: Path, tmp_path_factory: pytest.TempPathFactory, _upstream: FakeOpenAI) -> Iterator[Server]:
    """One running server, with the upstream double as the provider ``openai``."""
    environment = {
        "LAS_DATA_DIR": str(data_dir),
        "LAS_MAX_BODY_MB": "1",
        "OPENAI_API_KEY": UPSTREAM_KEY,
        "OPENAI_BASE_URL": _upstream.url,
        "OLLAMA_BASE_URL": "http://127.0.0.1:9",
    }
    with Server(environment=environment, cwd=tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def chain_data(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of :func:`chain_server`: threads and documents of its own."""
    folder = tmp_path_factory.mktemp("chains")
    (folder / "models").symlink_to(data_dir / "models")
    return folder


@pytest.fixture(scope="session")
def documents(chain_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of documents that :func:`chain_server` has read."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "kettle.md").write_text("The Zephyr kettle boils a litre in two minutes. Its guarantee is three years.\n")
    (folder / "rules.md").write_text("Members of the Thursday club bring cake, and leave their hats at the door.\n")
    settings = LASSettings(data_dir=chain_data)
    with using(LiteLLMService(settings)):
        Ingestion(settings).run([folder])
    return folder


@pytest.fixture(scope="session")
def _chain_server(
    chain_data: Path,
    documents: Path,
    tmp_path_factory: pytest.TempPathFactory,
    _upstream: FakeOpenAI,
    warm_python: None,
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("chain-server")
    named = "\n".join(f'{name} = "tests.user_chains:{name}"' for name in USER_CHAINS)
    (folder / "las.toml").write_text(f'model = "openai/gpt-4o"\n[chains]\n{named}\nmissing = "tests.nothing:here"\n')
    environment = {
        "LAS_DATA_DIR": str(chain_data),
        "LAS_MAX_BODY_MB": "1",
        "OPENAI_API_KEY": UPSTREAM_KEY,
        "OPENAI_BASE_URL": _upstream.url,
        "PYTHONPATH": str(ROOT),
    }
    with WarmServer("tests.user_chains:model", environment=environment, cwd=folder) as running:
        yield running


@pytest.fixture
def chain_server(_chain_server: Server, _upstream: FakeOpenAI) -> Server:
    """One running server that publishes chains of users too; its default model is the upstream double's ``gpt-4o``."""
    _upstream.reset()
    return _chain_server
