"""``las ingest``, run as a user runs it."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from chains.documents.store import DocumentStore
from tests import warm
from tests.chains.documents.files import encrypted, pdf_of

pytestmark = pytest.mark.usefixtures("warm_python")


@pytest.fixture
def folder(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of documents, and a data folder of its own with the embedded models."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/models").symlink_to(data_dir / "models")
    monkeypatch.setenv("LAS_DATA_DIR", str(tmp_path / "data"))
    made = tmp_path / "docs"
    made.mkdir()
    (made / "cats.md").write_text("# Cats\n\nCats sleep.")
    (made / "dogs.txt").write_text("Dogs run.")
    return made


def las(*arguments: str | Path, command: str = "ingest") -> subprocess.CompletedProcess[str]:
    """Run ``las ingest`` with *arguments*."""
    return subprocess.run(
        warm.command("-m", "servers", command, *map(str, arguments)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_documents_are_read_listed_and_removed(folder: Path, tmp_path: Path) -> None:
    (folder / "secret.pdf").write_bytes(encrypted(pdf_of(["x"]), "pass"))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    (folder / "picture.png").write_bytes(b"\x89PNG\0")

    result = las(folder)

    assert (result.returncode, result.stdout) == (0, "2 added, 0 changed, 0 unchanged, 0 deleted, 3 skipped\n")
    broken, picture, secret = result.stderr.splitlines()
    assert broken.startswith(f"las: {folder}/broken.pdf: skipped, broken PDF (")
    assert picture == f"las: {folder}/picture.png: skipped, binary"
    assert secret == f"las: {folder}/secret.pdf: skipped, encrypted PDF"

    (folder / "dogs.txt").unlink()
    (folder / "cats.md").write_text("# Cats\n\nCats jump.")
    assert las(folder).stdout == "0 added, 1 changed, 0 unchanged, 1 deleted, 3 skipped\n"

    listed = las("--list")
    assert (listed.returncode, listed.stdout) == (0, f"     1  {folder}/cats.md\n")
    assert listed.stderr == f"1 file, 1 passage in {tmp_path}/data/documents.sqlite3\n"

    removed = las("--remove", folder)
    assert (removed.returncode, removed.stdout, removed.stderr) == (0, "1 file removed\n", "")
    assert DocumentStore(tmp_path / "data/documents.sqlite3").sources() == []


def test_a_terminal_gets_a_bar_and_the_summary(folder: Path) -> None:
    main, terminal = pty.openpty()
    command = warm.command("-m", "servers", "ingest", str(folder))
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal, env=environment) as process:
        os.close(terminal)
        shown = b""
        while True:
            try:
                piece = os.read(main, 65_536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        assert process.stdout is not None
        assert process.stdout.read() == b"2 added, 0 changed, 0 unchanged, 0 deleted, 0 skipped\n"
    os.close(main)
    assert b"2/2" in shown
    assert b"passages" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.pdf"], "missing.pdf: no such file or folder"),
        ([], "Nothing to read: give files or folders, as in `las ingest manual.pdf docs/`"),
        (["--remove"], "Nothing to read: give files or folders, as in `las ingest manual.pdf docs/`"),
        (["--remove", "missing"], "missing: no documents of it are stored; las ingest --list shows them"),
        (["--list", "docs"], "--list: takes neither paths nor --remove"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(folder: Path, arguments: list[str], said: str) -> None:
    result = las(*arguments)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"las: {said}\n")


def test_nothing_that_could_be_read_is_an_error(folder: Path) -> None:
    (folder / "only.bin").write_bytes(b"\0")
    result = las(folder / "only.bin")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"las: {folder}/only.bin: skipped, binary",
        f"las: Nothing could be read in {folder}/only.bin",
    ]


def test_an_empty_store_lists_nothing(folder: Path) -> None:
    result = las("--list")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.startswith("0 files, 0 passages in ")


def test_names_cannot_steer_the_terminal(folder: Path) -> None:
    (folder / "a\x1b[31m[red].txt").write_text("Red.")
    (folder / "b\x1b[2J.bin").write_bytes(b"\0")
    result = las(folder)
    assert (result.returncode, result.stderr) == (0, f"las: {folder}/b?[2J.bin: skipped, binary\n")
    assert f"{folder}/a?[31m[red].txt" in las("--list").stdout
