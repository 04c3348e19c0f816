"""Structured output: every schema, every method, and answers that do not fit; against the upstream double."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict

import pytest
import typing_extensions
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel, Field
from pydantic.v1 import BaseModel as BaseModelV1

from las_langchain import ChatLAS
from tests.fake_openai import FakeOpenAI, Reply, ToolCall
from tests.las_langchain.test_tools import weather

Json = dict[str, Any]
Method = Literal["json_schema", "function_calling", "json_mode"]
METHODS: list[Method] = ["json_schema", "function_calling", "json_mode"]


class Person(BaseModel):
    """A person."""

    name: str
    age: int = 5
    nickname: str | None = Field(None, description="A short name")


class PersonV1(BaseModelV1):
    """A person."""

    name: str
    age: int = 5


class PersonDict(TypedDict):
    """A person."""

    name: str
    age: NotRequired[int]


PERSON: Json = {
    "title": "Person",
    "description": "A person.",
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
}
FUNCTION: Json = {"name": "Person", "description": "A person.", "parameters": {**PERSON}}
MODEL = "openai/gpt-4o"


def reply_for(method: Method, text: str) -> Reply:
    if method == "function_calling":
        return Reply(tool_calls=[ToolCall("Person", text)])
    return Reply(content=text)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strict", [None, True, False])
async def test_a_class_gives_an_instance(upstream: FakeOpenAI, method: Method, strict: bool | None) -> None:
    model = ChatLAS(model=MODEL).with_structured_output(Person, method=method, strict=strict)
    upstream.enqueue(*[reply_for(method, '{"name": "Bob", "age": 7, "nickname": null}')] * 4)
    expected = Person(name="Bob", age=7)
    assert model.invoke("hi") == expected
    assert await model.ainvoke("hi") == expected
    assert list(model.stream("hi"))[-1] == expected
    assert [one async for one in model.astream("hi")][-1] == expected


@pytest.mark.parametrize("method", METHODS[:2])
@pytest.mark.parametrize("schema", [PersonDict, PERSON, FUNCTION])
def test_other_schemas_give_dicts(upstream: FakeOpenAI, method: Method, schema: Any) -> None:
    model = ChatLAS(model=MODEL).with_structured_output(schema, method=method, strict=True)
    name = "PersonDict" if schema is PersonDict else "Person"
    said = '{"name": "Bob", "age": null}'
    upstream.enqueue(*[Reply(tool_calls=[ToolCall(name, said)]) if method == METHODS[1] else Reply(content=said)] * 2)
    assert model.invoke("hi") == {"name": "Bob"}
    assert list(model.stream("hi"))[-1] == {"name": "Bob"}


@pytest.mark.parametrize("method", METHODS)
def test_a_class_of_pydantics_first_version(upstream: FakeOpenAI, method: Method) -> None:
    reply = reply_for(method, '{"name": "Bob", "age": 7}')
    if method == "function_calling":
        reply = Reply(tool_calls=[ToolCall("PersonV1", '{"name": "Bob", "age": 7}')])
    upstream.enqueue(reply)
    assert ChatLAS(model=MODEL).with_structured_output(PersonV1, method=method).invoke("hi") == PersonV1(
        name="Bob", age=7
    )


def test_optional_fields_are_nullable_and_required_in_strict_mode(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content='{"name": "Bob", "age": null, "nickname": null}'))
    assert ChatLAS(model=MODEL).with_structured_output(Person).invoke("hi") == Person(name="Bob", age=5)
    sent = upstream.last.body["response_format"]["json_schema"]
    assert sent["name"] == "Person"
    assert sent["description"] == "A person."
    assert sent["strict"] is True
    assert sent["schema"]["required"] == ["name", "age", "nickname"]
    assert sent["schema"]["properties"]["age"]["type"] == ["integer", "null"]
    assert sent["schema"]["additionalProperties"] is False


def test_what_strict_mode_cannot_express_is_asked_for_without_it(upstream: FakeOpenAI) -> None:
    class Scores(BaseModel):
        by_name: dict[str, int]

    upstream.enqueue(Reply(content='{"by_name": {"Bob": 1}}'))
    assert ChatLAS(model=MODEL).with_structured_output(Scores).invoke("hi") == Scores(by_name={"Bob": 1})
    assert upstream.last.body["response_format"]["json_schema"]["strict"] is False


def test_classes_that_refer_to_themselves_and_to_others(upstream: FakeOpenAI) -> None:
    class Leaf(BaseModel):
        size: int = 1

    class Tree(BaseModel):
        leaf: Leaf | None = None
        branches: list[Tree] = []

    Tree.model_rebuild()
    said = '{"leaf": {"size": null}, "branches": [{"leaf": null, "branches": null}]}'
    upstream.enqueue(Reply(content=said))
    tree = ChatLAS(model=MODEL).with_structured_output(Tree).invoke("hi")
    assert tree == Tree(leaf=Leaf(), branches=[Tree()])


@pytest.mark.parametrize("method", METHODS)
async def test_the_raw_answer_comes_along(upstream: FakeOpenAI, method: Method) -> None:
    model = ChatLAS(model=MODEL).with_structured_output(Person, method=method, include_raw=True)
    upstream.enqueue(reply_for(method, '{"name": "Bob"}'), reply_for(method, '{"age": "old"}'))
    whole = model.invoke("hi")
    assert whole["parsed"] == Person(name="Bob")
    assert whole["raw"].response_metadata["model_provider"] == "openai"
    assert whole["parsing_error"] is None
    broken = await model.ainvoke("hi")
    assert broken["parsed"] is None
    assert "The answer is no Person" in str(broken["parsing_error"])


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (Reply(content="I am sorry"), "The answer is not JSON: I am sorry"),
        (Reply(content='{"age": 3}'), "The answer is no Person"),
        (Reply(refusal="I will not"), "The model refused: I will not"),
    ],
)
def test_an_answer_that_does_not_fit_is_an_error(upstream: FakeOpenAI, reply: Reply, text: str) -> None:
    model = ChatLAS(model=MODEL).with_structured_output(Person)
    upstream.enqueue(reply, reply)
    with pytest.raises(OutputParserException, match=text):
        model.invoke("hi")
    with pytest.raises(OutputParserException, match=text):
        list(model.stream("hi"))


def test_an_answer_in_words_where_a_tool_was_asked_for_is_an_error(upstream: FakeOpenAI) -> None:
    model = ChatLAS(model=MODEL).with_structured_output(Person, method="function_calling")
    upstream.enqueue(Reply(content="I would rather talk"), Reply(content="I would rather talk"))
    with pytest.raises(OutputParserException, match="did not call Person but said: I would rather talk"):
        model.invoke("hi")
    with pytest.raises(OutputParserException, match="did not call Person but said: I would rather talk"):
        list(model.stream("hi"))


def test_a_list_is_no_object(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="[1, 2]"))
    with pytest.raises(OutputParserException, match="not an object"):
        ChatLAS(model=MODEL).with_structured_output(PERSON).invoke("hi")


class Address(typing_extensions.TypedDict):
    """Where somebody lives."""

    city: typing_extensions.NotRequired[str]
    street: str


class Resident(TypedDict, total=False):
    """Somebody who lives somewhere."""

    name: Required[Annotated[str, ..., "What they are called"]]
    homes: list[Address]
    age: Annotated[NotRequired[int], ..., "In years"]
    mood: Literal["good", "bad"] | None


def test_typed_dicts_of_every_form(upstream: FakeOpenAI) -> None:
    model = ChatLAS(model=MODEL).with_structured_output(Resident, strict=False)
    upstream.enqueue(Reply(content='{"name": "Bob", "homes": [{"street": "s"}]}'))
    assert model.invoke("hi") == {"name": "Bob", "homes": [{"street": "s"}]}
    schema = upstream.last.body["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["name"]
    assert schema["properties"]["name"]["description"] == "What they are called"
    assert schema["properties"]["age"]["description"] == "In years"
    assert schema["properties"]["homes"]["items"]["required"] == ["street"]


def test_broken_arguments_are_an_error(upstream: FakeOpenAI) -> None:
    model = ChatLAS(model=MODEL).with_structured_output(Person, method="function_calling")
    upstream.enqueue(*[Reply(tool_calls=[ToolCall("Person", '{"name": "Bo')])] * 2)
    with pytest.raises(OutputParserException, match="The answer is not JSON: "):
        model.invoke("hi")
    with pytest.raises(OutputParserException, match="The answer is not JSON: "):
        list(model.stream("hi"))


@pytest.mark.parametrize("method", METHODS)
def test_tools_may_be_called_instead(upstream: FakeOpenAI, method: Method) -> None:
    model = ChatLAS(model=MODEL).with_structured_output(Person, method=method, tools=[weather], include_raw=True)
    upstream.enqueue(Reply(tool_calls=[ToolCall("weather", {"city": "Rome"})]), reply_for(method, '{"name": "Bob"}'))
    called = model.invoke("hi")
    assert called["parsed"] is None
    assert called["parsing_error"] is None
    assert called["raw"].tool_calls[0]["args"] == {"city": "Rome"}
    assert "weather" in [tool["function"]["name"] for tool in upstream.last.body["tools"]]
    assert model.invoke("hi")["parsed"] == Person(name="Bob")


def test_partial_objects_stream(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(chunks=['{"name": "B', 'ob", "age"', ": 7}"]))
    assert list(ChatLAS(model=MODEL).with_structured_output(PERSON).stream("hi")) == [
        {"name": "B"},
        {"name": "Bob"},
        {"name": "Bob", "age": 7},
    ]


def test_the_format_is_bound_for_traces() -> None:
    model: Any = ChatLAS(model=MODEL).with_structured_output(Person)
    traced = model.first.kwargs["ls_structured_output_format"]
    assert traced["kwargs"] == {"method": "json_schema", "strict": True}
    assert traced["schema"]["title"] == "Person"


def test_the_method_follows_the_models_profile(upstream: FakeOpenAI) -> None:
    ChatLAS(model=MODEL).with_structured_output(Person).invoke("hi")
    assert "response_format" in upstream.last.body
    ChatLAS(model=MODEL, profile={"structured_output": False}).with_structured_output(Person).invoke("hi")
    assert upstream.last.body["tool_choice"]["function"]["name"] == "Person"


def test_misuse_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="needs a schema"):
        ChatLAS(model=MODEL).with_structured_output(None, method="json_schema")
    with pytest.raises(ValueError, match="method is json_schema, function_calling or json_mode, not 'magic'"):
        ChatLAS(model=MODEL).with_structured_output(Person, method="magic")  # type: ignore[arg-type]


def test_a_class_as_response_format(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content='{"name": "Bob", "age": 1, "nickname": null}'))
    ChatLAS(model=MODEL).bind(response_format=Person).invoke("hi")
    assert upstream.last.body["response_format"]["json_schema"]["name"] == "Person"


@pytest.mark.parametrize("method", METHODS)
def test_the_embedded_model(method: Method) -> None:
    model = ChatLAS(temperature=0).with_structured_output(Person, method=method)
    if method == "json_mode":
        assert model.invoke('Reply with JSON like {"name": "Bob", "age": 42}. Bob is 42 years old').name
    else:
        assert model.invoke("Bob is 42 years old").name == "Bob"
