"""A request as a chat's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from las_langchain.errors import BadRequestError
from servers.responses.messages import messages_of
from servers.responses.reading import a_text, an_object, one_of, optional_text, wrong
from servers.responses.schemas import ContextFields, ResponseRequest
from servers.responses.tools import Tools, checked_tools, choice_fields

Json = dict[str, Any]

LOGPROBS = "message.output_text.logprobs"
SEALED_THOUGHTS = "reasoning.encrypted_content"
_INCLUDABLE = (
    *(LOGPROBS, SEALED_THOUGHTS, "message.input_image.image_url", "code_interpreter_call.outputs"),
    *("computer_call_output.output.image_url", "file_search_call.results", "web_search_call.results"),
    "web_search_call.action.sources",
)
_UNAVAILABLE = {
    "background": "a response is answered at once here: leave it out, and wait or stream",
    "prompt": "prompt templates are kept at OpenAI: write the text into instructions and input",
    "moderation": "not available here: leave it out",
    "context_management": "not available here: leave it out, and send what is to be remembered",
}
_SAME = ("temperature", "top_p", "user", "safety_identifier", "service_tier", "prompt_cache_key")
_OURS = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
    "reasoning_effort": "reasoning.effort",
    "logprobs": "include",
}
"""What the fields of a chat request are made of."""


@dataclass(frozen=True)
class Thoughts:
    """How a client is told of what the model thinks.

    Attributes:
        in_summary: whether all of it stands in the summary, which is all that clients show that ask for one; else it
            is the content.
        sealed: whether it is there once more, for clients that keep it unread.
    """

    in_summary: bool
    sealed: bool


@dataclass(frozen=True)
class Reading:
    """What is read of a request, once it is known to be well-formed.

    Attributes:
        asked: the request.
        tools: those of the client.
        text: its ``text``.
        reasoning: its ``reasoning``.
    """

    asked: ContextFields
    tools: Tools
    text: Json
    reasoning: Json

    def includes(self, what: str) -> bool:
        """Whether the client wants to be told of *what*."""
        return isinstance(self.asked, ResponseRequest) and what in (self.asked.include or ())

    @property
    def summary(self) -> str | None:
        """Which summary of its reasoning the client wants."""
        wanted = self.reasoning.get("summary") or self.reasoning.get("generate_summary")
        return None if wanted == "none" else wanted

    @property
    def thoughts(self) -> Thoughts:
        """How the client is told of what the model thinks."""
        return Thoughts(in_summary=self.summary is not None, sealed=self.includes(SEALED_THOUGHTS))


def reading_of(asked: ContextFields) -> Reading:
    """Check what *asked* holds.

    Raises:
        BadRequestError: a field is malformed, or asks for what there is only at OpenAI; ``param`` names it.
    """
    if asked.conversation is not None:
        raise wrong("conversation", "conversations are not kept here: use previous_response_id", "unsupported_value")
    if isinstance(asked, ResponseRequest):
        _check_options(asked)
    tools = checked_tools(asked.tools or [])
    choice_fields(asked.tool_choice, tools)
    return Reading(asked, tools, _checked_text(asked.text or {}), _checked_reasoning(asked.reasoning or {}))


def _check_options(asked: ResponseRequest) -> None:
    for name, what in _UNAVAILABLE.items():
        if getattr(asked, name):
            raise wrong(name, what, "unsupported_value")
    for index, item in enumerate(asked.include or ()):
        one_of(item, _INCLUDABLE, f"include[{index}]")
    if asked.stream_options is not None and not asked.stream:
        raise wrong("stream_options", "only allowed with stream")
    options = an_object(asked.stream_options or {}, "stream_options", ("include_obfuscation",))
    if not isinstance(options.get("include_obfuscation", False), (bool, type(None))):
        raise wrong("stream_options.include_obfuscation", "expected true or false", "invalid_type")


def _checked_text(text: Json) -> Json:
    an_object(text, "text", ("format", "verbosity"))
    if text.get("verbosity") is not None:
        one_of(text["verbosity"], ("low", "medium", "high"), "text.verbosity")
    form, where = an_object(text.get("format") or {"type": "text"}, "text.format"), "text.format"
    kind = one_of(form.get("type"), ("text", "json_object", "json_schema"), f"{where}.type")
    if kind == "json_schema":
        an_object(form, where, ("type", "name", "schema", "strict", "description"))
        a_text(form, "name", where, most=64, empty=False)
        an_object(form.get("schema"), f"{where}.schema")
        optional_text(form, "description", where)
        if not isinstance(form.get("strict"), (bool, type(None))):
            raise wrong(f"{where}.strict", "expected true or false", "invalid_type")
    return text


def _checked_reasoning(reasoning: Json) -> Json:
    an_object(reasoning, "reasoning", ("effort", "summary", "generate_summary", "context", "mode"))
    optional_text(reasoning, "effort", "reasoning", most=32)
    for name in ("summary", "generate_summary"):
        if reasoning.get(name) is not None:
            one_of(reasoning[name], ("auto", "concise", "detailed", "none"), f"reasoning.{name}")
    for name in ("context", "mode"):
        optional_text(reasoning, name, "reasoning", most=32)
    return reasoning


def chat_body(read: Reading, items: Sequence[Json], *, for_chain: bool = False, continues: bool = False) -> Json:
    """The chat request, without ``model`` and ``stream``.

    Args:
        read: the request.
        items: what the model reads: the history, and the request's own input.
        for_chain: whether a chain answers, which knows what to do with labels; they are ours, not the provider's.
        continues: as for :func:`~servers.responses.messages.messages_of`.

    Raises:
        BadRequestError: there is nothing to read, or a result of a tool belongs to no call.
    """
    asked = read.asked
    body: Json = {"messages": messages_of(items, asked.instructions, continues=continues)}
    if not body["messages"]:
        raise wrong("input", "expected a text, or at least one item", "missing_required_parameter")
    body |= choice_fields(asked.tool_choice, read.tools)
    # Where there are no tools chats refuse it, and true is what they do anyway.
    if asked.parallel_tool_calls is False and "tools" in body:
        body["parallel_tool_calls"] = False
    body |= _text_fields(read.text)
    if read.reasoning.get("effort") is not None:
        body["reasoning_effort"] = read.reasoning["effort"]
    return body | _sampling(read, asked, for_chain) if isinstance(asked, ResponseRequest) else body


def _sampling(read: Reading, asked: ResponseRequest, for_chain: bool) -> Json:
    body = {name: getattr(asked, name) for name in _SAME if getattr(asked, name) is not None}
    if asked.max_output_tokens is not None:
        body["max_completion_tokens"] = asked.max_output_tokens
    if read.includes(LOGPROBS) or asked.top_logprobs:
        body["logprobs"] = True
        if asked.top_logprobs:
            body["top_logprobs"] = asked.top_logprobs
    if for_chain and asked.metadata:
        body["metadata"] = asked.metadata
    return body


def _text_fields(text: Json) -> Json:
    fields: Json = {"verbosity": text["verbosity"]} if text.get("verbosity") is not None else {}
    form = text.get("format") or {}
    if form.get("type") == "json_object":
        fields["response_format"] = {"type": "json_object"}
    elif form.get("type") == "json_schema":
        named = ("name", "schema", "strict", "description")
        schema = {name: form[name] for name in named if form.get(name) is not None}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return fields


def with_our_fields(error: Exception) -> Exception:
    """*error* of the chat, naming the field of this request that it is about."""
    if isinstance(error, BadRequestError) and error.param:
        name = error.param.split("[")[0].split(".")[0]
        if name == "tools":
            error.param = error.param.replace(".function", "", 1)
        elif name in _OURS:
            error.param = _OURS[name]
            if error.message.startswith(f"{name}: "):
                error.message = f"{error.param}: {error.message.removeprefix(f'{name}: ')}"
    return error
