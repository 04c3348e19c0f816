"""``las cost``, run as a user runs it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from las_langchain.records import Tokens
from las_langchain.usage import Ledger
from tests import warm
from tests.ledger_process import record

if TYPE_CHECKING:
    from tests.postgres import Postgres

pytest_plugins = ["tests.postgres"]
pytestmark = pytest.mark.usefixtures("warm_python")

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
EMPTY = {"calls": 0, "errors": 0, "cache_hits": 0, "prompt_tokens": 0, "completion_tokens": 0, "unpriced": 0}
EMPTY_TOTAL = {"group": None, **EMPTY, "cost_usd": None, "seconds": None, "first_token_seconds": None}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of this test."""
    monkeypatch.setenv("LAS_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def used(folder: Path) -> Path:
    """A data folder whose ledger holds four calls."""
    with Ledger(folder / "usage.sqlite3") as ledger:
        for fields in (
            {"key_id": "alice", "tokens": Tokens(prompt=12_000, completion=345), "cost_usd": 1.25, "started": NOON},
            {"key_id": "bob", "cost_usd": 0.000321, "started": NOON - timedelta(days=1), "first_token_seconds": 0.25},
            {"model": "ollama/[bold]llama:3b", "cost_usd": None, "started": NOON, "seconds": 0.5},
            {"model": "groq/llama", "status": "error", "tokens": None, "cost_usd": None, "started": NOON},
        ):
            ledger.write(record(**fields))
    return folder


def las(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``las cost`` with *arguments*."""
    return warm.las("cost", *arguments, **environment)


def table(*arguments: str) -> list[list[str]]:
    """The cells of the table that is printed, line by line, and the words of what follows it."""
    result = las(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return [words for line in result.stdout.splitlines() if (words := line.split()) and not words[0].startswith("─")]


def as_json(*arguments: str) -> dict[str, Any]:
    """What ``--json`` prints."""
    result = las("--json", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    printed: dict[str, Any] = json.loads(result.stdout)
    return printed


@pytest.mark.usefixtures("used")
def test_a_table_by_model() -> None:
    assert table() == [
        ["tokens", "tokens", "mean", "first"],
        ["model", "calls", "errors", "cached", "in", "out", "cost", "seconds", "token"],
        ["openai/gpt-4o", "2", "0", "0", "12,010", "350", "$1.25", "1.50", "0.25"],
        ["groq/llama", "1", "1", "0", "0", "0", "–", "1.50", "–"],
        ["ollama/[bold]llama:3b", "1", "0", "0", "10", "5", "–", "0.50", "–"],
        ["total", "4", "1", "0", "12,020", "355", "$1.25", "1.25", "0.25"],
        "The price of 1 of 4 calls is not known; the sums leave it out.".split(),
    ]


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("provider", ["openai", "groq", "ollama"]),
        ("day", ["2026-11-03", "2026-11-02"]),
        ("key", ["alice", "bob", "–"]),
        ("chain", ["–"]),
        ("status", ["ok", "error"]),
    ],
)
def test_other_groups(by: str, groups: list[str]) -> None:
    lines = table("--by", by)[1:]
    assert lines[0][0] == by
    assert [line[0] for line in lines[1 : 1 + len(groups)]] == groups
    assert lines[1 + len(groups)][0] == "total"


@pytest.mark.usefixtures("used")
def test_json() -> None:
    printed = as_json("--by", "key", "--key", "bob")
    bobs = {**EMPTY, "calls": 1, "prompt_tokens": 10, "completion_tokens": 5, "cost_usd": 0.000321, "seconds": 1.5}
    bobs["first_token_seconds"] = 0.25
    assert printed == {"by": "key", "rows": [{"group": "bob", **bobs}], "total": {"group": None, **bobs}}


@pytest.mark.usefixtures("used")
def test_a_span_of_days() -> None:
    assert as_json("--since", "2026-11-03")["total"]["calls"] == 3
    assert as_json("--until", "2026-11-02")["total"]["calls"] == 1
    assert as_json("--since", "2026-11-02", "--until", "2026-11-03")["total"]["calls"] == 4
    assert las("--since", "2026-11-04").stdout.startswith("No such calls in ")


@pytest.mark.usefixtures("used")
def test_cents_and_less() -> None:
    assert table("--key", "bob")[2][6] == "$0.000321"


def test_an_empty_ledger(folder: Path) -> None:
    result = las()
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"No calls yet in {folder / 'usage.sqlite3'}\n"
    assert as_json() == {"by": "model", "rows": [], "total": EMPTY_TOTAL}
    off = las(LAS_ENABLE_COST_TRACKING="false").stdout
    assert off == f"No calls yet in {folder / 'usage.sqlite3'}; LAS_ENABLE_COST_TRACKING is off\n"


def test_on_postgresql(postgres: Postgres) -> None:
    url = postgres.new_schema()
    assert las(LAS_DATABASE_URL=url).stdout.startswith("No calls yet in postgresql://las:***@/postgres")
    with Ledger(url) as ledger:
        ledger.write(record(model="openai/a-model"))
    assert "openai/a-model" in las(LAS_DATABASE_URL=url).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--by", "modle"],
            "--by: expected one of model, provider, day, key, chain, status, not 'modle'; did you mean 'model'?",
        ),
        (["--since", "yesterday"], "--since: expected a day such as 2026-11-03, not 'yesterday'"),
        (["--until", "2026-02-30"], "--until: expected a day such as 2026-11-03, not '2026-02-30'"),
    ],
)
def test_mistakes_are_named(arguments: list[str], message: str, folder: Path) -> None:
    result = las(*arguments)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"las: {message}\n")
    assert not folder.exists()


def test_a_ledger_that_cannot_be_read(folder: Path) -> None:
    folder.mkdir()
    (folder / "usage.sqlite3").write_text("These are my notes.\n" * 100)
    result = las()
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "las: The ledger cannot be used; check its file, its folder (LAS_DATA_DIR) and the disk "
        f"({folder / 'usage.sqlite3'}: file is not a database)\n"
    )


def test_a_long_name_is_whole_in_a_file(folder: Path) -> None:
    name = "openai/" + "x" * 120
    with Ledger(folder / "usage.sqlite3") as ledger:
        ledger.write(record(model=name))
        ledger.write(record(model="openai/\x1b[2J\x1b]0;gone"))
    output = las().stdout
    assert name in output
    assert "\x1b" not in output
    assert "openai/?[2J?]0;gone" in output


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(("columns", "longest"), [(80, 80), (40, 80), (200, 92)])
def test_on_a_terminal_it_fits_and_nothing_is_cut(columns: int, longest: int) -> None:
    lines = _on_a_terminal(columns)
    assert max(map(len, lines)) <= longest
    figures = [line.split()[1:] for line in lines]
    assert ["2", "0", "0", "12,010", "350", "$1.25", "1.50", "0.25"] in figures
    assert ["4", "1", "0", "12,020", "355", "$1.25", "1.25", "0.25"] in figures


def _on_a_terminal(columns: int) -> list[str]:
    """The lines that ``las cost`` prints on a terminal so wide."""
    first, second = pty.openpty()
    fcntl.ioctl(second, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = warm.command("-m", "servers", "cost")
    with subprocess.Popen(
        command, stdin=second, stdout=second, env={**environment, "TERM": "xterm", "NO_COLOR": "1"}
    ) as process:
        os.close(second)
        output = b""
        while chunk := _read(first):
            output += chunk
    os.close(first)
    assert process.returncode == 0
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in output.decode().splitlines()]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when the other end is closed.
        return b""
