"""Which chains there are, and what becomes of those that fail."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import Runnable, RunnableLambda

from chains import Chain, ChainRegistry
from chains.registry import BUILT_IN, imported
from las_langchain.errors import ConfigurationError, ModelNotFoundError
from las_langchain.service import LiteLLMService, get_litellm_service
from las_langchain.settings import LASSettings, load_settings

USERS = "tests.user_chains"


@pytest.fixture
def module(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """Writes a module into the working folder, and gives its name."""

    def write(text: str) -> str:
        name = f"mine_{abs(hash((request.node.nodeid, text)))}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def test_the_built_in_ones_are_there(service: LiteLLMService) -> None:
    registry = ChainRegistry(service)
    assert registry.names == list(BUILT_IN)
    assert registry.failures == {}
    for chain in map(registry.chain, registry.names):
        assert isinstance(chain, Chain)
        assert chain.title
        assert chain.description.endswith(".")
        fields = chain.input_type.model_fields
        assert all(field.description and field.examples for field in fields.values()), chain.name


def test_without_their_packages_they_say_what_to_install() -> None:
    code = """
import sys
sys.modules["langgraph"] = None  # As where it is not installed.
from chains import ChainRegistry
from las_langchain import LiteLLMService
registry = ChainRegistry(LiteLLMService())
print(registry.failures)
try:
    registry.runnable("chat")
except Exception as error:
    print(type(error).__name__, error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    needs = "ConfigurationError The chain chat needs an extra: pip install 'las-langchain[chains]'"
    assert result.stdout.splitlines() == ["{}", needs]


def test_references_and_settings_are_published(service: LiteLLMService) -> None:
    settings = LASSettings(chains={"mine": f"{USERS}:joke", "chat": f"{USERS}:clerk"})
    registry = ChainRegistry(LiteLLMService(settings), [f"{USERS}:model"])
    assert registry.names == [*BUILT_IN, "mine", "model"]
    assert registry.chain("mine").title == "RunnableSequence"
    assert registry.chain("chat").title == "LangGraph"  # It replaces the built-in one.


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("tests.nothing:here", "No module named 'tests.nothing'"),
        (f"{USERS}:jok", "did you mean 'joke'"),
        (f"{USERS}:no_chain", "int is no chain"),
    ],
)
def test_one_that_fails_is_named_and_keeps_no_other_from_being_used(
    service: LiteLLMService, reference: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    registry = ChainRegistry(service, [reference, f"{USERS}:joke"])
    ((name, line),) = registry.failures.items()
    assert reason in line
    assert f"The chain {name} cannot be used" in caplog.text
    with pytest.raises(ConfigurationError, match=name):
        registry.runnable(name)
    assert isinstance(registry.runnable("joke"), Runnable)


def test_an_import_that_raises_anything(service: LiteLLMService, module: Any) -> None:
    name = module("raise RuntimeError('two\\nlines with sk-0123456789abcdef')")
    registry = ChainRegistry(service, [f"{name}:chain"])
    assert registry.failures == {"chain": "RuntimeError: two lines with ***"}


def test_an_import_that_ends_the_program(service: LiteLLMService, module: Any) -> None:
    name = module("import sys\nsys.exit('usage: mine FILE')")
    assert ChainRegistry(service, [f"{name}:chain"]).failures == {"chain": "SystemExit: usage: mine FILE"}


@pytest.mark.parametrize("reference", ["", "joke", "tests.user_chains", ":joke", "a:b:c", "../x:y", "a-b:c", "a:__"])
def test_what_is_no_reference(service: LiteLLMService, reference: str) -> None:
    with pytest.raises(ConfigurationError):
        ChainRegistry(service, [reference])


def test_two_of_one_name(service: LiteLLMService) -> None:
    with pytest.raises(ConfigurationError, match=r"two chains are named 'joke'.*las\.toml"):
        ChainRegistry(service, [f"{USERS}:joke", "other:joke"])


@pytest.mark.parametrize("chains", [{"a b": "x:y"}, {"": "x:y"}, {"a/b": "x:y"}, {"a": "xy"}, {"a": 7}, ["x:y"]])
def test_settings_that_name_no_chain(chains: Any) -> None:
    with pytest.raises(ConfigurationError, match="chains"):
        load_settings(chains=chains)


def test_unknown_ones(service: LiteLLMService) -> None:
    with pytest.raises(ModelNotFoundError, match="did you mean 'summarize'"):
        ChainRegistry(service).runnable("sumarize")


def test_it_is_built_once_by_however_many_threads_and_with_the_registrys_service(service: LiteLLMService) -> None:
    registry = ChainRegistry(service)
    built: list[LiteLLMService] = []

    def build(settings: LASSettings) -> Runnable[Any, Any]:
        time.sleep(0.1)
        built.append(get_litellm_service())
        assert settings is service.settings
        return RunnableLambda(lambda given: given)

    registry._chains["slow"] = Chain("slow", "Slow", "Slow.", build, str)
    found: list[Runnable[Any, Any]] = []
    threads = [threading.Thread(target=lambda: found.append(registry.runnable("slow"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [service]
    assert len(set(map(id, found))) == 1


def test_a_build_that_failed_is_tried_again(service: LiteLLMService) -> None:
    registry = ChainRegistry(service)
    tries: list[int] = []

    def build(settings: LASSettings) -> Runnable[Any, Any]:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("the disk is full")
        return RunnableLambda(lambda given: given)

    registry._chains["late"] = Chain("late", "Late", "Late.", build, str)
    with pytest.raises(
        ConfigurationError, match=r"late cannot be built; the log says why \(OSError: the disk is full\)"
    ):
        registry.runnable("late")
    assert "late" in registry.failures
    assert registry.runnable("late").invoke(1) == 1
    assert "late" not in registry.failures


def test_a_build_that_makes_no_runnable(service: LiteLLMService) -> None:
    registry = ChainRegistry(service)
    build: Any = lambda settings: len  # noqa: E731
    registry._chains["wrong"] = Chain("wrong", "Wrong", "Wrong.", build, str)
    with pytest.raises(ConfigurationError, match="expected a runnable"):
        registry.runnable("wrong")
    assert "builtin_function" in registry.failures["wrong"]


def test_a_chain_of_a_user_is_renamed(service: LiteLLMService, module: Any) -> None:
    name = module(
        "from chains.chat import CHAIN\nfrom dataclasses import replace\nsupport = replace(CHAIN, title='Support')"
    )
    chain = ChainRegistry(service, [f"{name}:support"]).chain("support")
    assert (chain.name, chain.title) == ("support", "Support")
    assert replace(chain, name="chat", title="").build is ChainRegistry(service).chain("chat").build


def test_nested_attributes(module: Any) -> None:
    name = module("class Bots:\n    support = 7")
    assert imported(f"{name}:Bots.support") == 7


def test_what_is_for_the_operator_is_in_the_log_alone(
    service: LiteLLMService, caplog: pytest.LogCaptureFixture
) -> None:
    registry = ChainRegistry(service)

    def build(settings: LASSettings) -> Runnable[Any, Any]:
        raise ConfigurationError("The file cannot be read", detail="/srv/secret/place")

    registry._chains["closed"] = Chain("closed", "Closed", "Closed.", build, str)
    with pytest.raises(ConfigurationError):
        registry.runnable("closed")
    assert registry.failures == {"closed": "The file cannot be read"}
    assert "The file cannot be read (/srv/secret/place)" in caplog.text
