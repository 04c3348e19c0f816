"""LiteLLM Proxy, in an environment of its own: it wants other versions than this package.

It has one worker, a master key and no database; what it would tell its makers is off. Making the environment takes a
minute or two, once. ``python -m benchmarks.serving.proxy`` does only that.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.serving import upstream

FOLDER = Path(__file__).resolve().parents[2] / ".artifacts" / "litellm-proxy"
LIMIT = 600.0
"""Seconds that installing may take."""


def installed() -> bool:
    """Whether it is there, in the version of the litellm that this package has."""
    noted = FOLDER / "version"
    return noted.is_file() and noted.read_text() == importlib.metadata.version("litellm")


def ready() -> str | None:
    """Install it, unless that is done; gives the reason why that does not work."""
    if installed():
        return None
    version = importlib.metadata.version("litellm")
    print(f"installing LiteLLM Proxy {version} into {FOLDER}, once", file=sys.stderr, flush=True)
    # With bytecode, which a first start would else have to make.
    install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--compile",
        f"litellm[proxy]=={version}",
    ]
    try:
        for command in ([sys.executable, "-m", "venv", "--clear", str(FOLDER)], [str(FOLDER / "bin/python"), *install]):
            subprocess.run(command, check=True, capture_output=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"installing it took longer than {LIMIT:g} s"
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.decode(errors="replace").splitlines() if line.startswith("ERROR")]
        return f"it cannot be installed: {said[-1] if said else error}"
    (FOLDER / "version").write_text(version)
    return None


def command(key: str, model: str) -> Callable[[int, Path, str], list[str]]:
    """Makes its command line, and its configuration in the folder that it works in."""

    def made(port: int, folder: Path, url: str) -> list[str]:
        reached = {"model": model, "api_base": url, "api_key": upstream.KEY}
        config = {
            "model_list": [{"model_name": model, "litellm_params": reached}],
            "general_settings": {"master_key": key},
            "litellm_settings": {"telemetry": False},
        }
        # JSON is YAML.
        (folder / "config.yaml").write_text(json.dumps(config))
        options = ["--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        return [str(FOLDER / "bin/litellm"), *options, "--telemetry", "False"]

    return made


if __name__ == "__main__":
    sys.exit(ready())
