"""The README's snippets, executed: the first screen word for word, against a real server and the embedded model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Server
from tests.fake_openai import FakeOpenAI

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def snippets(language: str) -> list[str]:
    """The code blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def run(code: str) -> str:
    """The output of a Python snippet in an interpreter of its own."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
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
    command = here(snippets("bash")[1], server)
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert "Paris" in json.loads(result.stdout)["choices"][0]["message"]["content"]


def test_the_openai_client(server: Server) -> None:
    assert "Paris" in run(here(snippets("python")[0], server))


def test_langchain() -> None:
    answer, dimensions = run(snippets("python")[1]).splitlines()
    assert "Paris" in answer
    assert dimensions == "384"


def test_models_of_providers_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(snippets("python")[2]) == ""


def test_every_las_command(upstream: FakeOpenAI, tmp_path: Path) -> None:
    (block,) = [block for block in snippets("bash") if block.startswith("las chat")]
    (tmp_path / "notes.txt").write_text("some notes")
    (tmp_path / "cat.png").write_bytes(b"png")
    script_folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{script_folder}:{os.environ['PATH']}"}
    for line in block.splitlines():
        command = line.split("  #")[0].strip()
        if command.startswith("las serve"):
            continue  # does not end by itself; the server fixture runs it
        subprocess.run(
            ["bash", "-c", command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=True,
        )
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", ".env.example", ".ci/run", "Makefile"])
def test_named_files_exist(name: str) -> None:
    assert (ROOT / name).is_file()
