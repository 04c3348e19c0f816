"""Tools and tool choices in every form."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langchain_core.tools import BaseTool, tool
from pydantic import BaseModel, Field

from las_langchain.errors import BadRequestError
from las_langchain.tools import ToolDefinition, openai_tool, openai_tool_choice

Json = dict[str, Any]
SCHEMA: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def weather(city: str) -> str:
    """Tell the weather."""
    return city


class Weather(BaseModel):
    """Tell the weather."""

    city: str = Field(description="Where")


class WeatherDict(TypedDict):
    """Tell the weather."""

    city: str


@tool
def nothing() -> str:
    """Do nothing."""
    return ""


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (weather, "weather"),
        (Weather, "Weather"),
        (WeatherDict, "WeatherDict"),
        (tool(weather), "weather"),
        (ToolDefinition("weather", "d", SCHEMA), "weather"),
        ({"type": "function", "name": "weather", "description": "d", "parameters": SCHEMA}, "weather"),
        ({"title": "weather", "description": "d", **SCHEMA}, "weather"),
        ({"name": "weather", "parameters": SCHEMA}, "weather"),
        ({"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}, "weather"),
        ({"name": "weather", "description": "d", "input_schema": SCHEMA}, "weather"),
    ],
)
def test_every_form_becomes_a_function(given: Any, name: str) -> None:
    converted = openai_tool(given)
    assert converted.keys() == {"type", "function"}
    assert converted["function"]["name"] == name
    assert converted["function"]["parameters"]["properties"]["city"]["type"] == "string"
    strict = openai_tool(given, strict=True)
    assert strict.keys() == {"type", "function"}
    assert strict["function"]["strict"] is True
    assert strict["function"]["parameters"]["additionalProperties"] is False


def test_a_tool_without_arguments_has_an_empty_schema() -> None:
    assert openai_tool(nothing)["function"]["parameters"] == {"type": "object", "properties": {}}
    strict = openai_tool({"name": "nothing"}, strict=True)["function"]["parameters"]
    assert strict == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def test_what_a_provider_wants_beside_the_function_stays() -> None:
    cached = {"cache_control": {"type": "ephemeral"}}

    def made(**extras: Any) -> BaseTool:
        made_tool = tool(weather)
        made_tool.extras = extras
        return made_tool

    assert openai_tool(made(**cached, defer_loading=True)) == {**openai_tool(weather), **cached, "defer_loading": True}
    assert openai_tool({"name": "w", "input_schema": SCHEMA, **cached})["cache_control"] == cached["cache_control"]
    whole = {"type": "function", "function": {"name": "w", "parameters": SCHEMA}, **cached}
    assert openai_tool(whole) == whole


def test_a_tool_that_the_provider_runs_is_passed_on() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    assert openai_tool(search) is search


def test_a_default_stays_what_a_function_gets() -> None:
    def paged(page: int = 1, query: str | None = None) -> str:
        """Search."""
        return ""

    parameters = openai_tool(paged, strict=True)["function"]["parameters"]
    assert parameters["required"] == ["page", "query"]
    assert parameters["properties"]["page"]["type"] == "integer"
    assert {"type": "null"} in parameters["properties"]["query"]["anyOf"]


NAMED = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        (False, None),
        ("weather", NAMED),
        (NAMED, NAMED),
        ({"type": "tool", "name": "weather"}, NAMED),
        ({"type": "any"}, "required"),
        ({"type": "auto"}, "auto"),
    ],
)
def test_every_choice(choice: Any, expected: Any) -> None:
    assert openai_tool_choice(choice, [openai_tool(weather)]) == expected


@pytest.mark.parametrize("choice", ["divide", {"type": "tool", "name": "divide"}])
def test_a_choice_that_is_no_tool_is_refused(choice: Any) -> None:
    with pytest.raises(BadRequestError, match="names 'divide'"):
        openai_tool_choice(choice, [openai_tool(weather)])
