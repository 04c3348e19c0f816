"""The tools under their names."""

from __future__ import annotations

import subprocess
import sys

import pytest
from langchain_core.tools import BaseTool, tool

from chains.tools.catalog import named_apart, to_approve


def called(name: str) -> BaseTool:
    @tool(name)
    def run(text: str) -> str:
        """Run."""
        return name

    return run


def test_only_names_that_clash_get_their_servers() -> None:
    served = {"one": [called("search"), called("read")], "two": [called("search"), called("clock")]}

    tools = named_apart(served, ["clock"])

    assert [one.name for one in tools] == ["one_search", "read", "two_search", "two_clock"]
    assert tools[0].invoke({"text": ""}) == "search"


def test_names_are_made_such_that_providers_take_them(caplog: pytest.LogCaptureFixture) -> None:
    served = {"a b": [called("x.y/z"), called("x y z"), called("q" * 80)]}

    tools = named_apart(served, ["a_b_x_y_z"])

    assert [one.name for one in tools] == ["q" * 64]
    assert "The tool x.y/z of the MCP server a b is left out: its name is taken" in caplog.text


def test_a_name_is_approved_wherever_it_is() -> None:
    tools = named_apart({"one": [called("delete")], "two": [called("delete"), called("read")]}, [])

    assert to_approve(tools, ["delete"]) == ["one_delete", "two_delete"]
    assert to_approve(tools, ["two_delete"]) == ["two_delete"]


def test_the_chain_is_imported_in_no_time() -> None:
    heavy = "langgraph langchain langchain_mcp_adapters mcp litellm bs4 httpcore".split()
    code = f"import sys, chains.agent, chains.tools.catalog; print([n for n in {heavy} if n in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
