"""A chain as LangServe can serve it: with types, schemas and limits that LangServe itself does not give it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

from fastapi.exceptions import RequestValidationError
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.runnables import ConfigurableFieldSpec, Runnable, RunnableConfig
from langchain_core.runnables.config import get_config_list
from langchain_core.runnables.utils import AddableDict
from pydantic import BaseModel, RootModel, ValidationError, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from chains.chain import Chain
from chains.inputs import ChatInput
from chains.streamed import THREAD
from las_langchain.errors import BadRequestError

CONCURRENT = 8
"""Inputs of one batch that run at the same time."""


class Published(Runnable[Any, Any]):
    """What programs are told of a chain: its types, and what can be configured.

    Args:
        chain: the chain.
    """

    def __init__(self, chain: Chain) -> None:
        self.name = chain.name
        self._chain = chain

    @property
    def InputType(self) -> Any:  # noqa: N802 - LangChain's name
        """What goes in."""
        return self._chain.input_type

    @property
    def OutputType(self) -> Any:  # noqa: N802 - LangChain's name
        """What comes out."""
        return self._chain.output_type

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """The class of the input."""
        return _as_model("Input", self.InputType)

    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """The class of the output."""
        return _as_model("Output", self.OutputType)

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """What clients may configure: the thread, and nothing that could lead a call elsewhere."""
        return [THREAD] if self._chain.remembers else []

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Not for what is only told of."""
        raise NotImplementedError


class Running(Published):
    """A chain as LangServe runs it.

    Args:
        chain: the chain.
        runnable: the chain, built.
    """

    def __init__(self, chain: Chain, runnable: Runnable[Any, Any]) -> None:
        super().__init__(chain)
        self._runnable = runnable
        # LangServe asks for it at every request.
        self._input = _refusing(super().get_input_schema())

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """The class that inputs are checked by."""
        return self._input

    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """Anything: LangServe fails with an answer that does not fit, and what runnables say of it is often wrong."""
        return _ANYTHING

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """The whole output."""
        return self._runnable.invoke(input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """The whole output."""
        return await self._runnable.ainvoke(input, config, **kwargs)

    async def astream(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[Any]:
        """The output as it comes; the run ends when the generator is closed."""
        chunks = cast("AsyncGenerator[Any]", self._runnable.astream(input, config, **kwargs))
        async with aclosing(chunks):
            async for chunk in chunks:
                # Of a whole message in a stream the chat playground shows nothing.
                whole = isinstance(chunk, AIMessage) and not isinstance(chunk, AIMessageChunk)
                yield _as_chunk(chunk) if whole else chunk

    async def abatch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """All outputs, not too many of which are made at the same time."""
        configs = [{**each, "max_concurrency": CONCURRENT} for each in get_config_list(config, len(inputs))]
        limited = cast("list[RunnableConfig]", configs)
        return await super().abatch(inputs, limited, return_exceptions=return_exceptions, **kwargs)


class Shown(Running):
    """A chain as a playground page shows its stream: text as it comes, an object when it is whole."""

    async def astream(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[Any]:
        """The output; the page writes one chunk behind the other, which parts of an object are not made for."""
        objects: Any = None
        async with aclosing(super().astream(input, config, **kwargs)) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, dict):
                    objects = AddableDict(chunk) if objects is None else objects + AddableDict(chunk)
                else:
                    yield chunk
        if objects is not None:
            yield dict(objects)


def _as_chunk(message: AIMessage) -> AIMessageChunk:
    calls = [
        tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=index)
        for index, call in enumerate(message.tool_calls)
    ]
    fields = message.model_dump(exclude={"type", "tool_calls", "invalid_tool_calls"})
    return AIMessageChunk(**fields, tool_call_chunks=calls)


class PublishedPage(Published):
    """What a playground page is told of a chain: its form begins with the examples."""

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """The class of the input, whose JSON schema has examples as defaults."""
        return _prefilled(super().get_input_schema(config))


class PublishedChat(Published):
    """What the chat playground is told of a chain: the conversation alone, and messages in the form that it knows."""

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """The class of a conversation."""
        return ChatInput

    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """The class of a message, whose JSON schema is an ``anyOf``, without which the page does not open."""
        return _ChatAnswer


# LangServe keeps one class for each schema, and of a second one with a name that it knows makes one that is no root
# model, which no answer fits: this name is nobody else's.
_ANYTHING = create_model("LasLangchainAnything", __base__=RootModel[Any])


def _refusing(model: Any) -> type[BaseModel]:
    """*model* as LangServe checks inputs by it, which says of every one that does not fit that it is the client's."""

    class Checked(RootModel[Any]):
        @classmethod
        def model_validate(cls, obj: Any, **options: Any) -> Any:
            try:
                return model.model_validate(obj, **options)
            except ValidationError as error:
                # Of several inputs LangServe itself does not expect that one is wrong.
                raise RequestValidationError(error.errors()) from None
            except TypeError as error:
                # So LangChain's messages refuse one without a type.
                raise BadRequestError(f"input: {error!s:.200}", param="input", code="invalid_value") from None

    return Checked


def _as_model(name: str, kind: Any) -> type[BaseModel]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return create_model(name, __base__=RootModel[kind])


def _prefilled(model: Any) -> type[BaseModel]:
    """*model* with a JSON schema for a form that begins with its first example; the page knows defaults."""

    class Page(model):  # type: ignore[misc]
        @classmethod
        def model_json_schema(cls, *args: Any, **kwargs: Any) -> Any:
            schema = _without_null(model.model_json_schema(*args, **kwargs))
            examples = {**_examples_of_fields(schema), **(schema.get("examples") or [{}])[0]}
            for name, example in examples.items():
                schema["properties"][name]["default"] = example
            return schema

    return cast("type[BaseModel]", Page)


def _examples_of_fields(schema: Any) -> dict[str, Any]:
    fields = {name: schema["properties"][name] for name in schema.get("required", ())}
    # A conversation begins with an empty message already.
    return {
        name: field["examples"][0] for name, field in fields.items() if field.get("examples") and "extra" not in field
    }


def _without_null(schema: Any) -> Any:
    """*schema* without the alternative null, at which LangServe's page gives up."""
    if isinstance(schema, list):
        return [_without_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    rest = [item for item in schema.get("anyOf", ()) if item != {"type": "null"}]
    if len(rest) == len(schema.get("anyOf", ())):
        return {name: _without_null(item) for name, item in schema.items()}
    outer = {name: item for name, item in schema.items() if name != "anyOf" and (name, item) != ("default", None)}
    return _without_null({**rest[0], **outer} if len(rest) == 1 else {**outer, "anyOf": rest})


class _Enumerating(GenerateJsonSchema):
    """``enum`` beside ``const``: the chat playground looks for nothing else."""

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        """The JSON schema of a literal."""
        made = super().literal_schema(schema)
        return {**made, "enum": [made["const"]]} if "const" in made else made


class _ChatAnswer(RootModel[AIMessage | str]):
    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The JSON schema."""
        return super().model_json_schema(*args, **{**kwargs, "schema_generator": _Enumerating})
