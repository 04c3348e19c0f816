"""The README's snippets, executed: the first screen word for word, against a real server and the embedded model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server, WarmServer
from tests.fake_openai import FakeOpenAI
from tests.warm import command as warm_command

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def snippets(language: str) -> list[str]:
    """The code blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def snippet(language: str, words: str) -> str:
    """The one code block that has *words* in it."""
    (found,) = [block for block in snippets(language) if words in block]
    return found


def shell(command: str, folder: Path | None = None) -> str:
    """The output of a command, with ``las`` where a user has it."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-ec", command],
        env={**os.environ, "PATH": path},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def run(code: str, *, warm: bool = False) -> str:
    """The output of a Python snippet in an interpreter of its own, which has imported nothing or, if *warm*, much."""
    command = warm_command("-c", code) if warm else [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def here(snippet: str, server: Server) -> str:
    """*snippet* for the test's server instead of the default address."""
    assert "http://127.0.0.1:7777" in snippet
    return snippet.replace("http://127.0.0.1:7777", server.url)


def test_the_first_screen_has_two_commands_a_curl_a_python_and_a_langchain_snippet() -> None:
    commands, curl = snippets("bash")[:2]
    assert [line.split("#")[0].strip() for line in commands.splitlines()] == ["make serve", "make test"]
    assert curl.startswith("curl ")
    python, langchain = snippets("python")[:2]
    assert "from openai import OpenAI" in python
    assert "from las_langchain import ChatLAS" in langchain
    assert README.index(langchain) < README.index("\n## ")


def test_the_two_commands_do_what_is_said() -> None:
    for target, expected in (("serve", "las serve"), ("test", "-m pytest")):
        planned = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
        assert expected in planned.stdout


def test_curl(server: Server) -> None:
    answer = json.loads(shell(here(snippets("bash")[1], server)))
    assert "Paris" in answer["choices"][0]["message"]["content"]


def test_the_openai_client(server: Server) -> None:
    assert "Paris" in run(here(snippets("python")[0], server))


def test_langchain() -> None:
    answer, dimensions = run(snippets("python")[1]).splitlines()
    assert "Paris" in answer
    assert dimensions == "384"


def test_models_of_providers_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(snippets("python")[2]) == ""


@pytest.fixture
def own_data(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder of the test's own, with the embedded models."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "models").symlink_to(data_dir / "models")
    monkeypatch.setenv("LAS_DATA_DIR", str(tmp_path / "data"))


def test_every_las_command(upstream: FakeOpenAI, own_data: None, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("some notes")
    (tmp_path / "cat.png").write_bytes(b"png")
    for line in snippet("bash", "las chat").splitlines():
        if not line.startswith("las serve"):  # does not end by itself; the server fixture runs it
            shell(line)
    assert len(upstream.requests) == 2


def test_a_chain_as_a_model(server: Server) -> None:
    printed = run(here(snippet("python", 'model="chains/agent"'), server))
    assert "calculator" in printed
    assert "84" in printed
    assert "tokens in all calls of the run" in printed


# Chains


def test_documents_are_read(own_data: None, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("docs/notes.md", "README.md"):
        (tmp_path / name).write_text("The Zephyr kettle boils a litre in two minutes.")
    read, serve = snippet("bash", "las ingest docs/").splitlines()
    assert shell(read).startswith("2 added")
    assert serve.startswith("las serve ")


def test_a_chain_from_afar(chain_server: Server, warm_python: None) -> None:
    output = run(here(snippet("python", "RemoteRunnable"), chain_server), warm=True)
    assert output == "Echo: What is the capital of France?\nEcho: Which river flows through it?"
    answer = json.loads(shell(here(snippet("bash", "/summarize/invoke"), chain_server)))
    assert "Paris is the capital of France" in answer["output"]["content"]


def test_a_chain_without_the_server(own_data: None, warm_python: None) -> None:
    assert "84" in run(snippet("python", "ChainRegistry"), warm=True)


def test_a_chain_of_ones_own(upstream: FakeOpenAI, warm_python: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAS_MODEL", "openai/gpt-4o")
    made = snippet("python", "class Topic(BaseModel)")
    used = "print(joke.build(None).invoke({'topic': 'cats'}).content)"
    assert run(f"{made}\n{used}", warm=True) == "Echo: Tell me a joke about cats\n"


def test_your_own_chains(own_data: None, warm_python: None, tmp_path: Path) -> None:
    (tmp_path / "my_package").mkdir()
    for module, name in (("chains", "support"), ("agents", "clerk")):
        (tmp_path / "my_package" / f"{module}.py").write_text(f"def {name}(text: str) -> str:\n    return text\n")
    (tmp_path / "las.toml").write_text(snippet("toml", "[chains]"))
    command = snippet("bash", "las serve my_package").split()
    with WarmServer(*command[2:], cwd=tmp_path) as running:
        chains = {chain["name"]: chain["error"] for chain in httpx.get(f"{running.url}/chains").json()["chains"]}
    assert chains["support"] is chains["clerk"] is None


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", ".env.example", ".ci/run", "Makefile"])
def test_named_files_exist(name: str) -> None:
    assert (ROOT / name).is_file()
