"""The chain ``extract``: data that fits a schema, out of a text or a picture."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.runnables import Runnable
from pydantic import ValidationError

from chains.extract import CHAIN, ExtractInput
from chains.registry import ChainRegistry
from las_langchain.errors import APIError, BadRequestError
from las_langchain.service import LiteLLMService
from las_langchain.settings import load_settings
from tests.fake_openai import FakeOpenAI, Reply, ToolCall
from tests.media import pdf, png

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ADA = {"name": "Ada", "age": 36}
PICTURE = base64.b64encode(png()).decode()


@pytest.fixture
def chain(upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> Runnable[Any, Any]:
    """The chain with a model of the double that is listed to know structured output."""
    monkeypatch.setenv("LAS_MODEL", "openai/gpt-4o")
    return CHAIN.build(load_settings())


def said(value: Any) -> Reply:
    return Reply(content=json.dumps(value))


def asked(upstream: FakeOpenAI) -> list[Any]:
    return [request.body for request in upstream.requests]


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


# What comes out


@pytest.mark.parametrize("schema", [PERSON, json.dumps(PERSON)], ids=["object", "text"])
def test_it_gives_the_object_in_a_text(chain: Runnable[Any, Any], upstream: FakeOpenAI, schema: Any) -> None:
    upstream.enqueue(said(ADA))

    found = list(chain.stream({"text": "Ada is 36.", "output_schema": schema, "instructions": "Whole years."}))

    assert found == [ADA]
    (body,) = asked(upstream)
    assert body["messages"][-1] == {"role": "user", "content": "Ada is 36.\n\nWhole years."}
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["name", "age"]
    assert body["response_format"]["json_schema"]["strict"] is True


def test_a_picture_goes_to_the_model_as_it_is(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    upstream.enqueue(said(ADA))

    assert asyncio.run(chain.ainvoke({"image": PICTURE, "output_schema": PERSON})) == ADA

    (part,) = asked(upstream)[0]["messages"][-1]["content"]
    assert part["image_url"]["url"] == f"data:image/png;base64,{PICTURE}"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "array", "items": {"$ref": "#/$defs/p"}, "$defs": {"p": PERSON}}, [ADA, ADA]),
        ({"type": "integer"}, 7),
        ({"type": ["string", "null"]}, None),
        ({"enum": ["red", "green"]}, "green"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": 1}),
        ({"anyOf": [PERSON, {"type": "string"}]}, "Ada"),
        (
            {
                "type": ["object"],
                "properties": {"$ref": {"type": "string"}, "kids": {"type": "array", "items": {"$ref": "#"}}},
                "required": ["$ref"],
            },
            {"$ref": "a", "kids": [{"$ref": "b"}]},
        ),
        ({}, {"any": ["thing"]}),
        ({"items": False, "type": "array"}, []),
    ],
    ids=["array", "number", "null", "enum", "map", "union", "recursive", "anything", "nothing"],
)
def test_any_value_may_be_the_answer(
    chain: Runnable[Any, Any], upstream: FakeOpenAI, schema: dict[str, Any], value: Any
) -> None:
    upstream.enqueue(said({"answer": value}))

    assert list(chain.stream({"text": "…", "output_schema": schema})) == [value]

    sent = asked(upstream)[0]["response_format"]["json_schema"]["schema"]
    assert (sent["type"], list(sent["properties"])) == ("object", ["answer"])


def test_references_of_a_schema_inside_another_still_lead_home(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    schema = {"type": "array", "items": {"anyOf": [{"type": "string"}, {"$ref": "#"}]}, "default": {"$ref": "#"}}

    chain.invoke({"text": "…", "output_schema": schema})

    sent = json.dumps(asked(upstream)[0]["response_format"]["json_schema"]["schema"])
    assert '{"$ref": "#/properties/answer"}' in sent
    assert '{"$ref": "#"}' not in sent


def test_what_strict_mode_makes_null_is_left_out_again(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    upstream.enqueue(said({"name": "Ada", "age": None}))

    assert chain.invoke({"text": "Ada", "output_schema": {**PERSON, "required": ["name"]}}) == {"name": "Ada"}


def test_a_model_that_knows_no_schemas_is_asked_for_a_call(
    upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAS_MODEL", "openai/fake-model")
    upstream.enqueue(
        Reply(tool_calls=[ToolCall("answer", {"name": "Ada"})]), Reply(tool_calls=[ToolCall("answer", ADA)])
    )

    assert CHAIN.build(load_settings()).invoke({"text": "Ada, 36", "output_schema": PERSON}) == ADA

    again = asked(upstream)[1]["messages"]
    assert [message["role"] for message in again[-2:]] == ["assistant", "user"]
    assert json.loads(again[-2]["content"]) == {"name": "Ada"}


# What does not fit


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ('{"name": "Ada", "age": "old"}', 'age: "old" is not of type "integer"'),
        ('{"name": "Ada"}', '"age" is a required property'),
        ("She is called Ada.", "not JSON"),
        ('["Ada"]', "not an object"),
        ('{"name": "\\ud800", "age": 1}', "surrogates"),
        ('{"name": "Ada", "age": NaN}', "not JSON"),
    ],
)
def test_a_wrong_answer_is_shown_to_the_model_once(
    chain: Runnable[Any, Any], upstream: FakeOpenAI, wrong: str, fault: str
) -> None:
    upstream.enqueue(Reply(content=wrong), said(ADA))

    assert chain.invoke({"text": "Ada is 36.", "output_schema": PERSON}) == ADA

    first, second = (body["messages"] for body in asked(upstream))
    assert second[:2] == first
    assert second[2] == {"role": "assistant", "content": wrong}
    assert fault in second[3]["content"]


def test_a_second_wrong_answer_is_an_error(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    upstream.enqueue(said({"name": "Ada", "age": "old"}), said({"name": 1, "age": "x" * 10_000}))

    with pytest.raises(APIError, match=r'nor does its correction: .*name: 1 is not of type "string"') as caught:
        chain.invoke({"text": "Ada", "output_schema": PERSON})

    assert (caught.value.status_code, caught.value.code) == (502, "invalid_answer")
    assert len(caught.value.message) < 600
    assert len(upstream.requests) == 2


def test_formats_are_checked(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    schema = {"type": "string", "format": "date"}
    upstream.enqueue(said({"answer": "tomorrow"}), said({"answer": "2030-01-31"}))

    assert chain.invoke({"text": "…", "output_schema": schema}) == "2030-01-31"


def test_an_answer_that_was_cut_off_is_not_asked_for_again(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content='{"name": "Ad', finish_reason="length"))

    with pytest.raises(APIError, match="cut off"):
        chain.invoke({"text": "Ada", "output_schema": PERSON})

    assert len(upstream.requests) == 1


def test_a_refusal_is_not_argued_with(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(refusal="I would rather not."))

    with pytest.raises(BadRequestError, match="refused: I would rather not") as caught:
        chain.invoke({"text": "Ada", "output_schema": PERSON})

    assert caught.value.code == "refused"
    assert len(upstream.requests) == 1


# What cannot go in


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ("{", "not JSON"),
        ('{"const": NaN}', "NaN is no number"),
        ({"const": float("nan")}, "not JSON"),
        ("[1]", "an object, not list"),
        ("", "not JSON"),
        (None, "an object, not NoneType"),
        ({"type": "text"}, "not a JSON schema"),
        ({"pattern": "(?=look)"}, "not a JSON schema"),
        ({"pattern": "(a{1000}){1000}"}, "not a JSON schema"),
        ({"$ref": "#/$defs/none"}, "not a JSON schema"),
        ({"items": {"$ref": "https://example.com/schema.json"}}, "nothing is fetched"),
        ({"$ref": "file:///etc/passwd"}, "nothing is fetched"),
        ({"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor"}}}, "nothing is fetched"),
        ({"description": "x" * 100_001}, "larger than"),
        (nested(80), "nested too deeply"),
        ("[" * 100_000, "not JSON"),
        ({"title": "\ud800"}, "not JSON"),
        ({"const": {1, 2}}, "not JSON"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(
    chain: Runnable[Any, Any], upstream: FakeOpenAI, schema: Any, fault: str
) -> None:
    with pytest.raises(BadRequestError, match=fault) as caught:
        chain.invoke({"text": "Ada", "output_schema": schema})

    assert caught.value.param == "output_schema"
    assert len(caught.value.message) < 400
    assert not upstream.requests


def test_words_of_schemas_in_its_values_are_no_references(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    schema = {"type": "object", "properties": {"a": {"const": {"$ref": "https://example.com"}}}}
    upstream.enqueue(said({"a": {"$ref": "https://example.com"}}))

    assert chain.invoke({"text": "…", "output_schema": schema}) == {"a": {"$ref": "https://example.com"}}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({}, "text"),
        ({"text": "  \n", "image": None}, "text"),
        ({"text": None, "image": "§"}, "image"),
        ({"image": base64.b64encode(pdf()).decode()}, "image"),
        ({"image": "/etc/passwd"}, "image"),
        ({"text": "a", "colour": "red"}, "colour"),
        ({"text": ["a"]}, "text"),
    ],
)
def test_there_must_be_a_text_or_a_picture(
    chain: Runnable[Any, Any], upstream: FakeOpenAI, more: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        chain.invoke({"output_schema": PERSON, **more})

    assert caught.value.param == param
    assert not upstream.requests


def test_an_error_of_the_provider_stays_what_it_is(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(status=400))

    with pytest.raises(BadRequestError, match="The request is invalid"):
        chain.invoke({"text": "Ada", "output_schema": PERSON})


# How it is published


def test_the_form_has_a_text_field_for_each_input() -> None:
    fields = ExtractInput.model_json_schema()["properties"]

    assert {name: field["type"] for name, field in fields.items()} == dict.fromkeys(fields, "string")
    assert fields["image"]["extra"] == {"widget": {"type": "base64file"}}
    assert all(field["description"] and field["examples"] for field in fields.values())
    for example in fields["output_schema"]["examples"]:
        ExtractInput(text="…", output_schema=example)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


KEYWORDS = st.sampled_from(["type", "items", "$ref", "enum", "$defs", "allOf", "x"])


@given(st.dictionaries(KEYWORDS, json_values, max_size=4) | json_values)
@settings(max_examples=50)
def test_an_input_is_what_it_is_when_it_is_checked_again(schema: Any) -> None:
    try:
        once = ExtractInput(text="a", output_schema=schema)
    except ValidationError:
        return
    assert ExtractInput(**{name: getattr(once, name) for name in ExtractInput.model_fields}) == once


def test_the_embedded_model_extracts(service: LiteLLMService) -> None:
    registry = ChainRegistry(service)
    text = "Maria Lopez is 34 years old. She lives in Lima with her two dogs."
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 30}, "age": {"type": "integer", "maximum": 150}},
        "required": ["name", "age"],
    }

    assert registry.runnable("extract").invoke({"text": text, "output_schema": schema}) == {
        "name": "Maria Lopez",
        "age": 34,
    }
    assert registry.chain("extract").from_messages is None
