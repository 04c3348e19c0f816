"""Structured output: what is asked of the model, and how its answer becomes an object."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from operator import itemgetter
from typing import Any, Literal, cast

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import BaseTransformOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.json import parse_json_markdown
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import ValidationError
from pydantic.v1 import ValidationError as ValidationErrorV1

from las_langchain.strict import can_be_strict, strict_schema, with_plain_root, without_added_nulls
from las_langchain.tools import openai_tool

Json = dict[str, Any]
Schema = Json | type
Method = Literal["json_schema", "function_calling", "json_mode"]


class StructuredOutputParser(BaseTransformOutputParser[Any]):
    """Reads an answer's object: out of its text, or out of the arguments of one tool.

    A stream gives the object as far as it is known; a pydantic class only once it is valid. An answer which calls other
    tools instead gives None.

    Attributes:
        json_schema: the user's schema; None where any object will do.
        model_class: the pydantic class to make.
        tool: the tool whose arguments are the object; None: it is in the text.

    Raises:
        OutputParserException: the model refused, or answered with something else; ``llm_output`` is what it said.
    """

    json_schema: Json | None = None
    model_class: Any = None
    tool: str | None = None

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """See the class."""
        generation = result[0]
        message = generation.message if isinstance(generation, ChatGeneration) else AIMessage(generation.text)
        return self._read(message, partial)

    def parse(self, text: str) -> Any:
        """The object in *text*."""
        return self._read(AIMessage(text), partial=False)

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:  # noqa: A002 - its name in LangChain
        reading = _Reading(self)
        for chunk in input:
            yield from reading.feed(chunk)
        yield from reading.end()

    async def _atransform(self, input: AsyncIterator[str | BaseMessage]) -> AsyncIterator[Any]:  # noqa: A002
        reading = _Reading(self)
        async for chunk in input:
            for value in reading.feed(chunk):
                yield value
        for value in reading.end():
            yield value

    def _read(self, message: Any, partial: bool) -> Any:
        refusal = _refusal(message)
        if refusal and not partial:
            raise OutputParserException(f"The model refused: {refusal}", llm_output=refusal)
        text = str(message.text)
        if self.tool is not None:
            value = self._arguments(message, partial)
        elif refusal or (isinstance(message, AIMessage) and message.tool_calls and not text):
            return None
        else:
            value = _json(text, partial)
        return None if value is None else self._made(value, partial)

    def _arguments(self, message: Any, partial: bool) -> Any:
        if isinstance(message, AIMessageChunk) and not partial:
            # Of a stream LangChain repairs arguments that were cut off.
            whole = (call["args"] or "" for call in message.tool_call_chunks if call["name"] == self.tool)
            found = next(whole, None)
            if found is None and not message.tool_call_chunks:
                raise _not_called(self.tool, message)
            return None if found is None else _json(found or "{}", partial)
        for call in message.tool_calls:
            if call["name"] == self.tool:
                return call["args"]
        broken = [call for call in message.invalid_tool_calls if call["name"] == self.tool]
        if not broken and not message.tool_calls and not partial:
            raise _not_called(self.tool, message)
        return _json(broken[0]["args"] or "", partial) if broken else None

    def _object(self, value: Any, partial: bool) -> Any:
        if isinstance(value, dict):
            return value
        if partial:
            return None
        raise OutputParserException(f"The answer is not an object: {str(value)[:500]}", llm_output=str(value))

    def _made(self, value: Any, partial: bool) -> Any:
        if self.json_schema is not None:
            value = without_added_nulls(value, self.json_schema)
        if self.model_class is None:
            return self._object(value, partial)
        make = getattr(self.model_class, "model_validate", None) or self.model_class.parse_obj
        try:
            return make(value)
        except (ValidationError, ValidationErrorV1) as error:
            if partial:
                return None
            message = f"The answer is no {self.model_class.__name__}: {error}"
            raise OutputParserException(message, llm_output=str(value)) from error


class _Reading:
    """What of a stream has been read so far."""

    def __init__(self, parser: StructuredOutputParser) -> None:
        self._parser = parser
        self._message: BaseMessage | None = None
        self._last: Any = None

    def feed(self, chunk: str | BaseMessage) -> list[Any]:
        """The object as *chunk* makes it known, if that changes it."""
        message: BaseMessage = AIMessageChunk(content=chunk) if isinstance(chunk, str) else chunk
        self._message = message if self._message is None else cast("Any", self._message) + message
        return self._new(self._parser._read(self._message, partial=True))

    def end(self) -> list[Any]:
        """The whole object, if that changes it; raises what is wrong with it."""
        return [] if self._message is None else self._new(self._parser._read(self._message, partial=False))

    def _new(self, value: Any) -> list[Any]:
        if value is None or value == self._last:
            return []
        self._last = value
        return [value]


def _json(text: str, partial: bool) -> Any:
    try:
        return parse_json_markdown(text) if partial else parse_json_markdown(text, parser=json.loads)
    except (ValueError, RecursionError) as error:
        if partial:
            return None
        raise OutputParserException(f"The answer is not JSON: {text[:500]}", llm_output=text) from error


def _not_called(tool: str | None, message: Any) -> OutputParserException:
    said = str(message.text)
    return OutputParserException(f"The model did not call {tool} but said: {said[:500]}", llm_output=said)


def _refusal(message: Any) -> str | None:
    refusal: str | None = message.additional_kwargs.get("refusal")
    if isinstance(message.content, list):
        values = [block.get("value", {}) for block in message.content if isinstance(block, dict)]
        said = [value["refusal"] for value in values if isinstance(value, dict) and value.get("type") == "refusal"]
        refusal = refusal or "".join(said)
    return refusal or None


def structured_request(
    schema: Schema | None, method: Method, strict: bool | None, tools: Sequence[Any]
) -> tuple[Json, StructuredOutputParser]:
    """What to bind to a model so that it answers with an object, and the parser of that answer.

    Args:
        schema: a pydantic class (of version 1 or 2), a TypedDict, a JSON schema with a title, or an OpenAI function.
            None only with ``json_mode``.
        method: how to ask.
        strict: whether the provider is to guarantee the schema; None: wherever strict mode can express it.
        tools: OpenAI tools that the model may call as well.
    """
    asked: Json = {"tools": [*tools]} if tools else {}
    if method == "json_mode":
        asked |= {"response_format": {"type": "json_object"}}
        named = None if schema is None else openai_tool(schema)["function"]
        return {**asked, **_traced(named, method, strict)}, StructuredOutputParser(model_class=_class(schema))
    if schema is None:
        raise ValueError(f"with_structured_output(method={method!r}) needs a schema")
    function = openai_tool(schema)["function"]
    original = _parameters(schema, function)
    strict = can_be_strict(original) if strict is None and method == "json_schema" else strict
    sent = strict_schema(original) if strict else original
    parser = StructuredOutputParser(json_schema=original if strict else None, model_class=_class(schema))
    if method == "json_schema":
        asked |= {"response_format": {"type": "json_schema", "json_schema": _json_schema(function, sent, strict)}}
    else:
        parser.tool = function["name"]
        asked = _forced(function, sent, strict, tools)
    return {**asked, **_traced(function, method, strict)}, parser


def response_format(given: Json | type | None) -> Json | None:
    """OpenAI's ``response_format`` for *given*: a class, or the dict itself, whose schema strict mode must accept."""
    if isinstance(given, type):
        asked: Json = structured_request(given, "json_schema", None, ())[0]["response_format"]
        return asked
    named = given.get("json_schema") if isinstance(given, dict) else None
    if not isinstance(named, dict) or not named.get("strict") or not isinstance(named.get("schema"), dict):
        return given
    # Whoever bound it, such as an agent, reads the answer with the schema as it was.
    schema = strict_schema(with_plain_root(named["schema"]), null_for_defaults=False)
    return {**(given or {}), "json_schema": {**named, "schema": schema}}


def _parameters(schema: Schema, function: Json) -> Json:
    """The JSON schema itself; core's own conversion drops the definitions that a pydantic schema refers to."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        make = getattr(schema, "model_json_schema", None) or schema.schema  # type: ignore[attr-defined]
        full = with_plain_root(make())
        return {key: value for key, value in full.items() if key not in ("title", "description")}
    parameters: Json = function.get("parameters") or {"type": "object", "properties": {}}
    return parameters


def _json_schema(function: Json, sent: Json, strict: bool | None) -> Json:
    described = {"description": function["description"]} if function.get("description") else {}
    return {"name": function["name"], **described, "schema": sent, **({} if strict is None else {"strict": strict})}


def _forced(function: Json, sent: Json, strict: bool | None, tools: Sequence[Any]) -> Json:
    """A tool for the answer, which must be called; beside other tools, one of them all."""
    tool = {"type": "function", "function": {**function, "parameters": sent, **({"strict": True} if strict else {})}}
    if tools:
        return {"tools": [tool, *tools], "tool_choice": "required"}
    return {"tools": [tool], "tool_choice": {"type": "function", "function": {"name": function["name"]}}}


def _traced(function: Json | None, method: Method, strict: bool | None) -> Json:
    traced = {"kwargs": {"method": method, **({} if strict is None else {"strict": strict})}}
    return {"ls_structured_output_format": {**traced, "schema": function and _titled(function)}}


def _titled(function: Json) -> Json:
    described = {"description": function["description"]} if function.get("description") else {}
    return {"title": function["name"], **described, **function.get("parameters", {})}


def _class(schema: Schema | None) -> type | None:
    return schema if isinstance(schema, type) and is_basemodel_subclass(schema) else None


def with_raw(model: Runnable[Any, Any], parser: StructuredOutputParser) -> Runnable[Any, Any]:
    """*model* with its answer as ``raw``, the object as ``parsed``, and what was wrong as ``parsing_error``."""
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")
