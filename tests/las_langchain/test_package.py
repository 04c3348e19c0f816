"""What importing costs, and what is exported."""

from __future__ import annotations

import subprocess
import sys

import pytest

import las_langchain
from tests.fake_openai import FakeOpenAI

HEAVY = ("litellm", "fastapi", "openai", "langchain_core", "xllamacpp", "pydantic", "numpy")


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after *code*."""
    script = f"{code}\nimport sys; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert modules_after("import las_langchain").isdisjoint(HEAVY)


def test_importing_the_models_loads_neither_litellm_nor_fastapi_nor_openai() -> None:
    loaded = modules_after("from las_langchain import ChatLAS, LASEmbeddings; ChatLAS()")
    assert loaded.isdisjoint({"litellm", "fastapi", "openai", "xllamacpp"})


def test_a_local_call_does_not_load_litellm() -> None:
    loaded = modules_after("from las_langchain import ChatLAS; ChatLAS(max_tokens=2).invoke('hi')")
    assert "xllamacpp" in loaded
    assert "litellm" not in loaded


def test_a_providers_model_needs_no_extra(upstream: FakeOpenAI) -> None:
    extras = ("fastapi", "uvicorn", "prometheus_client", "xllamacpp", "gguf", "numpy", "safetensors", "boto3", "redis")
    code = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {(*extras, "opentelemetry", "psycopg", "langchain", "langchain_community")}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from las_langchain import ChatLAS, LASEmbeddings

print(ChatLAS(model="openai/gpt-4o").invoke("hello").content)
print(len(LASEmbeddings(model="openai/text-embedding-3-small").embed_query("hello")) > 1)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (0, "Echo: hello\nTrue\n"), result.stderr


def test_exports_are_sorted_and_importable() -> None:
    assert las_langchain.__all__ == sorted(las_langchain.__all__)
    assert dir(las_langchain) == las_langchain.__all__
    other_names = {"LiteLLMConfig": "LASSettings"}
    for name in las_langchain.__all__:
        assert getattr(las_langchain, name).__name__ == other_names.get(name, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ChatGPT'"):
        las_langchain.ChatGPT  # noqa: B018
