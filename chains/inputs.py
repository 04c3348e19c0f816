"""What chains take, checked."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage, convert_to_messages
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from las_langchain.errors import BadRequestError

Model = TypeVar("Model", bound=BaseModel)


def _messages(value: Any) -> Any:
    """Messages in any form that LangChain takes, such as OpenAI's, which pydantic alone would take for others."""
    if not isinstance(value, list):
        return value
    try:
        return convert_to_messages([_with_content(item) for item in value])
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
        raise ValueError(
            f"expected messages with a role and content: {str(error).partition(chr(10))[0][:200]}"
        ) from None


def _with_content(item: Any) -> Any:
    # LangChain refuses a dict without content, which OpenAI's clients leave out where there are tool calls.
    return {**item, "content": ""} if isinstance(item, dict) and item.get("content") is None else item


Messages = Annotated[
    list[AnyMessage], BeforeValidator(_messages, json_schema_input_type=list[AnyMessage]), Field(min_length=1)
]
"""Messages in LangChain's or OpenAI's form; there must be one."""


def _text(value: Any) -> Any:
    return "" if value is None else value


OptionalText = Annotated[str, BeforeValidator(_text, json_schema_input_type=str)]
"""A text that may be left out. Forms show no text field for what may also be null, though null is taken."""


class ChatInput(BaseModel):
    """A conversation."""

    model_config = ConfigDict(extra="forbid")

    messages: Messages = Field(
        description="The conversation, the newest message last; with a thread_id only what is new",
        examples=[[{"type": "human", "content": "What is the capital of France?"}]],
        json_schema_extra={"extra": {"widget": {"type": "chat", "input": "messages"}}},
    )


def chat_input(messages: list[BaseMessage]) -> ChatInput:
    """The input of a chain that takes a conversation."""
    return ChatInput(messages=messages)


def checked(model: type[Model], value: Any) -> Model:
    """*value* as *model*.

    Raises:
        BadRequestError: it is none; ``param`` names the field.
    """
    if isinstance(value, model):
        return value
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "input"
        reason = first["msg"].removeprefix("Value error, ")
        raise BadRequestError(f"{where}: {reason}", param=where, code="invalid_value") from None


def last_text(messages: list[BaseMessage]) -> str:
    """The text of the last message of a person, or of the last one of all."""
    human = [message for message in messages if isinstance(message, HumanMessage)]
    return str((human or messages)[-1].text)
