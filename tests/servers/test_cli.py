"""The ``las`` command, run as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from las_langchain.errors import ConfigurationError
from las_langchain.settings import load_settings
from las_langchain.usage import Ledger
from las_langchain.usage.ledger import FILE
from tests import warm
from tests.conftest import ROOT, UPSTREAM_KEY, WarmServer
from tests.fake_openai import FakeOpenAI, Reply

pytestmark = pytest.mark.usefixtures("warm_python")


def las(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``las`` with *arguments*; standard input is never a terminal."""
    return subprocess.run(
        warm.command("-m", "servers", *arguments),
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


def test_chat_answers() -> None:
    result = las("chat", "What is the capital of France?")
    assert (result.returncode, result.stderr) == (0, "")
    assert "Paris" in result.stdout


def test_chat_reads_standard_input_after_or_instead_of_the_prompt(upstream: FakeOpenAI) -> None:
    assert las("chat", "--model", "openai/gpt-4o", stdin="from stdin").stdout == "Echo: from stdin\n"
    las("chat", "Summarise:", "-m", "openai/gpt-4o", "--system", "Be brief", stdin="a text\n")
    assert upstream.last.body["messages"] == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "Summarise:\n\na text"},
    ]


def test_chat_streams_as_it_comes(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(chunks=["first ", "second"], chunk_delay=1.0))
    command = warm.command("-m", "servers", "chat", "x", "-m", "openai/gpt-4o")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.read(6) == "first "
        begin = time.monotonic()
        assert process.stdout.read() == "second\n"
        assert time.monotonic() - begin > 0.5


def test_chat_sends_images(upstream: FakeOpenAI, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"png")
    las("chat", "See", "-m", "openai/gpt-4o", "--image", "cat.png", "--image", "https://example.com/dog.jpg")
    text, cat, dog = upstream.last.body["messages"][0]["content"]
    assert text == {"type": "text", "text": "See"}
    assert cat["image_url"]["url"] == "data:image/png;base64,cG5n"
    assert dog["image_url"]["url"] == "https://example.com/dog.jpg"


def test_embed_prints_a_vector_a_line() -> None:
    first, second = las("embed", "a cat", "a dog").stdout.splitlines()
    assert len(json.loads(first)) == len(json.loads(second)) == 384
    assert las("embed", stdin="a cat\n\na dog\n").stdout.splitlines() == [first, second]


def test_models_and_providers_are_listed(upstream: FakeOpenAI) -> None:
    listed = las("models").stdout.splitlines()
    assert listed[:2] == ["local/all-minilm-l6-v2", "local/smollm2-135m-instruct"]
    assert "openai/gpt-4o" in listed
    assert all(name.startswith("groq/") for name in las("models", "--provider", "groq").stdout.splitlines())
    rows = {line.split()[0]: line for line in las("providers").stdout.splitlines() if line}
    assert "needs no key" in rows["ollama"]
    assert "ready" in rows["openai"]
    assert "set ANTHROPIC_API_KEY" in rows["anthropic"]
    assert "mistral" in rows["And"]


def test_local_install_is_repeatable() -> None:
    result = las("local", "install")
    assert result.returncode == 0
    assert result.stderr.splitlines() == [
        "local/smollm2-135m-instruct is installed",
        "local/all-minilm-l6-v2 is installed",
    ]


def test_local_install_needs_a_folder_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = las("local", "install", LAS_DATA_DIR=str(tmp_path / "file"))
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].endswith("Not a directory; LAS_DATA_DIR names another folder")


WRONG: list[tuple[list[str], dict[str, str], str]] = [
    (["chat"], {}, "Nothing to ask: give a prompt"),
    (["embed"], {}, "Nothing to embed: give texts"),
    (["chat", "x", "-m", "opnai/gpt-4o"], {}, "did you mean 'openai'?"),
    (["chat", "x", "-m", "local/gpt"], {}, "There is no local chat model 'gpt', only local/smollm2-135m-instruct"),
    (["chat", "x", "-m", "anthropic/claude-3-opus"], {}, "No key for Anthropic: set ANTHROPIC_API_KEY"),
    (
        ["chat", "x", "-m", "ollama/llama3.2"],
        {"OLLAMA_BASE_URL": "http://127.0.0.1:9", "LAS_MAX_RETRIES": "0"},
        "Ollama does not answer at http://127.0.0.1:9: start it, or set OLLAMA_BASE_URL",
    ),
    (["chat", "x"], {"LAS_LOCAL_MODEL": "/no/such.gguf"}, "LAS_LOCAL_MODEL: no such file; set it to a GGUF file"),
    (["serve"], {"LAS_LOCAL_MODEL": "/no/such.gguf"}, "LAS_LOCAL_MODEL: no such file; set it to a GGUF file"),
    (["serve"], {"LAS_LOCAL_MODEL": __file__, "LAS_LOCAL_MMPROJ": "/no/such.gguf"}, "LAS_LOCAL_MMPROJ: no such file"),
    (["serve"], {"LAS_LOCAL_MMPROJ": "/no/such.gguf"}, "set LAS_LOCAL_MODEL too"),
    (["chat", "x"], {"LAS_DATA_DIR": "/no/such/folder"}, "is not installed: run `las local install` once"),
    (["chat", "x"], {"LAS_TIMEOUT": "soon"}, "LAS_TIMEOUT: Input should be a valid number"),
    (["chat", "x"], {"LAS_CONFIG": "/no/las.toml"}, "LAS_CONFIG: no such file: /no/las.toml"),
    (["chat", "x", "-i", "/etc/hostname"], {}, "is not named like an image"),
    (["chat", "x", "-i", "nothing.png"], {}, "--image: nothing.png: No such file"),
    (["chat", "x", "-i", __file__.replace(".py", ".png")], {}, "No such file"),
    (["models", "--provider", "opnai"], {}, "did you mean 'openai'?"),
    (
        ["models"],
        {"LAS_CHAINS": "{}"},
        "LAS_CHAINS in the environment: it is a table; write it into las.toml, as [chains]",
    ),
]


@pytest.mark.parametrize(("arguments", "environment", "message"), WRONG)
def test_mistakes_end_with_one_line_and_code_2(arguments: list[str], environment: dict[str, str], message: str) -> None:
    result = las(*arguments, **environment)
    assert result.returncode == 2
    assert result.stderr.startswith("las: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


TABLES = [
    ("agent = []", "agent: expected a table"),
    ("[agent]\ntool = []", "agent.tool: there is no such setting"),
    ("[agent.mcp]\nfiles = 1", "agent.mcp.files: expected a table"),
    ("[agent.mcp.files]", "agent.mcp.files: give either command or url"),
    ('[chains]\n"my chain" = "m:x"', "chains.my chain: a chain's name has up to 64 letters, digits, - and _"),
    ('[chains]\nmine = "m"', "chains.mine: expected module:name, such as my_package.chains:support"),
    ('[documents]\nloaders = { docx = "X" }', "documents.loaders.docx: expected the end of a file's name"),
    ("[documents]\nchunk_overlap = 2000", "documents: chunk_overlap must be smaller than chunk_size"),
]


@pytest.mark.parametrize(("toml", "message"), TABLES)
def test_a_mistake_in_a_table_is_named(toml: str, message: str) -> None:
    Path("las.toml").write_text(toml)
    with pytest.raises(ConfigurationError) as error:
        load_settings()
    assert error.value.message.startswith(message)
    assert "\n" not in error.value.message


def test_a_terminal_without_unicode_gets_what_it_can_show(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="né à Zürich"))
    result = las("chat", "x", "-m", "openai/gpt-4o", PYTHONIOENCODING="ascii")
    assert (result.stdout, result.returncode) == ("n? ? Z?rich\n", 0)


def test_standard_input_that_is_no_text_is_refused() -> None:
    command = warm.command("-m", "servers", "embed")
    result = subprocess.run(command, input=b"\xff\xfe", capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (2, b"las: Standard input is not text\n")


@pytest.mark.parametrize("arguments", [["nonsense"], ["chat", "--nonsense"], ["serve", "--port", "x"]])
def test_wrong_usage_is_code_2(arguments: list[str]) -> None:
    result = las(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = las("serve", "--port", str(port))
    assert result.returncode == 2
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --port" in result.stderr


def test_serve_announces_every_address_and_ends_with_ctrl_c(data_dir: Path) -> None:
    with WarmServer() as server:
        for path in ("/", "/v1", "/v1/models", "/docs", "/health"):
            assert f"{server.url}{path}" in server.announced
        assert "local/smollm2-135m-instruct" in server.announced
        assert server.stop(signal.SIGINT) == 0


def test_a_chain_that_cannot_be_imported_is_named_at_start(data_dir: Path) -> None:
    with WarmServer("tests.nothing:here", "tests.user_chains:whole", environment={"PYTHONPATH": str(ROOT)}) as server:
        listed = httpx.get(f"{server.url}/chains", trust_env=False, timeout=60).json()["chains"]
        server.stop()
    assert "The chain here cannot be used: ModuleNotFoundError: No module named 'tests.nothing'" in server.errors
    assert "Traceback" not in server.errors
    assert {chain["name"]: chain["error"] is None for chain in listed if chain["name"] in ("here", "whole")} == {
        "here": False,
        "whole": True,
    }


def test_what_names_no_chain_is_refused(data_dir: Path) -> None:
    result = las("serve", "my_chain.py", "--port", "0")
    assert result.returncode == 2
    assert "'my_chain.py' names no chain: expected module:runnable" in result.stderr


def test_listening_to_everybody_needs_keys(data_dir: Path) -> None:
    refused = las("serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert "LAS_HOST=0.0.0.0: other machines can reach the server there" in refused.stderr
    assert "set LAS_API_KEYS" in refused.stderr
    with WarmServer("--host", "0.0.0.0", environment={"LAS_API_KEYS": "sk-one"}) as server:
        assert server.url.startswith("http://127.0.0.1:")


def test_ctrl_c_stops_a_chat_at_once(upstream: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAS_DATA_DIR", str(tmp_path))
    upstream.enqueue(Reply(content="word " * 400, chunk_delay=0.05))
    command = warm.command("-m", "servers", "chat", "x", "-m", "openai/gpt-4o")
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.read(5)
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors == ""
    # What was streamed until then is paid for.
    (row,) = Ledger(tmp_path / FILE).calls()
    assert (row["status"], row["tokens_estimated"]) == ("cancelled", True)


def test_a_reader_that_has_enough_is_no_error() -> None:
    command = f"{sys.executable} -m servers models --provider openai | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1


def test_a_terminal_is_not_waited_for(upstream: FakeOpenAI) -> None:
    controller, terminal = pty.openpty()
    try:
        result = subprocess.run(
            warm.command("-m", "servers", "chat", "hi", "-m", "openai/gpt-4o"),
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    finally:
        os.close(controller)
        os.close(terminal)
    assert result.stdout == "Echo: hi\n"


def test_keys_appear_nowhere(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(status=401, error={"message": f"Incorrect API key provided: {UPSTREAM_KEY}"}))
    result = las("chat", "x", "-m", "openai/gpt-4o")
    assert result.returncode == 2
    assert UPSTREAM_KEY not in result.stdout + result.stderr


def test_the_console_script_is_installed() -> None:
    script = shutil.which("las", path=str(Path(sys.executable).parent))
    assert script is not None
    result = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert "serve" in result.stdout
